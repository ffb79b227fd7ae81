import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import {
  type InputColours,
  inputColours,
  inputColoursReference,
} from "../../../kernels/colour/input_colours.ts";
import { randomKey, RandomStream } from "../../../kernels/random.ts";
import { maxError, testOnEngines, testOnWebGpu } from "../../engines.ts";

const DARKEST = 1 / 255;
const AS_IT_IS = { mean: [0, 0, 0], deviation: [1, 1, 1], darkest: DARKEST };
const NORMALISED = {
  mean: [0.4, 0.5, 0.6],
  deviation: [0.2, 0.3, 0.1],
  darkest: DARKEST,
};
const DENSITIES = [0.9, 0.1, -0.2, 0.05, 1.2, 0.1, 0, -0.1, 0.8];

type Shape = [number, number, number, number];

function uniforms(count: number, seed: number): Float32Array {
  const stream = new RandomStream(randomKey(seed));
  return Float32Array.from({ length: count }, () => stream.uniform());
}

/** Views whose pixels are no brighter than their share inside the image. */
function viewsOf(
  [count, height, width]: Shape,
  shares: Float32Array | null,
): Float32Array {
  const values = uniforms(count * height * width * 3, 1);
  values[0] = 0; // black has no density
  if (!shares) return values;
  return values.map((value, at) => {
    const pixel = Math.floor(at / 3);
    const start = Math.floor(pixel / (height * width)) * (height + width);
    const row = Math.floor(pixel / width) % height;
    return value * shares[start + row]! *
      shares[start + height + pixel % width]!;
  });
}

async function check(shape: Shape, options: InputColours): Promise<void> {
  const views = viewsOf(shape, options.shares);
  const result = tf.tidy(() =>
    inputColours(tf.tensor4d(views.slice(), shape), options)
  );
  const expected = inputColoursReference(views, shape, options);
  assert.ok(maxError(await result.data(), expected) < 2e-5);
  result.dispose();
}

testOnEngines("input colours equal their reference", async () => {
  const shapes: Shape[] = [
    ...[[1, 1, 1, 3], [2, 9, 3, 3], [2, 2, 4, 3], [3, 5, 7, 3]] as Shape[],
    ...[[2, 3, 8, 3], [5, 31, 29, 3]] as Shape[],
  ];
  for (const shape of shapes) {
    const [count, height, width] = shape;
    const some = uniforms(count * (height + width), 2)
      .map((share) => share < 0.2 ? 0 : share > 0.5 ? 1 : share);
    some.fill(1, 0, height + width); // the first view is inside
    for (const shares of [null, some]) {
      for (const base of [AS_IT_IS, NORMALISED]) {
        const changes = Array.from({ length: count }, (_, n) => ({
          gain: [1, 1.3, 0.8][n % 3]!,
          densities: n % 2 ? null : DENSITIES,
        }));
        await check(shape, { ...base, shares, changes });
      }
    }
  }
});

// 65,535 workgroups of 64 pixels fill a row of the grid.
testOnWebGpu("input colours fill more than one grid row", async () => {
  const changes = [{ gain: 1.1, densities: null }];
  await check([1, 2050, 2050, 3], { ...NORMALISED, shares: null, changes });
});
