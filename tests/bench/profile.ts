/**
 * Time of a training step of the colon preset on wasm, kernel by kernel
 * (convolutions layer by layer); the rest is reading, drawing and
 * tfjs itself. On webgpu kernels overlap, and none has a time of its own.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import type { Engine } from "../../lib/engine/select.ts";
import type { Bench, Benchmark } from "./measure.ts";
import { step } from "./presets.ts";

const STEPS = 9;
// Kernels below this share of the step are one row.
const MIN_SHARE = 0.01;

export const profileBenchmarks: Record<string, Benchmark> = {
  "profile-step": profileStep,
};

/** Time and calls of one kernel, all steps together. */
interface Share {
  ms: number;
  calls: number;
}

async function profileStep(engine: Engine): Promise<Bench> {
  if (engine.backend !== "wasm") return { subjects: [], dispose() {} };
  const { subjects: [whole] } = step("colon", engine);
  await whole!.ours(); // memory grows, routines are made
  const { shares, ms } = await withTimers(async () => {
    let ms = 0;
    for (let i = 0; i < STEPS; i++) ms += await whole!.ours();
    return ms;
  });
  const kernels = [...shares].sort(([, a], [, b]) => b.ms - a.ms);
  const isLarge = ([, share]: [string, Share]) => share.ms > MIN_SHARE * ms;
  const sum = (rows: [string, Share][]) =>
    rows.reduce((sum, [, share]) => sum + share.ms, 0);
  const small = kernels.filter((row) => !isLarge(row));
  const rows: [note: string, ms: number][] = [
    ["whole step", ms],
    ...kernels.filter(isLarge).map(([name, share]): [string, number] => [
      `${name}, ${share.calls / STEPS} calls`,
      share.ms,
    ]),
    [`${small.length} other kernels`, sum(small)],
    ["outside of kernels", ms - sum(kernels)],
  ];
  return {
    subjects: rows.map(([note, ms]) => ({
      ours: () => Promise.resolve(ms / STEPS),
      note,
    })),
    dispose() {},
  };
}

/** Runs `work` with a clock around every kernel of the backend. */
async function withTimers(
  work: () => Promise<number>,
): Promise<{ shares: Map<string, Share>; ms: number }> {
  const shares = new Map<string, Share>();
  let nestedMs = 0; // of the kernels that the current one has called
  const timed = (kernel: tf.KernelConfig): tf.KernelConfig => ({
    ...kernel,
    kernelFunc: (call) => {
      const outerMs = nestedMs;
      nestedMs = 0;
      const started = performance.now();
      const result = kernel.kernelFunc(call);
      const ms = performance.now() - started;
      const name = describe(kernel.kernelName, call.inputs);
      const share = shares.get(name) ?? { ms: 0, calls: 0 };
      shares.set(name, {
        ms: share.ms + ms - nestedMs,
        calls: share.calls + 1,
      });
      nestedMs = outerMs + ms;
      return result;
    },
  });
  const kernels = tf.getKernelsForBackend(tf.getBackend());
  replaceKernels(kernels.map(timed));
  try {
    return { shares, ms: await work() };
  } finally {
    replaceKernels(kernels);
  }
}

function replaceKernels(kernels: readonly tf.KernelConfig[]): void {
  for (const kernel of kernels) {
    tf.unregisterKernel(kernel.kernelName, kernel.backendName);
    tf.registerKernel(kernel);
  }
}

/** A kernel's name, with the channels or sizes that tell layers apart. */
function describe(name: string, inputs: unknown): string {
  const { x, dy, filter } = inputs as Record<string, tf.TensorInfo | undefined>;
  if (!name.startsWith("zoomin/Conv2D")) return name;
  const shapes = [x, dy, filter].filter((tensor) => tensor !== undefined);
  return `${name} ${shapes.map(({ shape }) => shape.join("x")).join(" ")}`;
}
