/**
 * Decoded images kept in memory between uses: training reads the same few
 * hundred files every epoch.
 *
 * @module
 */
import type { Memory } from "../memory.ts";
import { withSignal } from "./bytes/with_signal.ts";
import { BlockCache } from "./pyramids/block_cache.ts";
import type { Region } from "./geometry.ts";
import { openImage, type OpenOptions } from "./open.ts";
import { type Pixels, type Pyramid, WrappedPyramid } from "./pyramid.ts";

/**
 * A cache of images that keeps decoded blocks within their share of the memory.
 */
export function imageCache(
  memory: Memory,
  imageBytes = memory.imageCacheBytes,
  options: Pick<OpenOptions, "fetch" | "maxPixels"> = {},
): ImageCache {
  const cache = new BlockCache(memory.blockCacheBytes);
  return new ImageCache(
    imageBytes,
    (path) =>
      openImage(path, { cache, heldPixels: memory.heldPixels, ...options }),
  );
}

/** An image that several users share. */
interface SharedImage {
  image: Promise<Pyramid>;
  /** Bytes counted against the bound; 0 while it is being opened. */
  bytes: number;
  /** Open handles, and calls that wait for one. */
  users: number;
}

/**
 * Images by path, within a bound on their bytes; the least recently used is
 * evicted first. A file that changes under its path is not noticed.
 *
 * Close what `open()` returns, like any image: it is a handle of your own. The
 * decoded image behind it lives until the cache has evicted it and its last
 * handle is closed.
 *
 * @example Read one image twice, decoded once
 * ```ts
 * const cache = new ImageCache(2 ** 30); // 1 GiB of pixels
 * for (const x of [0, 256]) {
 *   const image = await cache.open("scan.png");
 *   await image.read({ x, y: 0, width: 256, height: 256 }, 0);
 *   image.close();
 * }
 * cache.close();
 * ```
 */
export class ImageCache {
  readonly #maxBytes: number;
  readonly #openImage: (path: string) => Promise<Pyramid>;
  readonly #images = new Map<string, SharedImage>(); // oldest use first
  readonly #warnings = new Map<string, readonly string[]>();
  #bytes = 0;

  /**
   * Creates an empty cache.
   *
   * @param maxBytes bytes of pixels to keep; larger images are not kept at all.
   * @param open opens an image on a miss; {@linkcode openImage} if omitted.
   */
  constructor(
    maxBytes: number,
    open: (path: string) => Promise<Pyramid> = openImage,
  ) {
    this.#maxBytes = maxBytes;
    this.#openImage = open;
  }

  /** Bytes of the images kept. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Warnings of all images opened so far, by path. */
  get warnings(): ReadonlyMap<string, readonly string[]> {
    return this.#warnings;
  }

  /**
   * The image at `path`, opened unless cached. Concurrent calls for one path
   * share one decoding; `signal` ends the wait, not the decoding.
   *
   * @throws {ImageError} As `openImage`; the next call retries.
   */
  async open(path: string, signal?: AbortSignal): Promise<Pyramid> {
    signal?.throwIfAborted();
    const shared = this.#images.get(path) ?? this.#start(path);
    this.#images.delete(path);
    this.#images.set(path, shared); // the latest use is last
    shared.users++;
    try {
      const image = await withSignal(shared.image, signal);
      return new Handle(image, () => this.#release(path, shared));
    } catch (error) {
      this.#release(path, shared);
      throw error;
    }
  }

  /** Evicts every image; open handles stay valid until closed. */
  close(): void {
    for (const path of [...this.#images.keys()]) this.#drop(path);
  }

  #start(path: string): SharedImage {
    const shared = { image: this.#openImage(path), bytes: 0, users: 0 };
    this.#images.set(path, shared);
    shared.image.then(
      ({ width, height, warnings }) => {
        if (warnings.length > 0) this.#warnings.set(path, warnings);
        this.#keep(path, shared, width * height * 4);
      },
      () => this.#isKept(path, shared) && this.#images.delete(path),
    );
    return shared;
  }

  #isKept(path: string, shared: SharedImage): boolean {
    return this.#images.get(path) === shared;
  }

  /** Counts a newly opened image, and evicts others to make room. */
  #keep(path: string, shared: SharedImage, bytes: number): void {
    if (!this.#isKept(path, shared)) return; // the cache was closed in between
    if (bytes > this.#maxBytes) return this.#drop(path);
    shared.bytes = bytes;
    this.#bytes += bytes;
    for (const [oldest, { bytes }] of this.#images) {
      if (this.#bytes <= this.#maxBytes) break;
      if (bytes > 0) this.#drop(oldest);
    }
  }

  #drop(path: string): void {
    const shared = this.#images.get(path)!;
    this.#images.delete(path);
    this.#bytes -= shared.bytes;
    closeIfUnused(shared);
  }

  #release(path: string, shared: SharedImage): void {
    shared.users--;
    if (!this.#isKept(path, shared)) closeIfUnused(shared);
  }
}

/** Closes an evicted image once nobody uses it. */
function closeIfUnused({ image, users }: SharedImage): void {
  // A failed image has nothing to close, and its waiters have the error.
  if (users === 0) image.then((image) => image.close(), () => {});
}

/** One user's view of a shared image. */
class Handle extends WrappedPyramid {
  readonly #release: () => void;
  #closed = false;

  constructor(image: Pyramid, release: () => void) {
    super(image);
    this.#release = release;
  }

  override async read(
    region: Region,
    level: number,
    signal?: AbortSignal,
  ): Promise<Pixels> {
    if (this.#closed) {
      throw new TypeError(`Cannot read ${this.source}: it was closed`);
    }
    return await super.read(region, level, signal);
  }

  override close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#release();
  }
}
