/**
 * Reads buffers back from the GPU as soon as it is done.
 *
 * Deno's `mapAsync` looks for the end of the work, then sleeps 10 ms before it
 * says so: longer than a small step takes. The range can be had before that,
 * but for the first time that a buffer is mapped: Deno takes note of how when
 * that has resolved, and ends the process if it is asked earlier.
 *
 * @module
 */
import { setImmediate } from "node:timers/promises";
import { FreeBuffers } from "./buffer_pool.ts";

const STAGING_USAGE = GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ;
const MOST_FREE_BYTES = 64e6;

/** Buffers to read through. They are kept for the next read of their size. */
export class ReadBack {
  readonly #device: GPUDevice;
  /** All were mapped before. */
  readonly #free = new FreeBuffers(MOST_FREE_BYTES);

  constructor(device: GPUDevice) {
    this.#device = device;
  }

  /**
   * Reads `size` bytes.
   *
   * @param copyInto submits the copy into the buffer that it is given.
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
      // A device that is lost has nothing to give back.
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

/** A copy of what is mapped, if it can be had before `mapping` settles. */
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
