/**
 * Registers every kernel of ours with tfjs, for both engines.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { registerWasmConvolutions } from "./conv_wasm.ts";
import { registerWebGpuConvolutions } from "./conv_webgpu.ts";
import { downsampleKernels } from "./downsample.ts";
import { gatherPatchesKernels } from "./gather_patches.ts";
import { registerGradients } from "./gradients.ts";
import { registerWasmIdentity } from "./identity_wasm.ts";
import { maxPoolKernels } from "./max_pool.ts";
import { sampleKernels } from "./sample.ts";
import { softmaxKernels } from "./softmax.ts";

let registered = false;

/** Makes the kernels known to tfjs; later calls do nothing. */
export function registerKernels(): void {
  if (registered) return; // tfjs warns of a kernel that is registered twice
  registered = true;
  for (
    const config of [
      ...softmaxKernels,
      ...sampleKernels,
      ...gatherPatchesKernels,
      ...downsampleKernels,
      ...maxPoolKernels,
    ]
  ) tf.registerKernel(config);
  registerWasmConvolutions();
  registerWasmIdentity();
  registerWebGpuConvolutions();
  registerGradients();
}
