import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import { startEngine } from "../../lib/engine/select.ts";
import { assertGradients, normalTensor } from "../finite_differences.ts";
import { testOnEngines } from "../engines.ts";

/** Checks `f` on random inputs of these shapes. */
async function check(
  f: (...inputs: tf.Tensor[]) => tf.Tensor,
  ...shapes: number[][]
): Promise<void> {
  const inputs = shapes.map((shape, i) => normalTensor(shape as [], i + 1));
  await assertGradients(f, inputs);
  tf.dispose(inputs);
}

testOnEngines("what a gradient saves shares its data", async () => {
  const x = normalTensor([3, 2], 1), y = normalTensor([3, 2], 2);
  const { numTensors, numDataBuffers } = tf.memory();
  const gradient = tf.grad((x) => tf.mul(x, y));
  const { kernelNames, result } = await tf.profile(() => gradient(x));
  assert.ok(!kernelNames.includes(tf.Identity), kernelNames.join());
  assert.deepEqual(
    await (result as tf.Tensor).data(),
    await y.data(),
  );
  tf.dispose(result as tf.Tensor);
  assert.equal(tf.memory().numTensors, numTensors);
  assert.equal(tf.memory().numDataBuffers, numDataBuffers);
  tf.dispose([x, y]);
});

testOnEngines("gradient of Add, broadcast or not", async () => {
  const add = (a: tf.Tensor, b: tf.Tensor) => tf.add(a, b);
  await check(add as never, [2, 3], [2, 3]);
  await check(add as never, [2, 3], [3]);
  await check(add as never, [2, 1, 3], [4, 1]);
  await check(add as never, [], [2, 2]);
  await check(((x: tf.Tensor) => tf.add(x, x)) as never, [3]);
});

testOnEngines("gradient of Multiply, broadcast or not", async () => {
  const multiply = (a: tf.Tensor, b: tf.Tensor) => tf.mul(a, b);
  await check(multiply as never, [2, 3], [2, 3]);
  await check(multiply as never, [2, 3], [2, 1]);
  await check(multiply as never, [2, 1, 3], [4, 1]);
  await check(multiply as never, [], [5]);
});

testOnEngines("gradient of BatchMatMul", async () => {
  const product = (a: tf.Tensor, b: tf.Tensor) => tf.matMul(a, b);
  await check(product as never, [2, 3], [3, 5]);
  await check(product as never, [1, 1], [1, 1]);
  await check(product as never, [3, 2, 4], [3, 4, 1]);
});

// Not on engines: a gradient that throws leaks the tensors saved by the tape.
Deno.test("no gradient of a transposed product: it would be wrong", async () => {
  await startEngine("wasm");
  const square = tf.ones([2, 2]);
  const gradient = tf.grad((x) => tf.matMul(x, square, false, true));
  assert.throws(() => tf.tidy(() => gradient(square)), /^TypeError: Cannot/);
  square.dispose();
});

testOnEngines("gradient of Tanh", async () => {
  const input = normalTensor([2, 3], 1);
  await assertGradients((x) => tf.tanh(x!), [input], {
    step: 0.02,
    tolerance: 1e-3,
  });
  input.dispose();
});

testOnEngines("gradient of Sum over any axes", async () => {
  for (const axes of [undefined, 0, 2, -1, [0, 1], [1, 2], [0, 1, 2]]) {
    for (const keepDims of [false, true]) {
      await check(
        ((x: tf.Tensor) => tf.sum(x, axes, keepDims)) as never,
        [2, 3, 4],
      );
    }
  }
});

testOnEngines("gradient of Reshape", async () => {
  await check(((x: tf.Tensor) => tf.reshape(x, [4, -1])) as never, [2, 3, 2]);
  await check(((x: tf.Tensor) => tf.reshape(x, [])) as never, [1, 1]);
});

testOnEngines("gradient of Concat along any axis", async () => {
  const join = (axis: number) => (...parts: tf.Tensor[]) =>
    tf.concat(parts, axis);
  await check(join(0), [2, 3], [1, 3], [4, 3]);
  await check(join(1), [2, 1], [2, 3]);
  await check(join(-1), [2, 2, 1], [2, 2, 2]);
});

/** Numbers 0.1 apart from each other in random order, so that no kink is near. */
function apart(count: number, offset = 0): Float32Array {
  return Float32Array.from(
    { length: count },
    (_, i) => ((i * 37) % count - count / 2 + 0.5) / 10 + offset,
  );
}

testOnEngines("gradient of Relu, and 0 at 0", async () => {
  const x = tf.tensor1d(apart(20));
  await assertGradients((x) => tf.relu(x), [x], { step: 0.01 });
  const atZero = tf.tidy(() => tf.grad((x) => tf.relu(x))(tf.zeros([2])));
  assert.deepEqual([...await atZero.data()], [0, 0]);
  tf.dispose([x, atZero]);
});
