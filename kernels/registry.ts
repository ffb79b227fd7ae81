/**
 * Registers every kernel of ours with tfjs, for both engines.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { adamWKernels } from "./adamw/adamw.ts";
import { inputColoursKernels } from "./colour/input_colours.ts";
import { registerWasmConvolutions } from "./conv/wasm/kernels.ts";
import { registerWebGpuConvolutions } from "./conv/webgpu/kernels.ts";
import { downsampleKernels } from "./resample/downsample.ts";
import { viewsTogetherKernel } from "./resample/together.ts";
import { gatherPatchesKernels } from "./resample/gather_patches.ts";
import { entropyKernels } from "./entropy/entropy.ts";
import { expectationKernels } from "./expectation/expectation.ts";
import { registerGradients } from "./gradients.ts";
import { registerWasmIdentity } from "./wasm/identity.ts";
import { crossEntropyKernels } from "./loss/cross_entropy.ts";
import { maxPoolKernels } from "./pool/max_pool.ts";
import { sampleKernels } from "./sample/sample.ts";
import { stepReportKernels } from "./step_report/step_report.ts";
import { sumsKernel } from "./sum/sums.ts";
import { unitRowsKernels } from "./unit_rows/unit_rows.ts";
import { softmaxKernels } from "./softmax/softmax.ts";

let registered = false;

/** Registers the kernels with tfjs; later calls do nothing. */
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
      ...adamWKernels,
      ...entropyKernels,
      ...crossEntropyKernels,
      ...stepReportKernels,
      ...expectationKernels,
      ...unitRowsKernels,
      ...inputColoursKernels,
      sumsKernel,
      viewsTogetherKernel,
    ]
  ) tf.registerKernel(config);
  registerWasmConvolutions();
  registerWasmIdentity();
  registerWebGpuConvolutions();
  registerGradients();
}
