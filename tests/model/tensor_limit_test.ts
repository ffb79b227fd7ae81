/**
 * A memory bound that is more than a GPU binds at once: no tensor is larger than
 * that, however much memory there is. The least that a device must bind, and
 * what Mesa's software adapter does, is 128 MiB.
 */
import assert from "node:assert/strict";
import { largestTensorBytes } from "../../kernels/gpu.ts";
import { randomKey } from "../../kernels/random.ts";
import { startEngine } from "../../lib/engine/select.ts";
import { predict } from "../../lib/eval/predict.ts";
import { RasterPyramid } from "../../lib/image/pyramids/raster.ts";
import { Views } from "../../lib/image/views.ts";
import { Memory } from "../../lib/memory.ts";
import { disposeParameters } from "../../lib/model/parameters.ts";
import { microBatches } from "../../lib/model/look/micro_batches.ts";
import { lookWhole } from "../../lib/model/look/whole.ts";
import { ignoreGpu, testOnEngines } from "../engines.ts";
import { noiseImage, toyModel } from "./toy.ts";

const LARGE = new Memory(6e9);
const MIN_BINDING = 2 ** 27; // bytes

/** A square that brightens from left to right. */
function slope(side: number): RasterPyramid {
  const row = Uint8Array.from(
    { length: side * 4 },
    (_, i) => i % 4 === 3 ? 255 : Math.floor(i / 4 * 256 / side),
  );
  const data = new Uint8Array(side * side * 4);
  for (let y = 0; y < side; y++) data.set(row, y * row.length);
  const pixels = { data, width: side, height: side };
  return new RasterPyramid("slope", { pixels, warnings: [] });
}

testOnEngines("a tensor of the engine has a limit on a GPU only", (engine) => {
  const { device } = engine;
  const expected = device
    ? Number(device.limits.maxStorageBufferBindingSize)
    : Infinity;
  assert.equal(largestTensorBytes(), expected);
});

testOnEngines(
  "images are looked at in blocks where their views are no tensor of a GPU",
  () => {
    const { config, parameters } = toyModel({ view: { scale1: 1 } });
    const pyramid = noiseImage({ width: 2176, height: 8 }, 1);
    Object.assign(pyramid, { height: 2048 }); // 136 MiB in 8 channels
    const [batch] = microBatches([{ pyramid }], config, {
      samples: 1,
      memory: LARGE,
    });
    const isTensor = 2176 * 2048 * 8 * 4 <= largestTensorBytes();
    assert.equal(batch!.inBlocks, !isTensor); // 6 GB hold them
    disposeParameters(parameters);
  },
);

Deno.test({
  name: "a large image is seen by a large memory as by a small one, on a GPU",
  ignore: ignoreGpu,
  fn: async () => {
    const engine = await startEngine("webgpu");
    const model = toyModel({
      view: { scale1: 1, tileStride: 64, tileSize: 64, samples: 2 },
      peak: 4,
    });
    const pyramid = noiseImage({ width: 2176, height: 2048 }, 3);
    const see = async (memory: Memory) => {
      const { predictions } = await predict(model, [pyramid], {
        seed: 0,
        memory,
      });
      engine.assertAlive();
      return predictions[0]!;
    };
    const large = await see(LARGE);
    const small = await see(new Memory());
    assert.deepEqual(large.tiles, small.tiles);
    assert.deepEqual(large.probabilities, small.probabilities);
    disposeParameters(model.parameters);
  },
});

testOnEngines(
  "an image without levels is read in pieces that a GPU takes",
  async (engine) => {
    const side = 92 * 64; // 138 MB packed
    const views = await Views.open(slope(side), { memory: LARGE });
    const view = await views.whole(1 / 64);
    const values = await view.data();
    engine.assertAlive();
    for (const x of [0, 45, 91]) {
      const expected = (x + 0.5) / 92;
      assert.ok(Math.abs(values[3 * x]! - expected) < 0.01, `${values[3 * x]}`);
    }
    view.dispose();
    views.dispose();
  },
);

testOnEngines(
  "sub-tiles are read some at a time where f's tensors need it",
  async (engine) => {
    const samples = 80;
    const model = toyModel({
      view: { tileSize: 128, subTileSize: 112, samples }, // 1.8 MB of 36 channels
    });
    assert.equal(model.config.network.features, "lenet");
    const bytes = 112 ** 2 * 36 * 4;
    const pyramid = noiseImage({ width: 400, height: 300 }, 4);
    const planned = await lookWhole(model, [{ pyramid, key: randomKey(1) }], {
      samples,
      draws: "seeded",
      memory: LARGE,
    });
    const all = planned.locations.length * bytes;
    assert.ok(all > MIN_BINDING, `${all} bytes`);
    const most = largestTensorBytes();
    assert.equal(planned.subTiles === undefined, all > most);
    for await (const batch of planned.subTileBatches()) {
      assert.ok(batch.shape[0] * bytes <= most);
    }
    engine.assertAlive();
    planned.dispose();
    disposeParameters(model.parameters);
  },
);
