import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import { testOnEngines } from "../engines.ts";

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
