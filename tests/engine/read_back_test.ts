import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import { gpuCounts } from "../bench/gpu_counts.ts";
import { testOnEngines, testOnWebGpu } from "../engines.ts";

testOnEngines("values are read as they are, again and at once", async () => {
  const read = async (value: number) => {
    const tensor = tf.fill([3, 5], value); // of one size: buffers are reused
    const values = await tensor.data();
    tensor.dispose();
    assert.deepEqual([...values], Array<number>(15).fill(value));
  };
  for (let value = 0; value < 20; value++) await read(value);
  await Promise.all(Array.from({ length: 20 }, (_, value) => read(value)));
});

testOnEngines("a result outlives the buffer it was read from", async () => {
  const [first, second] = [tf.fill([4], 1), tf.fill([4], 2)];
  const values = await first!.data();
  const others = await second!.data();
  tf.dispose([first, second]);
  assert.deepEqual([[...values], [...others]], [[1, 1, 1, 1], [2, 2, 2, 2]]);
});

testOnWebGpu("what is read at once is read together", async () => {
  const tensors = [3, 100, 2 ** 14, 2 ** 13].map((length, i) =>
    tf.tidy(() => tf.square(tf.fill([length], i)))
  );
  let values: tf.TypedArray[] = [];
  const { readBacks } = await gpuCounts(async () => {
    values = await Promise.all(tensors.map((tensor) => tensor.data()));
  });
  values.forEach((own, i) => {
    assert.equal(own.length, tensors[i]!.size);
    assert.equal(own.findIndex((value) => value !== i * i), -1);
  });
  assert.equal(readBacks, 3, "2^14 and 2^13 floats do not fit with the others");
  tf.dispose(tensors);
});

testOnWebGpu("tensors are uploaded without staging buffers", async () => {
  const counts = await gpuCounts(async () => {
    for (let i = 0; i < 20; i++) {
      const sum = tf.tidy(() => tf.add(tf.tensor1d([i, 2, 3]), i));
      assert.deepEqual([...await sum.data()], [2 * i, 2 + i, 3 + i]);
      sum.dispose();
    }
    const flags = tf.tensor1d([true, false, true], "bool");
    const chosen = tf.tidy(() => tf.where(flags, [1, 2, 3], [4, 5, 6]));
    assert.deepEqual([...await chosen.data()], [1, 5, 3]);
    tf.dispose([flags, chosen]);
  });
  assert.equal(counts.stagingBuffers, 0);
});
