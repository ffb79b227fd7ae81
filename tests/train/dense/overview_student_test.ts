/** Weights of attention by the encoder, from the shares of locations. */
import assert from "node:assert/strict";
import { randomKey, RandomStream } from "../../../kernels/random.ts";
import {
  fitOverview,
  type OverviewImage,
} from "../../../lib/train/dense/overview_student.ts";

const CHANNELS = 5, LOCATIONS = 1200;

/**
 * An image with three objects, which alone have a large second feature; the
 * features differ in scale.
 */
function image(index: number): OverviewImage & { objects: number[] } {
  const random = new RandomStream(randomKey(3, index));
  const objects = [0, 1, 2].map((i) => (index * 97 + i * 311) % LOCATIONS);
  const features = new Float32Array(LOCATIONS * CHANNELS)
    .map((_, i) => 10 ** (i % CHANNELS) * random.uniform());
  for (const at of objects) features[at * CHANNELS + 1]! += 30;
  const shares = new Float64Array(LOCATIONS);
  for (const at of objects) shares[at] = 1 / objects.length;
  return { objects, shares, features: () => Promise.resolve(features) };
}

/** Mass of the softmax of features times weights on the objects. */
async function massOnObjects(
  { objects, features }: ReturnType<typeof image>,
  weight: Float32Array,
): Promise<number> {
  const all = await features();
  const logits = Array.from({ length: LOCATIONS }, (_, row) => {
    let sum = 0;
    weight.forEach((w, c) => sum += w * all[row * CHANNELS + c]!);
    return sum;
  });
  const most = Math.max(...logits);
  const weights = logits.map((logit) => Math.exp(logit - most));
  const total = weights.reduce((sum, one) => sum + one, 0);
  return objects.reduce((sum, at) => sum + weights[at]! / total, 0);
}

Deno.test("the weights find the objects of images that they have not seen", async () => {
  const images = Array.from({ length: 20 }, (_, i) => image(i));
  const steps: number[] = [];
  const { weight, loss } = await fitOverview(images, {
    channels: CHANNELS,
    seed: 1,
    onStep: ({ step, steps: all }) => steps.push(step / all),
  });
  assert.equal(steps.at(-1), 1);
  // Of all locations alike it would be ln 1200 = 7.1, of the objects ln 3.
  assert.ok(loss > Math.log(3) - 0.05 && loss < 1.4, `${loss}`);
  const mass = await massOnObjects(image(50), weight);
  assert.ok(mass > 0.8, `${mass}`);
});

Deno.test("the same seed gives the same weights", async () => {
  const images = Array.from({ length: 4 }, (_, i) => image(i));
  const fit = (seed: number) => fitOverview(images, { channels: 5, seed });
  assert.deepEqual(await fit(1), await fit(1));
  assert.notDeepEqual((await fit(1)).weight, (await fit(2)).weight);
});
