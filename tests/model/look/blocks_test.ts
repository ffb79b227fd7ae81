import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import { randomKey } from "../../../kernels/random.ts";
import { attentionSoftmax } from "../../../kernels/softmax/softmax.ts";
import { ImageError } from "../../../lib/errors.ts";
import { predict } from "../../../lib/eval/predict.ts";
import { Foreground } from "../../../lib/image/foreground/foreground.ts";
import type { Region } from "../../../lib/image/geometry.ts";
import { Views } from "../../../lib/image/views.ts";
import { Memory } from "../../../lib/memory.ts";
import type { LookImage, LookOptions } from "../../../lib/model/look/draws.ts";
import { disposeParameters } from "../../../lib/model/parameters.ts";
import { lookWhole } from "../../../lib/model/look/whole.ts";
import {
  groupLogits,
  type WholeLook,
} from "../../../lib/model/look/whole_look.ts";
import { lookInBlocks } from "../../../lib/model/look/blocks.ts";
import { TileMap } from "../../../lib/model/look/tile_map.ts";
import { readFeatures, score } from "../../../lib/model/zoom_in.ts";
import { SyntheticPyramid } from "../../image/synthetic_pyramid.ts";
import { maxError, testOnEngines } from "../../engines.ts";
import { noiseImage, toyModel, type ToyOptions } from "../toy.ts";

const WHOLE = new Memory();
// Blocks of 15 px of the view, halo included, and one tile at a time.
const SMALL = new Memory(2 ** 18);
// Keeps no logits: every look but the first computes them again.
class Forgetful extends Memory {
  override get keptLogits(): number {
    return 0;
  }
}
const FORGETFUL = new Forgetful(SMALL.bytes);

const TWELVE: LookOptions = { samples: 12, draws: "seeded", memory: WHOLE };
const IMAGE = { width: 427, height: 331 };

/** Maps of one location a view pixel, and grids that do not divide it. */
const VIEWS: Record<string, NonNullable<ToyOptions["view"]>> = {
  dense: {},
  grid: { tileStride: 19, tileSize: 32 },
};

/** A foreground of the left half and a spot on the right. */
function halfForeground(): Foreground {
  const cells = new Uint8Array(8 * 6);
  for (let i = 0; i < cells.length; i++) if (i % 8 < 4) cells[i] = 1;
  cells[5 * 8 + 7] = 1;
  return new Foreground({ cells, rows: 6, columns: 8 }, IMAGE);
}

/** A foreground that holds one location of either map. */
function spot(): Foreground {
  const { width, height } = IMAGE;
  const cells = new Uint8Array(width * height);
  for (let y = 7; y <= 10; y++) cells.fill(1, y * width + 7, y * width + 11);
  return new Foreground({ cells, rows: height, columns: width }, IMAGE);
}

/** alpha of a look's image, from the whole map. */
async function wholeAttention(
  model: ReturnType<typeof toyModel>,
  planned: WholeLook,
): Promise<Float32Array> {
  const attention = tf.tidy(() =>
    attentionSoftmax(groupLogits(model, planned.groups[0]!))
  );
  const values = await attention.data() as Float32Array;
  attention.dispose();
  return values;
}

testOnEngines("stage I in blocks is the whole map", async () => {
  for (const [name, view] of Object.entries(VIEWS)) {
    for (const memory of [SMALL, FORGETFUL]) {
      const model = toyModel({ view, peak: 4 });
      const image: LookImage = {
        pyramid: noiseImage(IMAGE, 5),
        key: randomKey(3),
        foreground: halfForeground(),
      };
      const planned = await lookWhole(model, [image], {
        samples: 5,
        draws: "seeded",
        memory: WHOLE,
      });
      const expected = await wholeAttention(model, planned);
      const views = await Views.open(image.pyramid, { memory });
      const tileMap = new TileMap(model, image, views, { memory });
      let blocks = 0;
      await tileMap.look(() => blocks++);
      assert.ok(blocks > 4, `only ${blocks} blocks`);
      const found = new Float32Array(expected.length);
      for await (const { block, logits } of tileMap.logits()) {
        logits.forEach((logit, i) => {
          const row = block.row + Math.floor(i / block.columns);
          const column = block.column + i % block.columns;
          found[row * tileMap.map.columns + column] = Math.exp(
            logit - tileMap.logNormaliser,
          );
        });
      }
      const error = maxError(found, expected);
      assert.ok(error < 1e-5, `${name}: ${error}`);
      const entropy = await tileMap.entropy();
      const negative = expected.reduce(
        (sum, p) => sum + p * Math.log(p + 1e-6),
        0,
      );
      assert.ok(Math.abs(entropy.negative - negative) < 1e-4);
      assert.equal(tileMap.locations, planned.groups[0]!.locations[0]);
      views.dispose();
      planned.dispose();
      disposeParameters(model.parameters);
    }
  }
});

