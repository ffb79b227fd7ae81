import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import { JointViews } from "../../lib/image/joint_views.ts";
import { Views } from "../../lib/image/views.ts";
import { Memory } from "../../lib/memory.ts";
import { gpuCounts } from "../bench/gpu_counts.ts";
import { testOnEngines, testOnWebGpu } from "../engines.ts";
import { noiseImage } from "../model/toy.ts";

const memory = new Memory();
const SIZES = [[40, 28], [23, 31], [40, 28]] as const;

function noise() {
  return SIZES.map(([width, height], i) => noiseImage({ width, height }, i));
}

// Inside, across each edge, beyond, and twice of one image.
const PARTS = [
  { image: 0, regions: corners([[3, 5], [-4, -6]]) },
  { image: 2, regions: corners([[35, 20]]) },
  { image: 1, regions: corners([[-30, 2], [0, 0], [20, 29], [99, 99]]) },
  { image: 0, regions: corners([[0, 20]]) },
];

function corners(points: readonly (readonly [number, number])[]) {
  return points.map(([x, y]) => ({ x, y, width: 12, height: 9 }));
}

async function valuesOf(views: tf.Tensor4D[]): Promise<number[]> {
  const values = await Promise.all(views.map((one) => one.data()));
  tf.dispose(views);
  return values.flatMap((one) => [...one]);
}

testOnEngines(
  "views of several images are those of each, bit by bit",
  async () => {
    const images = noise();
    const together = await JointViews.open(images, { memory });
    const alone: Views[] = [];
    for (const image of images) alone.push(await Views.open(image, { memory }));
    for (
      const output of [{ width: 12, height: 9 }, { width: 5, height: 4 }]
    ) {
      const expected: tf.Tensor4D[] = [];
      for (const { image, regions } of PARTS) {
        expected.push(await alone[image]!.regions(regions, output));
      }
      assert.deepEqual(
        await valuesOf(await together.regions(PARTS, output)),
        await valuesOf(expected),
      );
    }
    const wholes = [await alone[2]!.whole(0.3), await alone[0]!.whole(0.3)];
    assert.deepEqual(
      await valuesOf(await together.wholes([2, 0], 0.3)),
      await valuesOf(wholes),
    );
    for (const views of [together, ...alone]) views.dispose();
  },
);

testOnWebGpu("views of several images are one dispatch", async () => {
  const views = await JointViews.open(noise(), { memory });
  const output = { width: 5, height: 4 };
  tf.dispose(await views.regions(PARTS, output)); // the images are joined
  const { dispatches } = await gpuCounts(async () => {
    const read = await views.regions(PARTS, output);
    assert.equal(read.length, 1);
    tf.dispose(read);
  });
  assert.equal(dispatches, 1);
  views.dispose();
});
