import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import { randomKey, RandomStream } from "../../../kernels/random.ts";
import {
  attentionSoftmax,
  softmaxGradientReference,
  softmaxReference,
} from "../../../kernels/softmax/softmax.ts";
import { startEngine } from "../../../lib/engine/select.ts";
import { maxError, testOnEngines } from "../../engines.ts";

// one location; primes; more than a workgroup; more than a segment (16384);
// more workgroups than one grid row holds (65535)
const SHAPES = [[1, 1], [3, 7], [2, 257], [5, 1031], [2, 40_009], [65_537, 2]];

function normals(count: number, scale: number, seed = 1): Float32Array {
  const stream = new RandomStream(randomKey(seed));
  return Float32Array.from({ length: count }, () => scale * stream.normal());
}

function sum(values: ArrayLike<number>): number {
  let total = 0;
  for (let i = 0; i < values.length; i++) total += values[i]!;
  return total;
}

async function softmaxOf(logits: Float32Array, rows = 1) {
  const locations = logits.length / rows;
  const attention = tf.tidy(() =>
    attentionSoftmax(tf.tensor2d(logits, [rows, locations]))
  );
  const values = await attention.data() as Float32Array;
  attention.dispose();
  return values;
}

testOnEngines("softmax equals its reference", async () => {
  for (const [rows, locations] of SHAPES as [number, number][]) {
    const logits = normals(rows * locations, 5);
    const expected = softmaxReference(logits, { rows, locations });
    const error = maxError(await softmaxOf(logits, rows), expected);
    assert.ok(error < 1e-6, `[${rows}, ${locations}]: ${error}`);
  }
});

testOnEngines("softmax gradient equals its reference", async () => {
  const gradient = tf.grad((x) => attentionSoftmax(x as tf.Tensor2D));
  for (const [rows, locations] of SHAPES as [number, number][]) {
    const logits = normals(rows * locations, 2);
    const upstream = normals(rows * locations, 1, 2);
    const shape: [number, number] = [rows, locations];
    const actual = tf.tidy(() =>
      gradient(tf.tensor2d(logits, shape), tf.tensor2d(upstream, shape))
    );
    const expected = softmaxGradientReference(
      softmaxReference(logits, { rows, locations }),
      upstream,
      { rows, locations },
    );
    const error = maxError(await actual.data(), expected);
    actual.dispose();
    assert.ok(error < 1e-6, `[${rows}, ${locations}]: ${error}`);
  }
});

testOnEngines("softmax adds up to 1, at any shift and at +-80", async () => {
  const logits = normals(5003, 3);
  const attention = await softmaxOf(logits);
  assert.ok(Math.abs(sum(attention) - 1) < 1e-6);
  // 64 is a power of two: the shift loses only the last bits of a logit
  const shifted = await softmaxOf(logits.map((x) => x + 64));
  assert.ok(maxError(shifted, attention) < 1e-6);
  const extreme = await softmaxOf(Float32Array.of(80, -80, 80, 0));
  assert.ok(maxError(extreme, [0.5, 0, 0.5, 0]) < 1e-6);
});

testOnEngines(
  "softmax gives exactly 0 at -inf, and zeros for no location",
  async () => {
    const logits = normals(2 * 20_000, 1); // two segments a row
    logits.fill(-Infinity, 0, 17_000); // one of them empty
    logits.fill(-Infinity, 20_000); // all of row 1
    const attention = await softmaxOf(logits, 2);
    assert.ok(attention.subarray(0, 17_000).every((p) => p === 0));
    assert.ok(Math.abs(sum(attention.subarray(0, 20_000)) - 1) < 1e-6);
    assert.ok(attention.subarray(20_000).every((p) => p === 0));
  },
);

Deno.test("the softmax reference of no location is zeros", () => {
  const logits = new Float32Array(6).fill(-Infinity);
  logits[4] = 3;
  assert.deepEqual(
    [...softmaxReference(logits, { rows: 2, locations: 3 })],
    [0, 0, 0, 0, 1, 0],
  );
});

Deno.test("the softmax references equal their definitions", () => {
  const logits = Float32Array.of(1, 2, 3, -1);
  const upstream = Float32Array.of(0.5, -1, 2, 0);
  const size = { rows: 1, locations: 4 };
  const exps = [...logits].map(Math.exp);
  const attention = softmaxReference(logits, size);
  assert.ok(maxError(attention, exps.map((e) => e / sum(exps))) < 1e-7);

  /** <upstream, softmax> in float64, for a finite difference. */
  function loss(i: number, step: number): number {
    const moved = [...logits].map((x, j) => Math.exp(j === i ? x + step : x));
    return moved.reduce((l, e, j) => l + upstream[j]! * e, 0) / sum(moved);
  }
  const differences = [...logits].map((_, i) =>
    (loss(i, 1e-4) - loss(i, -1e-4)) / 2e-4
  );
  const gradient = softmaxGradientReference(attention, upstream, size);
  assert.ok(maxError(gradient, differences) < 1e-6);
});

Deno.test("softmax keeps its digits in small shares, and shows a NaN [wasm]", async () => {
  await startEngine("wasm");
  const logits = normals(16 * 40 + 7, 20); // whole rounds of vectors, and a rest
  const size = { rows: 1, locations: logits.length };
  const expected = softmaxReference(logits, size);
  (await softmaxOf(logits)).forEach((p, i) => {
    if (expected[i]! < 1e-37) assert.ok(p < 2e-37); // a f32 has no digits there
    // Half a digit of a logit 64 to 87 below the highest is 4e-6.
    else assert.ok(Math.abs(p / expected[i]! - 1) < 5e-6, `${p} at ${i}`);
  });
  logits[5] = NaN;
  assert.ok((await softmaxOf(logits)).every(Number.isNaN));
});

Deno.test("softmax of 10^7 locations [wasm]", async () => {
  await startEngine("wasm");
  const logits = new Float32Array(1e7).map((_, i) => (i * 7919) % 1009 / 100);
  const attention = await softmaxOf(logits);
  assert.ok(Math.abs(sum(attention) - 1) < 1e-6);
});
