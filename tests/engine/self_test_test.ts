import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import {
  CONV,
  CONV_BIAS_GRADIENT,
  CONV_FILTER_GRADIENT,
  CONV_INPUT_GRADIENT,
  RELU_GRADIENT,
} from "../../kernels/conv/conv.ts";
import { MAX_POOL, MAX_POOL_GRADIENT } from "../../kernels/pool/max_pool.ts";
import { maxError, selfTest } from "../../lib/engine/self_test.ts";
import { testOnEngines, withZeros } from "../engines.ts";

testOnEngines("every kernel passes its self-test", async () => {
  const results = await selfTest();
  assert.ok(results.length >= 10);
  for (const { kernel, passed, maxError } of results) {
    assert.ok(passed, `${kernel}: ${maxError}`);
  }
});

testOnEngines(
  "a kernel that leaves zeros fails the self-test",
  ({ backend }) =>
    withZeros("zoomin/Softmax", backend, async () => {
      const failed = (await selfTest()).filter(({ passed }) => !passed);
      assert.deepEqual(failed.map(({ kernel }) => kernel), [
        "softmax",
        "softmax gradient", // it starts from the attention
      ]);
    }),
);

// The checks that fail if a kernel is spoiled. (Scaled sums keep their signs,
// and a ReLU's gradient depends only on signs.)
const INPUT = "convolution, input gradient";
const FILTER = "convolution, filter gradient";
const SPOILED: [kernel: string, checks: string[]][] = [
  [CONV, ["convolution"]],
  [RELU_GRADIENT, [INPUT, FILTER]],
  [CONV_INPUT_GRADIENT, [INPUT]],
  [CONV_FILTER_GRADIENT, [FILTER]],
  [CONV_BIAS_GRADIENT, [FILTER]],
  [MAX_POOL, ["max pool"]],
  [MAX_POOL_GRADIENT, ["max pool gradient"]],
];

for (const [kernel, checks] of SPOILED) {
  testOnEngines(
    `the self-test notices a slightly wrong ${kernel}`,
    ({ backend }) =>
      withScaledResult(kernel, backend, async () => {
        const failed = (await selfTest()).filter(({ passed }) => !passed);
        assert.deepEqual(failed.map(({ kernel }) => kernel), checks);
      }),
  );
}

/** Makes a kernel's results a thousandth too large. */
async function withScaledResult(
  kernelName: string,
  backendName: string,
  test: () => Promise<void>,
): Promise<void> {
  const kernel = tf.getKernel(kernelName, backendName);
  tf.unregisterKernel(kernelName, backendName);
  tf.registerKernel({
    ...kernel,
    kernelFunc(params) {
      const result = kernel.kernelFunc(params) as tf.TensorInfo;
      return tf.tidy(() =>
        tf.mul(
          tf.engine().makeTensorFromTensorInfo(result),
          1.001,
        )
      );
    },
  });
  try {
    await test();
  } finally {
    tf.unregisterKernel(kernelName, backendName);
    tf.registerKernel(kernel);
  }
}

Deno.test("maxError is relative above 1, and NaN shows", () => {
  assert.equal(maxError([0.5, 110], [0.25, 100]), 0.25);
  assert.equal(maxError([-Infinity], [-Infinity]), 0);
  assert.equal(maxError([1], [1, 2]), Infinity);
  assert.ok(Number.isNaN(maxError([NaN, 1], [0, 1])));
});
