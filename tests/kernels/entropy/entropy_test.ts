import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import {
  entropyGradientReference,
  entropySlope,
  entropySums,
  entropySumsReference,
  entropyTerm,
  weightedEntropy,
} from "../../../kernels/entropy/entropy.ts";
import { softmaxReference } from "../../../kernels/softmax/softmax.ts";
import { maxError, testOnEngines, testOnWasm } from "../../engines.ts";
import { normals } from "../../finite_differences.ts";

const SHAPES = [
  { rows: 1, locations: 1 },
  { rows: 3, locations: 7 },
  { rows: 301, locations: 5 }, // more rows than a workgroup adds up at once
  { rows: 2, locations: 1031 },
  { rows: 3, locations: 32 },
];

/** Attention maps whose first location is out of reach. */
function mapsOf({ rows, locations }: (typeof SHAPES)[number]): Float32Array {
  const logits = normals(rows * locations, 1, 3);
  if (locations > 1) logits[0] = -Infinity;
  return softmaxReference(logits, { rows, locations });
}

testOnEngines("entropies and their gradient equal the references", async () => {
  for (const shape of SHAPES) {
    const { rows, locations } = shape;
    const values = mapsOf(shape);
    const weights = [...normals(rows, 2)];
    const attention = tf.tensor2d(values.slice(), [rows, locations]);
    const [sums, total, gradient] = tf.tidy(() => {
      const sums = entropySums(attention);
      const loss = (p: tf.Tensor) =>
        weightedEntropy(p as tf.Tensor2D, sums, weights);
      const { value, grad } = tf.valueAndGrad(loss)(attention, tf.scalar(0.7));
      return [sums, value, grad];
    });
    const expected = entropySumsReference(values, shape);
    assert.ok(maxError(await sums!.data(), expected) < 1e-5);
    const sum = weights.reduce(
      (sum, w, row) => sum + w * expected[2 * row]!,
      0,
    );
    assert.ok(maxError(await total!.data(), [sum]) < 1e-5);
    assert.ok(
      maxError(
        await gradient!.data(),
        entropyGradientReference(values, weights, 0.7),
      ) < 1e-5,
    );
    tf.dispose([attention, sums!, total!, gradient!]);
  }
});

testOnWasm("entropies of 10^6 locations keep their digits", async () => {
  const shape = { rows: 1, locations: 1e6 };
  for (const values of [mapsOf(shape), new Float32Array(1e6).fill(1e-6)]) {
    const attention = tf.tensor2d(values.slice(), [1, 1e6]);
    const sums = entropySums(attention);
    const expected = entropySumsReference(values, shape);
    assert.ok(maxError(await sums.data(), expected) < 1e-6);
    tf.dispose([attention, sums]);
  }
});

Deno.test("both sums over a map are their definitions; zeros add nothing", () => {
  const map = Float32Array.of(0.5, 0, 0.25, 0.25, 0);
  const sums = entropySumsReference(map, { rows: 1, locations: 5 });
  const expected = 0.5 * Math.log(0.5 + 1e-6) + 0.5 * Math.log(0.25 + 1e-6);
  assert.ok(maxError(sums, [expected, 1.5 * Math.LN2]) < 1e-7);
});

Deno.test("the slope is the derivative of a location's term", () => {
  for (const p of [1e-4, 0.01, 0.3, 1]) {
    const step = 1e-6 * p;
    const difference = (entropyTerm(p + step) - entropyTerm(p - step)) /
      (2 * step);
    assert.ok(Math.abs(entropySlope(p) - difference) < 1e-6, `${p}`);
  }
});
