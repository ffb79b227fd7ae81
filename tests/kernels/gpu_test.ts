import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import { checkBinding, dispatchGrid } from "../../kernels/gpu.ts";
import {
  attentionSoftmax,
  softmaxReference,
} from "../../kernels/softmax/softmax.ts";
import { maxError, testOnEngines } from "../engines.ts";

const limits = {
  maxComputeWorkgroupsPerDimension: 65535,
  maxStorageBufferBindingSize: 400,
};

Deno.test("a grid covers its workgroups in rows the device can dispatch", () => {
  for (const groups of [1, 65535, 65536, 131_071, 4_000_037]) {
    const [x, y] = dispatchGrid(groups, "test", limits);
    assert.ok(x <= 65535 && y <= 65535);
    assert.ok(x * y >= groups && x * y - groups < x, "no empty row");
  }
  assert.deepEqual(dispatchGrid(65535, "test", limits), [65535, 1]);
});

Deno.test("a buffer that no device takes is refused by name", () => {
  const isNamed = (error: unknown) =>
    error instanceof RangeError && /"too big"/.test(error.message);
  assert.throws(() => dispatchGrid(65535 ** 2 + 1, "too big", limits), isNamed);
  assert.throws(() => checkBinding([101, 1], "too big", limits), isNamed);
  checkBinding([100, 1], "fits", limits);
});

// 180 dispatches: all 64 are submitted
testOnEngines("our kernels run in order with tfjs's own", async () => {
  const size = { rows: 1, locations: 5 };
  let expected = Float32Array.of(1, 2, 3, 4, 5);
  const start = tf.tensor2d(expected, [1, 5]);
  const result = tf.tidy(() => {
    let values = start;
    for (let i = 0; i < 60; i++) values = attentionSoftmax(tf.mul(values, 3));
    return values;
  });
  for (let i = 0; i < 60; i++) {
    expected = new Float32Array(
      softmaxReference(expected.map((x) => 3 * x), size),
    );
  }
  assert.ok(maxError(await result.data(), expected) < 1e-5);
  tf.dispose([start, result]);
});

testOnEngines("tfjs recycles our buffers", async () => {
  const bytes: number[] = [];
  for (let i = 0; i < 4; i++) {
    const attention = tf.tidy(() => attentionSoftmax(tf.zeros([7, 1009])));
    await attention.data();
    attention.dispose();
    const memory = tf.memory() as tf.MemoryInfo & { numBytesInGPU?: number };
    bytes.push(memory.numBytesInGPU ?? 0);
  }
  assert.equal(bytes[3], bytes[1]);
});
