import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import { adamW, adamWReference } from "../../../kernels/adamw/adamw.ts";
import { maxError, testOnEngines } from "../../engines.ts";
import { normals } from "../../finite_differences.ts";

/** A parameter's size, and its part of a step. */
interface Part {
  size: number;
  learningRate: number;
  weightDecay: number;
  steps: number;
}

// One value, primes, more than a workgroup, several workgroups.
const PARTS: Part[] = [1, 3, 257, 8, 1031, 2, 4099].map((size, i) => ({
  size,
  learningRate: 0.01 / (i + 1),
  weightDecay: i % 2 ? 0.3 : 0,
  steps: [1, 2, 1000][i % 3]!,
}));

/** Values of a step: each parameter's, and the moments of all. */
function valuesOf(parts: readonly Part[]) {
  const length = parts.reduce((sum, { size }) => sum + size, 0);
  const moments = normals(2 * length, 1);
  // The second are means of squares.
  for (let i = length; i < 2 * length; i++) moments[i] = moments[i]! ** 2;
  return {
    length,
    moments,
    values: parts.map(({ size }, i) => normals(size, 10 + i)),
    gradients: parts.map(({ size }, i) => normals(size, 50 + i, 10 ** (i - 3))),
  };
}

async function check(parts: readonly Part[], clipNorm: number): Promise<void> {
  const { length, moments, values, gradients } = valuesOf(parts);
  const actual = tf.tidy(() => {
    const step = adamW(
      parts.map((part, i) => ({
        ...part,
        value: tf.tensor1d(values[i]!),
        gradient: tf.tensor1d(gradients[i]!),
      })),
      tf.tensor2d(moments, [2, length]),
      clipNorm,
    );
    return [step.squares, step.moments, ...step.values];
  });
  const [squares, stepped, ...moved] = await Promise.all(
    actual.map((tensor) => tensor.data()),
  );
  tf.dispose(actual);
  const expected = moments.slice();
  let start = 0;
  const expectedSquares = adamWReference(
    parts.map((part, i) => {
      const end = start + part.size;
      const own = {
        ...part,
        value: values[i]!,
        gradient: gradients[i]!,
        first: expected.subarray(start, end),
        second: expected.subarray(length + start, length + end),
      };
      start = end;
      return own;
    }),
    clipNorm,
  );
  assert.ok(maxError(squares!, expectedSquares) < 1e-5);
  assert.ok(maxError(stepped!, expected) < 1e-5);
  moved.forEach((own, i) => assert.ok(maxError(own, values[i]!) < 1e-5));
}

testOnEngines("a step of AdamW equals its reference", async () => {
  for (const clipNorm of [Infinity, 1e6, 0.7]) await check(PARTS, clipNorm);
  await check(PARTS.slice(0, 1), 1e-3);
});

testOnEngines("one step of all parameters needs no two of a size", async () => {
  const same = PARTS.slice(0, 2).map((part) => ({ ...part, size: 16 }));
  await check(same, 1);
});

Deno.test("AdamW's reference, by hand, with clipping", () => {
  // The norm is 5, cut to 1: g = 0.6 and 0.8, m = g and v = g^2 corrected.
  const value = Float32Array.of(1, 1);
  const first = new Float32Array(2), second = new Float32Array(2);
  const squares = adamWReference([{
    value,
    gradient: Float32Array.of(3, -4),
    first,
    second,
    learningRate: 0.1,
    weightDecay: 0.5,
    steps: 1,
  }], 1);
  assert.deepEqual([...squares], [25]);
  assert.ok(maxError(first, [0.06, -0.08]) < 1e-6);
  assert.ok(maxError(second, [0.36e-3, 0.64e-3]) < 1e-6);
  assert.ok(maxError(value, [0.95 - 0.1, 0.95 + 0.1]) < 1e-6);
});

Deno.test("a gradient that is no number shows everywhere", () => {
  const parts = [NaN, 1].map((g) => ({
    value: Float32Array.of(1),
    gradient: Float32Array.of(g),
    first: new Float32Array(1),
    second: new Float32Array(1),
    learningRate: 0.1,
    weightDecay: 0,
    steps: 1,
  }));
  adamWReference(parts, 1);
  for (const { value } of parts) assert.ok(Number.isNaN(value[0]));
});
