/**
 * How the memory that a run may use is split, and what it came to.
 *
 * @module
 */
import process from "node:process";

/** Bytes that tensors and caches may take where nothing else is asked for. */
export const DEFAULT_MEMORY_BYTES = 512e6;

/** With less, blocks are so small that their surroundings are most of them. */
export const MIN_MEMORY_BYTES = 64e6;

// Bytes of an attention network for each px of what it sees, its gradient and
// the padded copies of its convolutions included: 221 on the wasm engine.
const ATTENTION_BYTES = 240;
// Of the bound, for views that are held together, and for what a feature network
// makes of sub-tiles beside them.
const VIEW_SHARE = 3 / 8;
const FEATURE_SHARE = 3 / 16;
// Larger blocks are no faster.
const MAX_BLOCK_PIXELS = 448 * 448;
const BYTES_PER_PIXEL = 4; // decoded: RGBA

/** One bound on tensors and caches, and what each of them gets of it. */
export class Memory {
  constructor(readonly bytes: number = DEFAULT_MEMORY_BYTES) {}

  /** For decoded blocks of files. */
  get blockCacheBytes(): number {
    return this.#share(1 / 8);
  }

  /** For images that are decoded whole and used again. */
  get imageCacheBytes(): number {
    return this.#share(1 / 4);
  }

  /** Pixels of a file that are decoded at a time; a next piece waits beside it. */
  get readPixels(): number {
    return this.#share(1 / 32) / BYTES_PER_PIXEL;
  }

  /** Pixels that an attention network sees at a time, block by block. */
  get blockPixels(): number {
    const most = this.#share(1 / 4) / ATTENTION_BYTES;
    return Math.min(MAX_BLOCK_PIXELS, most);
  }

  /**
   * Pixels that the attention networks see of images whose views are held
   * together: what has more is looked at in blocks.
   */
  get jointPixels(): number {
    return this.#share(VIEW_SHARE) / ATTENTION_BYTES;
  }

  /**
   * Pixels of sub-tiles that a feature network reads at a time.
   *
   * @param bytes that the network takes for each px.
   * @param alone whether no views are held meanwhile.
   */
  featurePixels(bytes: number, alone = false): number {
    return this.#share(featureShare(alone)) / bytes;
  }

  /** The least bound, bytes, with which so many are read at a time. */
  static toRead(pixels: number, bytes: number, alone = false): number {
    return Math.ceil(pixels * bytes / featureShare(alone));
  }

  /** Logits of stage I that are kept; those of more blocks are computed again. */
  get keptLogits(): number {
    return this.#share(1 / 8) / Float32Array.BYTES_PER_ELEMENT;
  }

  #share(share: number): number {
    return Math.floor(this.bytes * share);
  }
}

function featureShare(alone: boolean): number {
  return alone ? VIEW_SHARE + FEATURE_SHARE : FEATURE_SHARE;
}

/** What each worker gets of a bound on all; the default where there is none. */
export function shareOf(
  bytes: number | undefined,
  workers: number,
): number | undefined {
  return bytes === undefined ? undefined : bytes / workers;
}

/** Largest resident memory of this process so far, bytes. */
export function peakMemoryBytes(): number {
  return process.resourceUsage().maxRSS * 1024; // Linux counts in KiB
}

/**
 * Frees the memory of an array that nobody uses any more, now: V8 counts buffers
 * so loosely that some 64 MB of them would wait for its next collection.
 */
export function freeNow(
  { buffer, byteLength }: Uint8Array<ArrayBuffer> | Float32Array,
): void {
  if (!(buffer instanceof ArrayBuffer)) return; // shared with a worker
  if (byteLength === buffer.byteLength) buffer.transfer(0); // nobody else's
}
