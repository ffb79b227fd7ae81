import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import { sums } from "../../../kernels/sum/sums.ts";
import { testOnEngines } from "../../engines.ts";
import { normalTensor } from "../../finite_differences.ts";

const SHAPES = [[], [1], [4], [3, 5], [2, 2, 7, 9]];

testOnEngines("sums are those of additions in order, bit by bit", async () => {
  for (const count of [2, 3, 5]) {
    const lists = Array.from(
      { length: count },
      (_, n) => SHAPES.map((shape, i) => normalTensor(shape as [], 10 * n + i)),
    );
    const found = sums(lists);
    const expected = SHAPES.map((_, i) =>
      tf.tidy(() =>
        lists.map((list) => list[i]!).reduce((a, b) => tf.add(a, b))
      )
    );
    for (const [i, sum] of found.entries()) {
      assert.deepEqual(sum.shape, SHAPES[i]);
      assert.deepEqual(await sum.data(), await expected[i]!.data());
    }
    tf.dispose([lists.flat(), found, expected]);
  }
});

testOnEngines("tensors of different shapes are not added", () => {
  const terms = [tf.zeros([2, 3]), tf.zeros([3, 2])];
  assert.throws(() => sums(terms.map((term) => [term])), /Cannot add tensors/);
  tf.dispose(terms);
});
