/**
 * Convolutions cut as for another kind of device than that of the tests.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { webGpuConvolutions } from "../../../../kernels/conv/webgpu/kernels.ts";
import type { Budget } from "../../../../kernels/conv/webgpu/plan.ts";

/** Runs `test` with webgpu's convolutions cut by `budget`. */
export async function withBudget(
  budget: Budget,
  test: () => Promise<unknown>,
): Promise<void> {
  const replace = (configs: tf.KernelConfig[]) => {
    for (const config of configs) {
      tf.unregisterKernel(config.kernelName, "webgpu");
      tf.registerKernel(config);
    }
  };
  const cut = webGpuConvolutions(budget);
  const usual = cut.map(({ kernelName }) => tf.getKernel(kernelName, "webgpu"));
  replace(cut);
  try {
    await test();
  } finally {
    replace(usual);
  }
}
