import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import { startEngine } from "../../../lib/engine/select.ts";

Deno.test("a clone shares its data until the last one goes", async () => {
  await startEngine("wasm");
  const { numDataBuffers } = tf.memory();
  const first = tf.tensor1d([1, 2, 3]);
  const clone = first.clone();
  assert.equal(tf.memory().numDataBuffers, numDataBuffers + 1);
  first.dispose();
  assert.deepEqual([...await clone.data()], [1, 2, 3]);
  clone.dispose();
  assert.equal(tf.memory().numDataBuffers, numDataBuffers);
});

Deno.test("a variable that changes leaves its clones as they were", async () => {
  await startEngine("wasm");
  const start = tf.tensor1d([1, 2]), next = tf.tensor1d([3, 4]);
  const variable = tf.variable(start);
  const clone = variable.clone();
  variable.assign(next);
  assert.deepEqual([...await clone.data()], [1, 2]);
  assert.deepEqual([...await variable.data()], [3, 4]);
  tf.dispose([start, next, variable, clone]);
});
