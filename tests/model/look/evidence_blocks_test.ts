/** Looks under the head `evidence`: in blocks, in batches, in company: the same. */
import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import { randomKey } from "../../../kernels/random.ts";
import { predict } from "../../../lib/eval/predict.ts";
import { Foreground } from "../../../lib/image/foreground/foreground.ts";
import { Memory } from "../../../lib/memory.ts";
import { lookInBlocks } from "../../../lib/model/look/blocks.ts";
import type { LookImage, LookOptions } from "../../../lib/model/look/draws.ts";
import type { Look } from "../../../lib/model/look/look.ts";
import type { Proposed } from "../../../lib/model/look/draw/proposal.ts";
import { lookWhole } from "../../../lib/model/look/whole.ts";
import { disposeParameters } from "../../../lib/model/parameters.ts";
import type { Model } from "../../../lib/model/model.ts";
import { readFeatures, score } from "../../../lib/model/zoom_in.ts";
import { openFrozen } from "../../../lib/model/frozen.ts";
import { maxError, testOnEngines } from "../../engines.ts";
import { normals } from "../../finite_differences.ts";
import { noiseImage, toyModel, type ToyOptions } from "../toy.ts";

// Blocks of 15 px of the view, halo included, and one tile at a time.
const SMALL = new Memory(2 ** 18);
const IMAGE = { width: 235, height: 187 };
const OPTIONS: LookOptions = {
  samples: 12,
  draws: "seeded",
  memory: new Memory(),
};
const EVIDENCE: ToyOptions["network"] = {
  head: "evidence",
  evidence: { sharpness: 2, objects: null },
};

/** The paper's map, a grid, and a grid of tiles and of cells in them. */
const DENSE = {};
const GRID = { tileStride: 19, tileSize: 32 };
const CELLS = { tileStride: 32, tileSize: 32, subTileStride: 7 };

/** The left half of an image, and a spot on the right. */
function halfForeground(): Foreground {
  const cells = new Uint8Array(8 * 6);
  for (let i = 0; i < cells.length; i++) if (i % 8 < 4) cells[i] = 1;
  cells[5 * 8 + 7] = 1;
  return new Foreground({ cells, rows: 6, columns: 8 }, IMAGE);
}

/** What a look finds, as numbers. */
async function foundBy(model: Model, look: Look) {
  const read = await readFeatures(model, look);
  const scores = tf.tidy(() => {
    const { logits, weights, evidence } = score(model, look, { read });
    return [logits, weights, evidence!.logits, evidence!.shares] as const;
  });
  const values = await Promise.all(scores.map((tensor) => tensor.data()));
  tf.dispose([read, scores as never]);
  return values;
}

/** Fails if two proposals differ by more than rounding. */
function assertProposed(actual: Proposed, expected: Proposed, what: string) {
  assert.deepEqual(actual.locations, expected.locations, what);
  assert.deepEqual(actual.counts, expected.counts, what);
  for (const part of ["tiles", "subTiles"] as const) {
    const error = maxError(actual[part], expected[part]);
    assert.ok(error < 1e-5, `${what}: ${part} off by ${error}`);
  }
}

testOnEngines("evidence in blocks is that of the whole", async () => {
  const foreground = halfForeground();
  const ways: {
    view: NonNullable<ToyOptions["view"]>;
    image: Partial<LookImage>;
  }[] = [
    { view: DENSE, image: { foreground } },
    { view: { ...DENSE, support: 150 }, image: {} },
    { view: GRID, image: {} },
    { view: { ...GRID, support: 300 }, image: { foreground } },
    { view: { ...CELLS, support: 40 }, image: {} },
  ];
  for (const [i, { view, image: extra }] of ways.entries()) {
    const model = toyModel({ view, network: EVIDENCE, peak: 4 });
    const image: LookImage = {
      pyramid: noiseImage(IMAGE, 6),
      key: randomKey(4, i),
      ...extra,
    };
    const whole = await lookWhole(model, [image], OPTIONS);
    const blocks = await lookInBlocks(model, image, {
      ...OPTIONS,
      memory: SMALL,
    });
    assert.deepEqual(blocks.glimpses, whole.glimpses, `${i}`);
    assert.deepEqual(blocks.draws, whole.draws, `${i}`);
    assert.deepEqual(blocks.locations, whole.locations, `${i}`);
    assertProposed(blocks.proposed!, whole.proposed!, `${i}`);
    const expected = await foundBy(model, whole);
    (await foundBy(model, blocks)).forEach((values, part) => {
      const error = maxError(values, expected[part]!);
      assert.ok(error < 2e-5, `${i}: part ${part} off by ${error}`);
    });
    whole.dispose();
    blocks.dispose();
    disposeParameters(model.parameters);
  }
});

