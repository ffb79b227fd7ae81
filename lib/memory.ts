/**
 * The memory bound of a run, how it is shared, and the peak.
 *
 * @module
 */
import process from "node:process";

/** Default bytes of tensors and caches. */
export const DEFAULT_MEMORY_BYTES = 512e6;

/** Minimum bound: with less, blocks consist mostly of their halos. */
export const MIN_MEMORY_BYTES = 64e6;

// Bytes of an attention network per input px, including its gradient and the
// padded copies of its convolutions: 221 on the wasm engine.
const ATTENTION_BYTES = 240;
// Shares of the bound: for views held together, and for the activations of a
// feature network beside them.
const VIEW_SHARE = 3 / 8;
const FEATURE_SHARE = 3 / 16;
// Larger blocks are no faster.
const MAX_BLOCK_PIXELS = 448 * 448;
const BYTES_PER_PIXEL = 4; // decoded: RGBA

/**
 * One bound on tensors and caches, with the share of each of them.
 *
 * @example
 * ```ts
 * const memory = new Memory(256e6);
 * memory.blockCacheBytes; // 32e6: an eighth
 * ```
 */
export class Memory {
  /**
   * Creates a bound.
   *
   * @param bytes the bound; {@linkcode DEFAULT_MEMORY_BYTES} if omitted.
   */
  constructor(readonly bytes: number = DEFAULT_MEMORY_BYTES) {}

  /** Bytes for decoded blocks of files. */
  get blockCacheBytes(): number {
    return this.#share(1 / 8);
  }

  /** Bytes for images that are decoded whole and reused. */
  get imageCacheBytes(): number {
    return this.#share(1 / 4);
  }

  /** Pixels of a picture that is held decoded while it is looked at. */
  get heldPixels(): number {
    return this.imageCacheBytes / BYTES_PER_PIXEL;
  }

  /**
   * Pixels of a file decoded at a time; the next piece is prefetched beside it.
   */
  get readPixels(): number {
    return this.#share(1 / 32) / BYTES_PER_PIXEL;
  }

  /** Pixels that an attention network processes at a time, block by block. */
  get blockPixels(): number {
    const most = this.#share(1 / 4) / ATTENTION_BYTES;
    return Math.min(MAX_BLOCK_PIXELS, most);
  }

  /**
   * Pixels of views that are held together for the attention networks: larger
   * images are processed in blocks.
   */
  get jointPixels(): number {
    return this.#share(VIEW_SHARE) / ATTENTION_BYTES;
  }

  /**
   * Pixels of sub-tiles that a feature network processes at a time.
   *
   * @param bytes bytes of the network's activations per px.
   * @param alone true if no views are held at the same time.
   */
  featurePixels(bytes: number, alone = false): number {
    return this.#share(featureShare(alone)) / bytes;
  }

  /** Minimum bound, bytes, with which `pixels` are processed at a time. */
  static toRead(pixels: number, bytes: number, alone = false): number {
    return Math.ceil(pixels * bytes / featureShare(alone));
  }

  /** Logits of stage I that are kept; those beyond are recomputed. */
  get keptLogits(): number {
    return this.#share(1 / 8) / Float32Array.BYTES_PER_ELEMENT;
  }

  #share(share: number): number {
    return Math.floor(this.bytes * share);
  }
}

/** Options of the library's door, where the memory bound has a default. */
export type WithDefaultMemory<Options extends { memory: Memory }> =
  & Omit<Options, "memory">
  & {
    /** Memory bound of the tensors; 512 MB if omitted. */
    memory?: Memory | undefined;
  };

function featureShare(alone: boolean): number {
  return alone ? VIEW_SHARE + FEATURE_SHARE : FEATURE_SHARE;
}

/** Bytes of each worker under a common bound; undefined if there is none. */
export function shareOf(
  bytes: number | undefined,
  workers: number,
): number | undefined {
  return bytes === undefined ? undefined : bytes / workers;
}

/** Peak resident memory of this process, bytes. */
export function peakMemoryBytes(): number {
  return process.resourceUsage().maxRSS * 1024; // Linux counts in KiB
}

/**
 * Frees the memory of an unused array immediately: V8 tracks buffers so loosely
 * that some 64 MB of them would wait for its next collection.
 */
export function freeNow(
  { buffer, byteLength }: Uint8Array<ArrayBuffer> | Float32Array,
): void {
  if (!(buffer instanceof ArrayBuffer)) return; // shared with a worker
  if (byteLength === buffer.byteLength) buffer.transfer(0); // nobody else's
}
