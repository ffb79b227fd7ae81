/**
 * Hears of a GPU device that fails or is lost, and tells what else fails by it.
 *
 * Where a device is lost, the calls under way fail first, each with a text of
 * its own ("Buffer with '' label is invalid"); that it was lost is told a moment
 * later.
 *
 * @module
 */
import { setTimeout as pause } from "node:timers/promises";
import { EngineError } from "../errors.ts";

// A loss is told within milliseconds. A process that others keep from running
// may take longer.
const LOSS_WITHIN_MS = 5000;

/** A device that is watched. */
export interface WatchedDevice {
  /** The first error that no error scope caught, or why the device was lost. */
  readonly failure: EngineError | undefined;
  /**
   * Runs `work`. A result of a device that failed meanwhile is not returned.
   *
   * @throws {EngineError} If the device failed; else what `work` throws.
   */
  whileAlive<T>(work: () => Promise<T>): Promise<T>;
}

/** Watches `device`, whose adapter is called `name`. */
export function watchDevice(name: string, device: GPUDevice): WatchedDevice {
  let failure: EngineError | undefined;
  device.addEventListener("uncapturederror", (event) => {
    const { error } = event as GPUUncapturedErrorEvent;
    event.preventDefault(); // we throw it; Deno need not print it as well
    failure ??= failed(name, error);
  });
  const lost = device.lost.then(({ reason, message }) => {
    failure ??= new EngineError(
      `The webgpu engine lost its device "${name}" (${reason}): ${message}`,
    );
  });
  // Of a call that nobody waits for, a lost device makes an echo.
  globalThis.addEventListener("unhandledrejection", (event) => {
    if (isGpuError(event.reason)) event.preventDefault();
  });
  return {
    get failure() {
      return failure;
    },
    async whileAlive(work) {
      try {
        const result = await work();
        if (!failure) return result;
      } catch (error) {
        if (isGpuError(error)) {
          await soon(lost);
          failure ??= failed(name, error);
        }
        if (!failure) throw error;
      }
      throw failure;
    },
  };
}

function failed(name: string, error: GPUError | Error): EngineError {
  return new EngineError(
    `The webgpu engine failed on "${name}": ${
      error.message.trim().split("\n", 1)[0]
    }`,
    { cause: error }, // with the lines that point into the shader
  );
}

/** Waits for `promise`, but not for ever. */
async function soon(promise: Promise<void>): Promise<void> {
  const waited = new AbortController();
  const { signal } = waited;
  const enough = pause(LOSS_WITHIN_MS, undefined, { signal, ref: false });
  await Promise.race([promise, enough.catch(() => {})]);
  waited.abort();
}

// In WebGPU nothing else throws these; a TypeError is told by its text.
const GPU_ERRORS = ["OperationError", "GPUPipelineError"];
const GPU_TEXT = /\b(is invalid|device is lost|destroyed)\b/i;

/** Whether a call to the GPU has thrown `error`. */
export function isGpuError(error: unknown): error is Error {
  if (!(error instanceof Error) || error instanceof EngineError) return false;
  return GPU_ERRORS.includes(error.name) ||
    error instanceof TypeError && GPU_TEXT.test(error.message);
}