testOnEngines("draws, features and logits in blocks are the same", async () => {
  const ways: { options: LookOptions; image: Partial<LookImage> }[] = [
    { options: TWELVE, image: { contrastive: true } },
    { options: { ...TWELVE, draws: "topN" }, image: {} },
    {
      options: TWELVE,
      image: { contrastive: true, foreground: halfForeground() },
    },
    {
      options: TWELVE,
      image: { contrastive: true, foreground: spot() },
    },
  ];
  for (const [name, view] of Object.entries(VIEWS)) {
    for (const [i, { options, image: extra }] of ways.entries()) {
      const model = toyModel({ view, peak: 4 });
      const image: LookImage = {
        pyramid: noiseImage(IMAGE, 6),
        key: randomKey(4, i),
        ...extra,
      };
      const whole = await lookWhole(model, [image], options);
      const blocks = await lookInBlocks(model, image, {
        ...options,
        memory: SMALL,
      });
      assert.deepEqual(blocks.glimpses, whole.glimpses, `${name} ${i}`);
      assert.deepEqual(blocks.draws, whole.draws);
      assert.deepEqual(blocks.locations, whole.locations);
      const expected = tf.tidy(() => score(model, whole).logits);
      const read = await readFeatures(model, blocks);
      const logits = tf.tidy(() => score(model, blocks, { read }).logits);
      const error = maxError(
        await logits.data() as Float32Array,
        await expected.data() as Float32Array,
      );
      assert.ok(error < 1e-5, `${name} ${i}: logits off by ${error}`);
      tf.dispose([expected, logits, read]);
      whole.dispose();
      blocks.dispose();
      disposeParameters(model.parameters);
    }
  }
});

testOnEngines(
  "what is seen of drawn tiles is what the whole sees",
  async () => {
    const model = toyModel({ peak: 4 });
    const image = {
      pyramid: noiseImage(IMAGE, 6),
      key: randomKey(4),
      contrastive: true,
    };
    const options = TWELVE;
    const whole = await lookWhole(model, [image], options);
    const beta = tf.tidy(() => score(model, whole).attention.maps!.subTiles);
    const rows = await beta.array();
    const expected: number[] = [];
    whole.draws.drawn.forEach((drawn, tile) => {
      for (let k = 0; k < drawn; k++) {
        const location = whole.locations[expected.length]!;
        expected.push(rows[tile]![location]!);
      }
    });
    const seen: { region: Region; alpha: number }[] = [];
    const blocks = await lookInBlocks(model, {
      ...image,
      canvas: {
        addTile: (_, region, alpha) => seen.push({ region, alpha }),
        addBlock() {},
      },
    }, { ...options, memory: SMALL });
    const { tileAttention, subTileAttention } = blocks.parts;
    const error = maxError(subTileAttention, expected);
    assert.ok(error < 1e-6, `beta is off by ${error}`);
    // Shown are the tiles of the image itself, none of the contrastive.
    const { tiles, tileRegions } = whole.glimpses[0]!;
    assert.deepEqual(seen.map(({ region }) => region), tileRegions);
    const alphas = seen.map(({ alpha }) => alpha);
    assert.deepEqual(alphas, [...tileAttention.subarray(0, tiles.length)]);
    beta.dispose();
    whole.dispose();
    blocks.dispose();
    disposeParameters(model.parameters);
  },
);

