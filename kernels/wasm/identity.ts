/**
 * A clone on the WASM engine that shares its data, as on tfjs's other engines:
 * tensors are immutable, and their data is freed with the last tensor that
 * holds it. tfjs's own kernel copies, and a gradient's tape clones whatever it
 * saves.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";

/** Replaces tfjs's kernel. */
export function registerWasmIdentity(): void {
  const kernel = { kernelName: tf.Identity, backendName: "wasm" };
  tf.unregisterKernel(kernel.kernelName, kernel.backendName);
  tf.registerKernel({
    ...kernel,
    kernelFunc({ inputs, backend }) {
      const { dataId, shape, dtype } = inputs.x as tf.TensorInfo;
      (backend as tf.KernelBackend).incRef(dataId);
      return { dataId, shape, dtype };
    },
  });
}
