import assert from "node:assert/strict";
import { randomKey } from "../../../kernels/random.ts";
import { Foreground } from "../../../lib/image/foreground/foreground.ts";
import { Memory } from "../../../lib/memory.ts";
import type { Model } from "../../../lib/model/model.ts";
import { disposeParameters } from "../../../lib/model/parameters.ts";
import {
  lookImages,
  type StepOptions,
} from "../../../lib/train/step/micro_batch.ts";
import { disposeBackward } from "../../../lib/train/step/backward.ts";
import { maxError, testOnEngines } from "../../engines.ts";
import { networkScales } from "../../finite_differences.ts";
import { noiseImage, toyModel, type ToyOptions } from "../../model/toy.ts";
import {
  backwardInBlocks,
  backwardTogether,
  type MicroBatchImages,
} from "../passes.ts";

// Blocks of 15 px of the view, halo included, and one tile at a time.
const SMALL = new Memory(2 ** 18);
// Keeps no logits: they are computed again before each gradient.
class Forgetful extends Memory {
  override get keptLogits(): number {
    return 0;
  }
}
const FORGETFUL = new Forgetful(SMALL.bytes);
const IMAGE = { width: 427, height: 331 };
const OPTIONS: StepOptions = {
  rate: 1,
  contrastive: true,
  freezeAttention: false,
  exploration: 0.4,
  classWeights: [1, 1],
  memory: new Memory(),
};

testOnEngines(
  "a placed, turned image looks at its own foreground",
  async () => {
    const pyramid = noiseImage({ width: 640, height: 512 }, 4);
    const model = toyModel({ view: { tileStride: 32, tileSize: 32 } });
    const [image] = await lookImages(model, [{
      pyramid,
      goal: [1],
      key: randomKey(1),
      stains: null,
      augmentation: {
        orientation: 6,
        gain: 1,
        densities: null,
        placement: { x: 0.99, y: 0.5 },
      },
    }], { ...OPTIONS, foreground: { kind: "tissue" } });
    // 32 px are given away on each axis, and the turn swaps them.
    assert.equal(image!.pyramid.width, 480);
    assert.equal(image!.pyramid.height, 608);
    const inPart = { x: 100, y: 200, width: 1, height: 1 };
    // Turned clockwise: a row from below is a column from the left.
    const stored = { x: 32 + 200, y: 16 + 480 - 1 - 100, width: 1, height: 1 };
    assert.deepEqual(
      (await image!.pyramid.read(inPart, 0)).data,
      (await pyramid.read(stored, 0)).data,
    );
    disposeParameters(model.parameters);
  },
);

testOnEngines("gradients in blocks are those of the whole", async () => {
  const cells = new Uint8Array(12).fill(1, 0, 7);
  const foreground = new Foreground({ cells, rows: 3, columns: 4 }, IMAGE);
  const cases: {
    view?: ToyOptions["view"];
    entropyWeight: number;
    memory: Memory;
    image: { contrastive?: boolean; foreground?: Foreground };
  }[] = [
    { entropyWeight: 0.3, memory: SMALL, image: { contrastive: true } },
    { entropyWeight: 0, memory: FORGETFUL, image: {} },
    {
      view: { tileStride: 19, tileSize: 32 },
      entropyWeight: 0.3,
      memory: FORGETFUL,
      image: { contrastive: true, foreground },
    },
  ];
  for (
    const [i, { view = {}, entropyWeight, memory, image }] of cases.entries()
  ) {
    // Dead ReLUs would make the gradients of the first layers tiny.
    const model = toyModel({ view, peak: 3, training: { entropyWeight } });
    const part: MicroBatchImages = {
      images: [{
        pyramid: noiseImage(IMAGE, 8),
        key: randomKey(2, i),
        gain: 0.9,
        ...image,
      }],
      goals: [[1]],
      of: 1,
    };
    await assertSameGradients(model, part, memory, {
      what: `case ${i}`,
      allFlow: entropyWeight > 0,
    });
    disposeParameters(model.parameters);
  }
});

testOnEngines(
  "gradients of evidence in blocks are those of the whole",
  async () => {
    const cases: { view: ToyOptions["view"]; label: number; memory: Memory }[] =
      [
        { view: { support: 200 }, label: 1, memory: SMALL },
        {
          view: { tileStride: 32, tileSize: 32, subTileStride: 7 },
          label: 0,
          memory: FORGETFUL,
        },
      ];
    for (const [i, { view = {}, label, memory }] of cases.entries()) {
      const model = toyModel({
        view,
        network: { head: "evidence" },
        training: { entropyWeight: 0.02 },
        peak: 3,
      });
      const part: MicroBatchImages = {
        images: [{ pyramid: noiseImage(IMAGE, 8), key: randomKey(2, i) }],
        goals: [[label]],
        of: 1,
      };
      const what = `case ${i}`;
      await assertSameGradients(model, part, memory, { what, allFlow: true });
      disposeParameters(model.parameters);
    }
  },
);

/** Fails if a pass in blocks has other gradients, or another report. */
async function assertSameGradients(
  model: Model,
  part: MicroBatchImages,
  memory: Memory,
  { what, allFlow }: { what: string; allFlow: boolean },
) {
  const whole = await backwardTogether(model, part, OPTIONS);
  const blocks = await backwardInBlocks(model, part, { ...OPTIONS, memory });
  assert.deepEqual(
    [...blocks.gradients.keys()].sort(),
    [...whole.gradients.keys()].sort(),
  );
  const scaleOf = await networkScales(whole.gradients);
  for (const [name, gradient] of whole.gradients) {
    const expected = await gradient.data() as Float32Array;
    const found = await blocks.gradients.get(name)!.data() as Float32Array;
    const largest = expected.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
    assert.ok(largest > 0 || !allFlow, `${name} has no gradient`);
    const error = maxError(found, expected);
    assert.ok(
      error <= 5e-5 * scaleOf(name),
      `${what}, ${name}: off by ${error} of ${largest}`,
    );
  }
  const error = maxError(
    await blocks.report.data() as Float32Array,
    await whole.report.data() as Float32Array,
  );
  assert.ok(error < 1e-4, `${what}: report off by ${error}`);
  disposeBackward(whole);
  disposeBackward(blocks);
}
