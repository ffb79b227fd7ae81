/**
 * Reads buffers back from the GPU as soon as its work is done.
 *
 * Deno's `mapAsync` polls for the end of the work, then sleeps 10 ms before it
 * resolves: longer than a small step takes. The range is available before that,
 * except the first time a buffer is mapped: Deno records the mode only when
 * that promise has resolved, and aborts the process if the range is requested
 * earlier.
 *
 * @module
 */
import { setImmediate } from "node:timers/promises";
import { FreeBuffers } from "./buffer_pool.ts";

const STAGING_USAGE = GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ;
const MAX_FREE_BYTES = 64e6;

/** Staging buffers, kept for the next read of their size. */
export class ReadBack {
  readonly #device: GPUDevice;
  /** All of them have been mapped before. */
  readonly #free = new FreeBuffers(MAX_FREE_BYTES);

  constructor(device: GPUDevice) {
    this.#device = device;
  }

  /**
   * Reads `size` bytes.
   *
   * @param copyInto submits the copy into the given buffer.
   */
  async read(
    size: number,
    copyInto: (staging: GPUBuffer) => void,
  ): Promise<ArrayBuffer> {
    const used = this.#free.take(size, STAGING_USAGE);
    const staging = used ?? this.#device.createBuffer({
      label: "read back",
      size,
      usage: STAGING_USAGE,
    });
    copyInto(staging);
    const mapping = staging.mapAsync(GPUMapMode.READ);
    const early = used && await mappedRange(staging, mapping);
    if (early) {
      // A lost device has no range.
      mapping.then(() => this.#giveBack(staging), () => {});
      return early;
    }
    await mapping;
    const copy = staging.getMappedRange().slice(0);
    this.#giveBack(staging);
    return copy;
  }

  #giveBack(staging: GPUBuffer): void {
    staging.unmap();
    this.#free.give(staging);
  }
}

/** A copy of the mapped range, if it is available before `mapping` settles. */
async function mappedRange(
  buffer: GPUBuffer,
  mapping: Promise<unknown>,
): Promise<ArrayBuffer | undefined> {
  let settled = false;
  const settle = () => settled = true;
  mapping.then(settle, settle);
  while (!settled) {
    await setImmediate();
    try {
      return buffer.getMappedRange().slice(0);
    } catch {
      // not mapped yet
    }
  }
}
