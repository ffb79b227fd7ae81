/**
 * Time of a training step of the colon preset, kernel by kernel (convolutions
 * layer by layer); the rest is reading, drawing and tfjs itself. On webgpu it is
 * the time of each dispatch on the GPU, one after the other.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import type { Engine } from "../../lib/engine/select.ts";
import { gpuTimes, hasTimestamps, type Share } from "./gpu_times.ts";
import type { Bench, Benchmark } from "./measure.ts";
import { step } from "./presets.ts";

const STEPS = 9;
// Kernels below this share of the step are one row.
const MIN_SHARE = 0.01;

export const profileBenchmarks: Record<string, Benchmark> = {
  "profile-step": profileStep,
};

async function profileStep(engine: Engine): Promise<Bench> {
  const { device } = engine;
  if (device && !hasTimestamps(device)) {
    console.error(
      `profile-step ${engine.backend}: skipped, as the adapter has no timestamps (timestamp-query)`,
    );
    return { subjects: [], dispose() {} };
  }
  const { subjects: [whole] } = step("colon", engine);
  await whole!.ours(); // memory grows, routines are made
  const steps = async () => {
    let ms = 0;
    for (let i = 0; i < STEPS; i++) ms += await whole!.ours();
    return ms;
  };
  const { shares, ms } = device
    ? await withTimestamps(device, steps)
    : await withTimers(steps);
  const kernels = [...shares].sort(([, a], [, b]) => b.ms - a.ms);
  const isLarge = ([, share]: [string, Share]) => share.ms > MIN_SHARE * ms;
  const sum = (rows: [string, Share][]) =>
    rows.reduce((sum, [, share]) => sum + share.ms, 0);
  const small = kernels.filter((row) => !isLarge(row));
  const calls = device ? "dispatches" : "calls";
  const rows: (readonly [note: string, ms: number])[] = [
    ["whole step", ms],
    ...kernels.filter(isLarge).map(([name, share]): [string, number] => [
      `${name}, ${perStep(share.calls)} ${calls}`,
      share.ms,
    ]),
    [`${small.length} other kernels`, sum(small)],
    // The host works beside a GPU.
    ...device ? [] : [["outside of kernels", ms - sum(kernels)]] as const,
  ];
  return {
    subjects: rows.map(([note, ms]) => ({
      ours: () => Promise.resolve(ms / STEPS),
      note,
    })),
    dispose() {},
  };
}

/** Dispatches are as many as the tiles that were drawn. */
function perStep(calls: number): number {
  return Math.round(10 * calls / STEPS) / 10;
}

type Profile = { shares: Map<string, Share>; ms: number };

/** Runs `work` with timestamps around every dispatch, named by its kernel. */
async function withTimestamps(
  device: GPUDevice,
  work: () => Promise<number>,
): Promise<Profile> {
  let current = "";
  const naming = (kernel: tf.KernelConfig): tf.KernelConfig => ({
    ...kernel,
    kernelFunc: (call) => {
      const outer = current;
      current = describe(kernel.kernelName, call.inputs);
      const result = kernel.kernelFunc(call);
      current = outer;
      return result;
    },
  });
  let ms = 0;
  const shares = await withKernels(
    naming,
    () => gpuTimes(device, () => current, async () => ms = await work()),
  );
  return { shares, ms };
}

/** Runs `work` with a clock around every kernel of the backend. */
async function withTimers(work: () => Promise<number>): Promise<Profile> {
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
  return await withKernels(timed, async () => ({ shares, ms: await work() }));
}

/** Runs `work` with every kernel of the backend replaced. */
async function withKernels<Result>(
  replacement: (kernel: tf.KernelConfig) => tf.KernelConfig,
  work: () => Promise<Result>,
): Promise<Result> {
  const kernels = tf.getKernelsForBackend(tf.getBackend());
  replaceKernels(kernels.map(replacement));
  try {
    return await work();
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