testOnEngines(
  "logits are kept within their bound, others computed again",
  async () => {
    class FewLogits extends Memory {
      override get keptLogits(): number {
        return 500;
      }
    }
    const model = toyModel({ peak: 4 });
    const pyramid = new SyntheticPyramid(IMAGE, [1, 4], (x, y) => [
      ...[x % 256, y % 256, (x * y) % 256] as const,
    ]);
    const views = await Views.open(pyramid, { memory: WHOLE });
    const image = { pyramid, key: randomKey(1) };
    const memory = new FewLogits(SMALL.bytes);
    const tileMap = new TileMap(model, image, views, { memory });
    const sizes: number[] = [];
    await tileMap.look(({ logits }) => sizes.push(logits.length));
    const first = pyramid.reads.length;
    let again = 0;
    for await (const _ of tileMap.logits()) again++;
    const second = pyramid.reads.length - first;
    assert.equal(again, sizes.length);
    const ofBlock = first / sizes.length;
    const kept = sizes.length - second / ofBlock;
    assert.ok(kept >= 1 && second > 0, `${kept} of ${sizes.length} kept`);
    assert.ok(kept * Math.min(...sizes) <= 500, `${kept} blocks kept`);
    views.dispose();
    disposeParameters(model.parameters);
  },
);

testOnEngines("predictions in blocks are the same, heat map too", async () => {
  const model = toyModel({ peak: 4 });
  const options = { seed: 2, samples: 9, attention: true, memory: WHOLE };
  const [whole] = (await predict(model, [noiseImage(IMAGE, 7)], options))
    .predictions;
  const [blocks] = (await predict(model, [noiseImage(IMAGE, 7)], {
    ...options,
    memory: SMALL,
  })).predictions;
  assert.deepEqual(blocks!.tiles, whole!.tiles);
  assert.equal(blocks!.subTiles.length, whole!.subTiles.length);
  const most = whole!.attention!.values.reduce((a, b) => Math.max(a, b));
  const error = maxError(blocks!.attention!.values, whole!.attention!.values);
  assert.ok(error < 1e-4 * most, `heat off by ${error / most}`);
  disposeParameters(model.parameters);
});

testOnEngines("blocks without foreground are not read", async () => {
  const size = { width: 4096, height: 4096 };
  const pyramid = new SyntheticPyramid(
    size,
    [1, 8],
    (x, y) => [x % 256, y % 256, 7],
  );
  const cells = new Uint8Array(64 * 64);
  for (let i = 0; i < 16; i++) cells[i] = 1; // 64 px high, 1024 wide, at the top
  const foreground = new Foreground({ cells, rows: 64, columns: 64 }, size);
  const model = toyModel();
  const planned = await lookInBlocks(model, {
    pyramid,
    foreground,
    key: randomKey(1),
  }, { samples: 5, draws: "seeded", memory: SMALL });
  const ofStage1 = pyramid.reads.filter(({ level }) => level === 1);
  const lowest = Math.max(
    ...ofStage1.map(({ region }) => region.y + region.height),
  );
  assert.ok(ofStage1.length > 0 && lowest < 24, `read down to ${lowest}`);
  for (const { tileRegions } of planned.glimpses) {
    for (const { x, y } of tileRegions) assert.ok(x + 8 < 1024 && y + 8 < 64);
  }
  planned.dispose();
  disposeParameters(model.parameters);
});

Deno.test("a foreground between all locations is an error by name", async () => {
  const cells = new Uint8Array(400 * 300);
  cells[0] = 1;
  const foreground = new Foreground({ cells, rows: 300, columns: 400 }, IMAGE);
  const model = toyModel({ view: VIEWS.grid! });
  const image = {
    pyramid: noiseImage(IMAGE, 1),
    key: randomKey(1),
    foreground,
  };
  const options: LookOptions = {
    samples: 3,
    draws: "seeded",
    memory: WHOLE,
  };
  await assert.rejects(lookWhole(model, [image], options), ImageError);
  await assert.rejects(
    lookInBlocks(model, image, { ...options, memory: SMALL }),
    /Cannot look at drawn: no tile is centred on its foreground/,
  );
  disposeParameters(model.parameters);
});

testOnEngines(
  "a view of more blocks than a list should hold is refused",
  async () => {
    const model = toyModel({ view: { scale1: 1, tileStride: 1 } });
    const size = { width: 2 ** 20, height: 2 ** 20 };
    const pyramid = new SyntheticPyramid(size, [1], () => [0, 0, 0]);
    const image = { pyramid, key: randomKey(3) };
    const views = await Views.open(pyramid, { memory: WHOLE });
    assert.throws(() => new TileMap(model, image, views, { memory: WHOLE }), {
      name: "ImageError",
      message: /^Cannot look at synthetic: its view .* 1048576 x 1048576 px/,
    });
    disposeParameters(model.parameters);
  },
);