testOnEngines(
  "evidence of an image does not depend on the others",
  async () => {
    const images = [
      noiseImage(IMAGE, 1),
      noiseImage({ width: 133, height: 171 }, 2),
      noiseImage(IMAGE, 3),
    ].map((pyramid, i) => ({ pyramid, key: randomKey(9, i) }));
    for (const support of [null, 60]) {
      const model = toyModel({
        view: { ...CELLS, support },
        network: EVIDENCE,
        peak: 3,
      });
      const together = await lookWhole(model, images, OPTIONS);
      const [logits, weights] = await foundBy(model, together);
      let tile = 0, subTile = 0;
      for (const [i, image] of images.entries()) {
        const alone = await lookWhole(model, [image], OPTIONS);
        const { tiles, subTileRegions } = alone.glimpses[0]!;
        assert.deepEqual(together.glimpses[i]!.tiles, tiles);
        assert.deepEqual(together.glimpses[i]!.subTileRegions, subTileRegions);
        const { proposed } = together;
        const own: Proposed = {
          tiles: proposed!.tiles.slice(tile, tile + tiles.length),
          counts: proposed!.counts
            .slice(subTile, subTile + subTileRegions.length),
          subTiles: proposed!.subTiles
            .slice(subTile, subTile + subTileRegions.length),
          locations: [proposed!.locations[i]!],
        };
        assertProposed(own, alone.proposed!, `image ${i}`);
        const [ownLogits, ownWeights] = await foundBy(model, alone);
        assert.ok(maxError(logits!.slice(2 * i, 2 * i + 2), ownLogits!) < 1e-5);
        const end = subTile + subTileRegions.length;
        assert.ok(maxError(weights!.slice(subTile, end), ownWeights!) < 1e-5);
        tile += tiles.length;
        subTile = end;
        alone.dispose();
      }
      together.dispose();
      disposeParameters(model.parameters);
    }
  },
);

for (const features of ["lenet", "scattering"] as const) {
  testOnEngines(
    `evidence is predicted alike within any bound, by ${features}`,
    () => checkPredictions(features),
  );
}

/** Fails if predictions depend on the memory bound. */
async function checkPredictions(features: "lenet" | "scattering") {
  const toy = toyModel({
    view: { ...CELLS, support: 100 },
    network: { ...EVIDENCE, features },
    peak: 4,
  });
  for (const [name, variable] of toy.parameters) {
    if (!name.startsWith("g/project/")) continue; // a teacher fits them
    const values = normals(variable.size, name.length, 0.2);
    tf.tidy(() => variable.assign(tf.tensor(values, variable.shape)));
  }
  const encoder = await openFrozen(toy.config.network, toy.parameters);
  const model = { ...toy, encoder };
  const images = [noiseImage(IMAGE, 7)];
  const options = { seed: 2, samples: 9, attention: true };
  const [whole] =
    (await predict(model, images, { ...options, memory: new Memory() }))
      .predictions;
  const [blocks] = (await predict(model, images, { ...options, memory: SMALL }))
    .predictions;
  assert.deepEqual(blocks!.tiles, whole!.tiles);
  const evidence = maxError(blocks!.evidence!.values, whole!.evidence!.values);
  const largest = Math.max(...whole!.evidence!.values);
  assert.ok(evidence < 1e-4 * largest, `evidence off by ${evidence}`);
  const weights = whole!.subTiles.map(({ weight }) => weight);
  assert.ok(Math.abs(weights.reduce((a, b) => a + b) - 1) < 1e-4);
  const found = blocks!.subTiles.map(({ weight }) => weight);
  assert.ok(maxError(found, weights) < 1e-5);
  assert.ok(maxError(blocks!.probabilities, whole!.probabilities) < 1e-5);
  const most = whole!.attention!.values.reduce((a, b) => Math.max(a, b));
  const error = maxError(blocks!.attention!.values, whole!.attention!.values);
  assert.ok(error < 1e-4 * most, `heat off by ${error / most}`);
  disposeParameters(model.parameters);
}
