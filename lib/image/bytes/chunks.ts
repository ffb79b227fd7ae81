/**
 * Small reads of a file through cached chunks: the values of a directory lie
 * close to each other.
 *
 * @module
 */
import { withSignal } from "./with_signal.ts";
import type { ByteSource } from "./source.ts";

// Bytes of a chunk, and the number of chunks kept.
const CHUNK_BYTES = 2 ** 14;
const CHUNKS_KEPT = 64;

/** Reads the bytes of a source in chunks. */
export class Chunks {
  readonly #source: ByteSource;
  readonly #chunks = new Map<number, Promise<Uint8Array>>(); // oldest use first

  constructor(source: ByteSource) {
    this.#source = source;
  }

  /** Exactly `length` bytes at `offset`; the source must hold them. */
  async read(
    offset: number,
    length: number,
    signal?: AbortSignal,
  ): Promise<Uint8Array> {
    if (length > CHUNK_BYTES * CHUNKS_KEPT) {
      return await this.#source.read(offset, length, signal);
    }
    const bytes = new Uint8Array(length);
    const first = Math.floor(offset / CHUNK_BYTES);
    const last = Math.floor((offset + length - 1) / CHUNK_BYTES);
    // Requested together, so that a remote source coalesces them.
    const chunks = await Promise.all(
      Array.from(
        { length: last - first + 1 },
        (_, i) => withSignal(this.#chunk(first + i), signal),
      ),
    );
    for (const [i, chunk] of chunks.entries()) {
      const start = (first + i) * CHUNK_BYTES;
      const from = Math.max(0, offset - start);
      const to = Math.min(CHUNK_BYTES, offset + length - start);
      bytes.set(chunk.subarray(from, to), start + from - offset);
    }
    return bytes;
  }

  #chunk(index: number): Promise<Uint8Array> {
    const kept = this.#chunks.get(index);
    const chunk = kept ??
      this.#source.read(index * CHUNK_BYTES, CHUNK_BYTES);
    this.#chunks.delete(index);
    this.#chunks.set(index, chunk); // the latest use is last
    if (kept === undefined) {
      chunk.catch(() => this.#chunks.delete(index)); // to be tried again
      const [oldest] = this.#chunks.keys();
      if (this.#chunks.size > CHUNKS_KEPT) this.#chunks.delete(oldest!);
    }
    return chunk;
  }
}
