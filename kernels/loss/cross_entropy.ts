/**
 * Cross-entropy of rows of logits against weighted targets, with its gradient:
 *
 *     loss = -sum_i sum_c t_ic log softmax(z_i)_c
 *     d loss / d z_i = (sum_c t_ic) softmax(z_i) - t_i
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { Kernel } from "../gpu.ts";
import { floatView, kernelConfigs } from "../kernel_config.ts";
import code from "./cross_entropy.wgsl" with { type: "text" };

const CROSS_ENTROPY = "zoomin/CrossEntropy";

/**
 * The sum over all rows.
 *
 * @param logits z, `[rows, classes]`.
 * @param targets t, `[rows, classes]`: shares of each class, times the row's
 *   weight.
 */
export function weightedCrossEntropy(
  logits: tf.Tensor2D,
  targets: tf.Tensor2D,
): tf.Scalar {
  const operation = tf.customGrad((input, save) => {
    const [value, gradient] = tf.engine().runKernel<tf.Tensor[]>(
      CROSS_ENTROPY,
      { logits: input as tf.Tensor2D, targets },
    );
    (save as tf.GradSaveFunc)([gradient!]);
    return {
      value: value as tf.Scalar,
      gradFunc: (dy, saved) => tf.mul(saved[0]!, dy as tf.Scalar),
    };
  });
  return operation(logits) as tf.Scalar;
}

/**
 * The same as plain loops.
 *
 * @returns the loss; its gradient is written to `gradient`.
 */
export function crossEntropyReference(
  logits: Float32Array,
  targets: Float32Array,
  { classes, gradient }: { classes: number; gradient: Float32Array },
): number {
  let loss = 0;
  for (let start = 0; start < logits.length; start += classes) {
    const row = logits.subarray(start, start + classes);
    const wanted = targets.subarray(start, start + classes);
    const highest = row.reduce((most, z) => Math.max(most, z), -Infinity);
    const sum = row.reduce((sum, z) => sum + Math.exp(z - highest), 0);
    const weight = wanted.reduce((sum, t) => sum + t, 0);
    row.forEach((z, c) => {
      const log = z - highest - Math.log(sum);
      if (wanted[c] !== 0) loss -= wanted[c]! * log;
      gradient[start + c] = weight * Math.exp(log) - wanted[c]!;
    });
  }
  return loss;
}

const kernel = new Kernel("cross-entropy", code);

/** The kernel for both engines. */
export const crossEntropyKernels = kernelConfigs(CROSS_ENTROPY, {
  wasm: ({ backend, inputs }) => {
    const { shape } = inputs.logits!;
    const value = backend.makeOutput([], "float32");
    const gradient = backend.makeOutput(shape, "float32");
    floatView(backend, value)[0] = crossEntropyReference(
      floatView(backend, inputs.logits!),
      floatView(backend, inputs.targets!),
      { classes: shape[1]!, gradient: floatView(backend, gradient) },
    );
    return [value, gradient];
  },
  webgpu: ({ backend, inputs }) => {
    const { shape } = inputs.logits!;
    const value = backend.makeTensorInfo([], "float32");
    const gradient = backend.makeTensorInfo(shape, "float32");
    kernel.run(backend, {
      params: new Uint32Array([shape[0]!, shape[1]!]),
      inputs: [inputs.logits!, inputs.targets!],
      outputs: [value, gradient],
      groups: 1,
    });
    return [value, gradient];
  },
});
