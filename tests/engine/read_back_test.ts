import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import { readLater } from "../../lib/engine/read_later.ts";
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

testOnEngines("what is read later is what the tensor held", async () => {
  for (const length of [4, 2 ** 15]) { // beyond what reads share
    const tensor = tf.fill([length], 1);
    const read = readLater(tensor);
    tensor.dispose();
    const other = tf.tensor1d(new Float32Array(length).fill(2));
    const changed = tf.square(other);
    assert.equal((await read()).findIndex((value) => value !== 1), -1);
    assert.equal((await read()).length, length, "again");
    tf.dispose([other, changed]);
  }
});

testOnWebGpu("what is read later comes with the next read", async () => {
  const tensors = [1, 2, 3].map((value) => tf.fill([5], value));
  const { readBacks } = await gpuCounts(async () => {
    const [first, second] = tensors.slice(0, 2).map(readLater);
    assert.deepEqual([...await tensors[2]!.data()], [3, 3, 3, 3, 3]);
    assert.deepEqual([...await first!()], [1, 1, 1, 1, 1]);
    assert.deepEqual([...await second!()], [2, 2, 2, 2, 2]);
  });
  assert.equal(readBacks, 1);
  tf.dispose(tensors);
});
