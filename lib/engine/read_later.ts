/**
 * Reads tensors back without waiting for the engine.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import type { TfjsWebGpuInternals } from "../../kernels/gpu.ts";

/**
 * Copies a float32 tensor as it is now; it may be freed at once. On webgpu the
 * copy is read with whatever is read next, so it costs no read-back of its own.
 *
 * @returns a function that gives the values, and waits for them if nothing was
 *   read meanwhile.
 */
export function readLater(tensor: tf.Tensor): () => Promise<Float32Array> {
  if (tf.getBackend() !== "webgpu") {
    const values = tensor.dataSync() as Float32Array;
    return () => Promise.resolve(values);
  }
  const backend = tf.backend() as unknown as TfjsWebGpuInternals;
  const read = backend.readLater(tensor.dataId);
  return async () => new Float32Array(await read());
}
