import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import { batchNormalise } from "../../lib/model/normalise.ts";
import { maxError, testOnEngines } from "../engines.ts";
import {
  assertGradients,
  normals,
  normalTensor,
} from "../finite_differences.ts";

const EPSILON = 1e-5; // PyTorch's
const SHAPE: [number, number, number, number] = [2, 3, 4, 5];

/** Batch normalisation as plain loops. */
function reference(
  x: Float32Array,
  { scale, shift, relu, statistics }: {
    scale: Float32Array;
    shift: Float32Array;
    relu: boolean;
    statistics?: { mean: number[]; variance: number[] };
  },
) {
  const channels = 5, count = x.length / channels;
  const mean = new Array<number>(channels).fill(0);
  const variance = new Array<number>(channels).fill(0);
  x.forEach((value, at) => mean[at % channels]! += value / count);
  x.forEach((value, at) => {
    variance[at % channels]! += (value - mean[at % channels]!) ** 2 / count;
  });
  const used = statistics ?? { mean, variance };
  const output = Array.from(x, (value, at) => {
    const c = at % channels;
    const normal = (value - used.mean[c]!) /
      Math.sqrt(used.variance[c]! + EPSILON);
    const shifted = normal * scale[c]! + shift[c]!;
    return relu ? Math.max(0, shifted) : shifted;
  });
  return { output, mean: used.mean, variance: used.variance };
}

const STATISTICS = {
  mean: [0.1, -0.2, 0, 1, 3],
  variance: [1, 0.5, 2, 0, 4].map((value) => value + 0.25),
};

for (
  const { moving, relu } of [
    { moving: false, relu: false },
    { moving: false, relu: true },
    { moving: true, relu: true },
  ]
) {
  const name = `by ${moving ? "moving" : "its own"} statistics${
    relu ? " and a ReLU" : ""
  }`;
  testOnEngines(`batch normalisation ${name}`, async () => {
    const values = normals(120, 1, 2).map((value) => value + 3);
    const parameters = { scale: normals(5, 2), shift: normals(5, 3) };
    const [x, scale, shift] = [
      tf.tensor4d(values, SHAPE),
      tf.tensor1d(parameters.scale),
      tf.tensor1d(parameters.shift),
    ];
    const fixed = moving
      ? {
        mean: tf.tensor1d(STATISTICS.mean),
        variance: tf.tensor1d(STATISTICS.variance),
      }
      : {};
    const normalise = (...[x, scale, shift]: tf.Tensor[]) =>
      batchNormalise(x as tf.Tensor4D, {
        scale: scale as tf.Tensor1D,
        shift: shift as tf.Tensor1D,
        relu,
        ...fixed,
      });
    const result = tf.tidy(() => {
      const { output, mean, variance } = normalise(x, scale, shift);
      return { output, mean: mean.clone(), variance: variance.clone() };
    });
    const expected = reference(values, {
      ...parameters,
      relu,
      ...(moving && { statistics: STATISTICS }),
    });
    for (const part of ["output", "mean", "variance"] as const) {
      const error = maxError(await result[part].data(), expected[part]);
      assert.ok(error < 1e-5, `${part}: ${error}`);
    }
    await assertGradients(
      (...inputs) => normalise(...inputs).output,
      [x, scale, shift],
      { step: 0.02, tolerance: 2e-3 },
    );
    tf.dispose([x, scale, shift]);
    tf.dispose(fixed);
    tf.dispose(Object.values(result));
  });
}

testOnEngines("a channel without contrast gives no NaN", async () => {
  const output = tf.tidy(() =>
    tf.grad((x) =>
      batchNormalise(x as tf.Tensor4D, {
        scale: tf.ones([2]) as tf.Tensor1D,
        shift: tf.zeros([2]) as tf.Tensor1D,
      }).output
    )(tf.ones([1, 2, 2, 2]), normalTensor([1, 2, 2, 2], 1))
  );
  assert.ok((await output.data()).every(Number.isFinite));
  output.dispose();
});
