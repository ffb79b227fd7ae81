import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import { gpuCounts } from "../bench/gpu_counts.ts";
import { testOnWebGpu } from "../engines.ts";

/** Submissions of 200 dispatches on tensors of `length`. */
async function submitsOf(length: number): Promise<number> {
  const start = tf.zeros([length]);
  let result = tf.add(start, 1);
  await result.data(); // nothing is pending
  const { dispatches, submits } = await gpuCounts(async () => {
    for (let i = 1; i < 200; i++) {
      const next = tf.add(start, i);
      result.dispose();
      result = next;
    }
    assert.equal((await result.data())[0], 199);
  });
  assert.equal(dispatches, 199);
  tf.dispose([start, result]);
  return submits;
}

testOnWebGpu("small dispatches are submitted 64 at a time", async () => {
  assert.equal(await submitsOf(100), 4);
});

testOnWebGpu("memory is not held back for the sake of fewer", async () => {
  assert.equal(await submitsOf(2 ** 21), 14); // 8 MiB each
});
