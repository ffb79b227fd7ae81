/** Attention by the encoder: what is drawn, and by which chances. */
import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import { randomKey } from "../../../kernels/random.ts";
import type { Encoder } from "../../../lib/encoder/encoder.ts";
import { ImageError } from "../../../lib/errors.ts";
import { Foreground } from "../../../lib/image/foreground/foreground.ts";
import { Memory } from "../../../lib/memory.ts";
import type { LookImage, LookOptions } from "../../../lib/model/look/draws.ts";
import { lookAt } from "../../../lib/model/look/look_at.ts";
import type { Look } from "../../../lib/model/look/look.ts";
import { overviewOf } from "../../../lib/model/look/overview.ts";
import type { Model } from "../../../lib/model/model.ts";
import { OVERVIEW } from "../../../lib/model/networks.ts";
import { disposeParameters } from "../../../lib/model/parameters.ts";
import { testOnEngines } from "../../engines.ts";
import { drawnImage, toyModel } from "../toy.ts";

const SIZE = { width: 96, height: 64 };
const OPTIONS: LookOptions = {
  samples: 20,
  draws: "seeded",
  memory: new Memory(),
  exploration: 0.2,
};

/** Red and green at each place. */
const colours: Encoder = {
  key: "colours",
  channels: 2,
  margin: 0,
  placesAtOnce: Infinity,
  features({ data, width }, [places]) {
    const values = places!.flatMap(({ x, y }) => {
      const at = (Math.floor(y) * width + Math.floor(x)) * 3;
      return [data[at]!, data[at + 1]!];
    });
    return Promise.resolve(Float32Array.from(values));
  },
  dispose() {},
};

/** Attention that looks for red; sub-tiles are read as colours, too. */
function redModel(maxLocations = 1000): Model {
  const model = toyModel({
    view: { tileSize: 16, tileStride: 16, subTileStride: 4, scale2: 0.5 },
    network: {
      features: "encoder",
      head: "evidence",
      overview: {
        scale: 1,
        outputs: [{ name: "colours", window: 0, pooling: "mean" }],
        channels: 2,
      },
      encoder: {
        path: "none.onnx",
        sha256: "0".repeat(64),
        scale: 1,
        inputSize: null,
        mean: [0, 0, 0],
        deviation: [1, 1, 1],
        outputs: [{ name: "colours", window: 0, pooling: "mean" }],
        channels: 2,
      },
    },
    training: {
      dense: {
        maxLocations,
        copies: 0,
        locations: 10,
        strongest: 0,
        objectWeight: 1,
        dropout: true,
      },
    },
  });
  const weight = model.parameters.get(OVERVIEW)!;
  tf.tidy(() => weight.assign(tf.tensor1d([9, 0])));
  return { ...model, encoder: colours, overview: colours };
}

/** Grey, with a red spot of 8 px in the tile of row 1 and column 4. */
function spotImage(key: number): LookImage {
  const pyramid = drawnImage(
    SIZE,
    (x, y) =>
      x >= 68 && x < 76 && y >= 20 && y < 28 ? [250, 0, 0] : [60, 60, 60],
  );
  return { pyramid, key: randomKey(key) };
}

async function withLook(
  model: Model,
  image: LookImage,
  use: (look: Look) => void | Promise<void>,
): Promise<void> {
  for await (const look of lookAt(model, [image], OPTIONS)) await use(look);
}

testOnEngines("draws fall where the encoder sees something", async () => {
  const model = redModel();
  await withLook(model, spotImage(1), ({ glimpses, draws }) => {
    const [{ tiles, subTileRegions }] = glimpses as [Look["glimpses"][0]];
    const spot = draws.counts[tiles.indexOf(1 * 6 + 4)]!;
    assert.ok(spot >= 14, `${spot} of 20`);
    const onSpot = subTileRegions.filter(({ x, y, width }) => {
      const [left, top] = [x + width / 2, y + width / 2];
      return left >= 68 && left < 76 && top >= 20 && top < 28;
    });
    assert.equal(onSpot.length, 4); // of a tile's 16, all that there are
  });
  disposeParameters(model.parameters);
});

testOnEngines(
  "alpha times beta is the softmax over all locations",
  async () => {
    const model = redModel();
    const image = spotImage(2);
    const { logits } = await overviewOf(model, image.pyramid, OPTIONS);
    const sum = logits.reduce((total, logit) => total + Math.exp(logit), 0);
    await withLook(model, image, async (look) => {
      const { tiles, subTiles } = tf.tidy(() => look.attend());
      const [alpha, beta] = await Promise.all([tiles.data(), subTiles.data()]);
      tf.dispose([tiles, subTiles]);
      let at = 0;
      look.draws.drawn.forEach((count, tile) => {
        const first = look.glimpses[0]!.tiles[tile]! * 16;
        for (let k = 0; k < count; k++, at++) {
          const expected = Math.exp(logits[first + look.locations[at]!]!) / sum;
          const found = alpha[tile]! * beta[at]!;
          assert.ok(Math.abs(found - expected) < 1e-5 * expected + 1e-7);
        }
      });
      const proposed = look.proposed!;
      assert.deepEqual(proposed.locations, [24 * 16]);
      proposed.tiles.forEach((q, tile) => {
        assert.ok(Math.abs(q - (0.8 * alpha[tile]! + 0.2 / 24)) < 1e-5);
      });
    });
    disposeParameters(model.parameters);
  },
);

testOnEngines("attention by the encoder keeps to the foreground", async () => {
  const model = redModel();
  const cells = Uint8Array.from({ length: 24 }, (_, i) => i % 6 < 3 ? 1 : 0);
  const foreground = new Foreground({ cells, rows: 4, columns: 6 }, SIZE);
  const image = { ...spotImage(3), foreground };
  await withLook(model, image, ({ glimpses, proposed }) => {
    assert.ok(glimpses[0]!.tiles.every((tile) => tile % 6 < 3));
    assert.deepEqual(proposed!.locations, [12 * 16]);
  });
  disposeParameters(model.parameters);
});

testOnEngines("a heat map of attention by the encoder adds to 1", async () => {
  const model = redModel();
  let sum = 0;
  const canvas: LookImage["canvas"] = {
    addTile: (_, __, alpha) => void (sum += alpha),
    addBlock: (_, __, attention) => {
      for (let i = 0; i < attention.length; i++) sum += attention[i]!;
    },
  };
  await withLook(model, { ...spotImage(4), canvas }, async (look) => {
    const attention = tf.tidy(() => look.attend());
    await look.paint(attention);
    tf.dispose([attention.tiles, attention.subTiles]);
  });
  assert.ok(Math.abs(sum - 1) < 1e-5, `${sum}`);
  disposeParameters(model.parameters);
});

testOnEngines("an image with too many locations is refused", async () => {
  const model = redModel(383);
  await assert.rejects(
    () => withLook(model, spotImage(5), () => {}),
    (error: Error) =>
      error instanceof ImageError &&
      /has 384 locations, and attention by the encoder sees at most 383/
        .test(error.message),
  );
  disposeParameters(model.parameters);
});
