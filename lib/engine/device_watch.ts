/**
 * Detects a GPU device that fails or is lost, and attributes other errors to
 * it.
 *
 * When a device is lost, pending calls fail first, each with its own message
 * ("Buffer with '' label is invalid"); the loss itself is reported a moment
 * later.
 *
 * @module
 */
import { setTimeout as pause } from "node:timers/promises";
import { EngineError } from "../errors.ts";

// A loss is reported within milliseconds, or later if the process is starved of
// CPU time.
const LOSS_WITHIN_MS = 5000;

/** A device that is watched. */
export interface WatchedDevice {
  /** The first error that no error scope caught, or why the device was lost. */
  readonly failure: EngineError | undefined;
  /**
   * Runs `work`; rejects if the device failed meanwhile, whatever the result.
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
    event.preventDefault(); // we throw it; Deno should not print it as well
    failure ??= failed(name, error);
  });
  const lost = device.lost.then(({ reason, message }) => {
    failure ??= new EngineError(
      `The webgpu engine lost its device "${name}" (${reason}): ${message}`,
    );
  });
  // A lost device also rejects calls that nobody awaits.
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

/** Waits for `promise`, but not forever. */
async function soon(promise: Promise<void>): Promise<void> {
  const waited = new AbortController();
  const { signal } = waited;
  const enough = pause(LOSS_WITHIN_MS, undefined, { signal, ref: false });
  await Promise.race([promise, enough.catch(() => {})]);
  waited.abort();
}

// Nothing else in WebGPU throws these; a TypeError is recognised by its
// message.
const GPU_ERRORS = ["OperationError", "GPUPipelineError"];
const GPU_TEXT = /\b(is invalid|device is lost|destroyed)\b/i;

/** `error` was thrown by a call to the GPU. */
export function isGpuError(error: unknown): error is Error {
  if (!(error instanceof Error) || error instanceof EngineError) return false;
  return GPU_ERRORS.includes(error.name) ||
    error instanceof TypeError && GPU_TEXT.test(error.message);
}
