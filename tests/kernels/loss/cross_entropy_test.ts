import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import {
  crossEntropyReference,
  weightedCrossEntropy,
} from "../../../kernels/loss/cross_entropy.ts";
import { maxError, testOnEngines } from "../../engines.ts";
import { normals } from "../../finite_differences.ts";

testOnEngines(
  "cross-entropy and its gradient equal the reference",
  async () => {
    // one of each; primes; more rows than a workgroup has invocations
    for (
      const [rows, classes] of [[1, 1], [3, 5], [7, 2], [263, 3], [2, 301]]
    ) {
      const shape: [number, number] = [rows!, classes!];
      const logits = normals(rows! * classes!, 1, 5);
      const targets = normals(rows! * classes!, 2).map(Math.abs);
      targets[0] = 0;
      const results = tf.tidy(() => {
        const wanted = tf.tensor2d(targets.slice(), shape);
        const { value, grad } = tf.valueAndGrad((z) =>
          weightedCrossEntropy(z as tf.Tensor2D, wanted)
        )(tf.tensor2d(logits.slice(), shape), tf.scalar(0.3));
        return [value, grad];
      });
      const gradient = new Float32Array(logits.length);
      const loss = crossEntropyReference(logits, targets, {
        classes: classes!,
        gradient,
      });
      assert.ok(maxError(await results[0]!.data(), [loss]) < 1e-5);
      const expected = gradient.map((g) => 0.3 * g);
      assert.ok(maxError(await results[1]!.data(), expected) < 1e-5);
      tf.dispose(results);
    }
  },
);

Deno.test("cross-entropy by hand", () => {
  const gradient = new Float32Array(2);
  const loss = crossEntropyReference(
    Float32Array.of(0, Math.log(3)), // shares 1/4 and 3/4
    Float32Array.of(2, 0),
    { classes: 2, gradient },
  );
  assert.ok(Math.abs(loss - 2 * Math.log(4)) < 1e-6);
  assert.ok(maxError(gradient, [0.5 - 2, 1.5]) < 1e-6);
});
