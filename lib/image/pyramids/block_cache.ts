/**
 * Decoded blocks of images, cached within a bound on their bytes.
 *
 * @module
 */
import { freeNow } from "../../memory.ts";
import { withSignal } from "../bytes/with_signal.ts";
import type { Pixels } from "../pyramid.ts";

/** Key of a block: image, level and index. */
export interface BlockKey {
  /** `ByteSource.identity`: images opened twice share their blocks. */
  source: string;
  /** Index of the level; 0 is the full resolution. */
  level: number;
  /** Index of the block, row by row. */
  block: number;
}

/** How to decode a block, and a visitor of its pixels. */
export interface BlockUse {
  /** Bytes of the decoded block. */
  bytes: number;
  /** Decodes the block; `signal` aborts once nobody waits for it. */
  decode(signal: AbortSignal): Promise<Pixels>;
  /** Reads the block; must not keep or change it. */
  visit(pixels: Pixels): void;
  /** Aborts the wait. */
  signal?: AbortSignal | undefined;
}

/** A block, decoded or being decoded. */
interface Entry {
  pixels: Promise<Pixels>;
  bytes: number;
  decoded: boolean;
  /** Decoded, but evicted. */
  dropped: boolean;
  /** Number of calls that wait for it. */
  waiting: number;
  abandon: AbortController;
}

/**
 * LRU cache of blocks by image, level and place. Concurrent calls for one block
 * share one decoding.
 *
 * The bound covers cached blocks and those being decoded: a decoding waits
 * until there is room for it. Only a single block that is larger than the bound
 * may exceed it, alone.
 */
export class BlockCache {
  /** The bound, bytes. */
  readonly maxBytes: number;
  readonly #entries = new Map<string, Entry>(); // oldest use first
  readonly #queue: { bytes: number; start: () => void }[] = [];
  #bytes = 0; // kept and being decoded
  #decoding = 0; // of them, being decoded

  /**
   * A cache that is empty.
   *
   * @param maxBytes bound on cached blocks and those being decoded.
   */
  constructor(maxBytes: number) {
    this.maxBytes = maxBytes;
  }

  /** Bytes of the blocks kept and of those being decoded. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The block is cached or being decoded. */
  has(key: BlockKey): boolean {
    return this.#entries.has(nameOf(key));
  }

  /**
   * Calls `visit` with a block, decoded unless cached. A failed decoding is
   * retried by the next call, and by the calls that shared it: the one that
   * began it may have closed its file.
   */
  async use(key: BlockKey, use: BlockUse): Promise<void> {
    const { bytes, decode, signal } = use;
    signal?.throwIfAborted();
    const name = nameOf(key);
    const shared = this.#entries.get(name);
    try {
      await this.#visit(name, shared ?? this.#start(name, bytes, decode), use);
    } catch (error) {
      signal?.throwIfAborted();
      if (shared === undefined) throw error;
      await this.use(key, use);
    }
  }

  async #visit(
    name: string,
    entry: Entry,
    { visit, signal }: BlockUse,
  ): Promise<void> {
    this.#entries.delete(name);
    this.#entries.set(name, entry); // the latest use is last
    entry.waiting++;
    try {
      visit(await withSignal(entry.pixels, signal));
    } finally {
      entry.waiting--;
      if (entry.waiting === 0) {
        if (!entry.decoded) this.#abandon(name, entry);
        else if (entry.dropped) free(entry);
      }
    }
  }

  #start(name: string, bytes: number, decode: BlockUse["decode"]): Entry {
    const { promise: pixels, resolve } = Promise.withResolvers<Pixels>();
    const abandon = new AbortController();
    const entry = {
      pixels,
      bytes,
      decoded: false,
      dropped: false,
      waiting: 0,
      abandon,
    };
    resolve(this.#decode(name, entry, decode));
    pixels.catch(() => this.#forget(name, entry));
    return entry;
  }

  /** Decodes once there is room, and releases the room on failure. */
  async #decode(
    name: string,
    entry: Entry,
    decode: BlockUse["decode"],
  ): Promise<Pixels> {
    const { signal } = entry.abandon;
    await this.#room(entry.bytes);
    try {
      signal.throwIfAborted();
      const pixels = await decode(signal);
      this.#keep(name, entry);
      return pixels;
    } catch (error) {
      this.#bytes -= entry.bytes;
      throw error;
    } finally {
      this.#decoding -= entry.bytes;
      this.#startNext();
    }
  }

  /** Waits until what is being decoded leaves room for `bytes`, and takes it. */
  async #room(bytes: number): Promise<void> {
    if (this.#queue.length > 0 || !this.#fits(bytes)) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#queue.push({ bytes, start: resolve });
      await promise; // #startNext() took the room
    } else this.#take(bytes);
  }

  #fits(bytes: number): boolean {
    return this.#decoding === 0 || this.#decoding + bytes <= this.maxBytes;
  }

  #take(bytes: number): void {
    this.#decoding += bytes;
    this.#bytes += bytes;
    this.#evict();
  }

  #startNext(): void {
    for (let next = this.#queue[0]; next && this.#fits(next.bytes);) {
      this.#queue.shift();
      this.#take(next.bytes);
      next.start();
      next = this.#queue[0];
    }
  }

  #keep(name: string, entry: Entry): void {
    entry.decoded = true;
    if (this.#entries.get(name) !== entry) this.#bytes -= entry.bytes; // abandoned
    else if (entry.bytes > this.maxBytes) this.#drop(name, entry);
    else this.#evict();
  }

  #evict(): void {
    for (const [name, entry] of this.#entries) {
      if (this.#bytes <= this.maxBytes) return;
      if (entry.decoded) this.#drop(name, entry);
    }
  }

  #drop(name: string, entry: Entry): void {
    this.#entries.delete(name);
    this.#bytes -= entry.bytes;
    entry.dropped = true;
    if (entry.waiting === 0) free(entry);
  }

  #abandon(name: string, entry: Entry): void {
    this.#forget(name, entry);
    entry.abandon.abort();
  }

  #forget(name: string, entry: Entry): void {
    if (this.#entries.get(name) === entry) this.#entries.delete(name);
  }
}

/** Frees the pixels of an evicted block that nobody waits for. */
function free({ pixels }: Entry): void {
  pixels.then(({ data }) => freeNow(data));
}

function nameOf({ source, level, block }: BlockKey): string {
  return `${level}/${block}/${source}`;
}
