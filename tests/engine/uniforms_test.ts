import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import {
  attentionSoftmax,
  softmaxReference,
} from "../../kernels/softmax/softmax.ts";
import { uniformWords } from "../../lib/engine/uniforms.ts";
import { maxError, testOnWebGpu } from "../engines.ts";

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

testOnWebGpu(
  "more dispatches than a buffer holds, before a submit",
  async () => {
    const flag = "WEBGPU_DEFERRED_SUBMIT_BATCH_SIZE";
    const usual = tf.env().getNumber(flag);
    tf.env().set(flag, 1e6);
    try {
      let expected = Float32Array.of(1, 2, 3, 4, 5);
      const start = tf.tensor2d(expected, [1, 5]);
      const result = tf.tidy(() => {
        let values = start;
        for (let i = 0; i < 70; i++) {
          values = attentionSoftmax(tf.mul(values, 3));
        }
        return values;
      });
      for (let i = 0; i < 70; i++) {
        expected = new Float32Array(
          softmaxReference(expected.map((x) => 3 * x), {
            rows: 1,
            locations: 5,
          }),
        );
      }
      assert.ok(maxError(await result.data(), expected) < 1e-5);
      tf.dispose([start, result]);
    } finally {
      tf.env().set(flag, usual);
    }
  },
);
