/**
 * Reads buffers back from the GPU as soon as its work is done, and those that
 * are asked for in one turn together.
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
// Reads of one turn share a staging buffer of this size: draws and reports are
// far smaller. A larger read has one of its own.
const SHARED_BYTES = 2 ** 16;

/** How copies are recorded and handed to the GPU. */
export interface CopyQueue {
  /** Records a copy of the whole of `buffer` to `staging`, `offset` bytes in. */
  copy(buffer: GPUBuffer, staging: GPUBuffer, offset: number): void;
  /** Submits what is recorded. */
  submit(): void;
}

/** A staging buffer to which copies are recorded until it is mapped. */
interface Turn {
  staging: GPUBuffer;
  /** True if it was mapped before. */
  used: boolean;
  bytes: number;
  /** What was copied; undefined until someone wants it. */
  range: Promise<ArrayBuffer> | undefined;
}

/** Staging buffers, kept for the next read of their size. */
export class ReadBack {
  readonly #device: GPUDevice;
  readonly #queue: CopyQueue;
  /** All of them have been mapped before. */
  readonly #free = new FreeBuffers(MAX_FREE_BYTES);
  #turn: Turn | undefined;

  constructor(device: GPUDevice, queue: CopyQueue) {
    this.#device = device;
    this.#queue = queue;
  }

  /** Reads a buffer; its values are those of now. */
  async read(buffer: GPUBuffer): Promise<ArrayBuffer> {
    return await this.later(buffer)();
  }

  /**
   * Copies a buffer as it is now, to be read with whatever is read next. The
   * function returned reads it, alone if nothing was.
   */
  later(buffer: GPUBuffer): () => Promise<ArrayBuffer> {
    const { size } = buffer;
    const turn = this.#turnFor(size);
    const start = turn.bytes;
    this.#queue.copy(buffer, turn.staging, start);
    turn.bytes += size;
    return async () => {
      // All that is recorded before the caller returns is read with it.
      turn.range ??= Promise.resolve().then(() => this.#map(turn));
      const range = await turn.range;
      return range.byteLength === size
        ? range
        : range.slice(start, start + size);
    };
  }

  /** The turn of now, or a new one if it has no room for `size` bytes. */
  #turnFor(size: number): Turn {
    if (size > SHARED_BYTES) return this.#begin(size);
    const { bytes = SHARED_BYTES } = this.#turn ?? {};
    if (bytes + size > SHARED_BYTES) this.#turn = this.#begin(SHARED_BYTES);
    return this.#turn!;
  }

  #begin(size: number): Turn {
    const used = this.#free.take(size, STAGING_USAGE);
    const staging = used ?? this.#device.createBuffer({
      label: "read back",
      size,
      usage: STAGING_USAGE,
    });
    return { staging, used: used !== undefined, bytes: 0, range: undefined };
  }

  async #map(turn: Turn): Promise<ArrayBuffer> {
    if (this.#turn === turn) this.#turn = undefined;
    this.#queue.submit();
    const { staging, bytes } = turn;
    const mapping = staging.mapAsync(GPUMapMode.READ, 0, bytes);
    const early = turn.used && await mappedRange(staging, bytes, mapping);
    if (early) {
      // A lost device has no range.
      mapping.then(() => this.#giveBack(staging), () => {});
      return early;
    }
    await mapping;
    const copy = staging.getMappedRange(0, bytes).slice(0);
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
  bytes: number,
  mapping: Promise<unknown>,
): Promise<ArrayBuffer | undefined> {
  let settled = false;
  const settle = () => settled = true;
  mapping.then(settle, settle);
  while (!settled) {
    await setImmediate();
    try {
      return buffer.getMappedRange(0, bytes).slice(0);
    } catch {
      // not mapped yet
    }
  }
}
