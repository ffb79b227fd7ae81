import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import { uniformWords } from "../../lib/engine/uniforms.ts";
import { testOnWebGpu } from "../engines.ts";

function fields(...lengths: number[]) {
  let next = 1;
  return lengths.map((length) => ({
    type: "int32",
    data: Array.from({ length }, () => next++),
  }));
}

Deno.test("uniforms lie where WGSL reads them", () => {
  const words = (...lengths: number[]) => [
    ...new Int32Array(uniformWords(fields(...lengths))),
  ];
  assert.deepEqual(words(1, 1), [1, 2]);
  assert.deepEqual(words(1, 2), [1, 0, 2, 3]);
  assert.deepEqual(words(1, 3, 1), [1, 0, 0, 0, 2, 3, 4, 5]);
  assert.deepEqual(words(2, 4), [1, 2, 0, 0, 3, 4, 5, 6]);
  // A struct of 5 or 6 is a vector of 4 and what is left; 16 bytes align it.
  assert.deepEqual(words(5, 1), [1, 2, 3, 4, 5, 0, 0, 0, 6, 0, 0, 0]);
  const mixed = [{ type: "float32", data: [0.5] }, { type: "int32", data: [] }];
  assert.equal(new Float32Array(uniformWords(mixed))[0], 0.5);
  assert.equal(new Int32Array(uniformWords(mixed))[1], 1);
});

testOnWebGpu("more uniforms than a buffer holds, in a submission", async () => {
  // A concatenation has the shapes and strides of all that it joins.
  const parts = Array.from({ length: 16 }, (_, i) => tf.fill([1, 1, 1, 1], i));
  const results = Array.from({ length: 40 }, () => tf.concat(parts));
  for (const result of results) {
    assert.deepEqual([...await result.data()], parts.map((_, i) => i));
  }
  tf.dispose([parts, results]);
});
