/**
 * Decoded images kept in memory between uses: training reads the same few
 * hundred files every epoch.
 *
 * @module
 */
import type * as tf from "@tensorflow/tfjs-core";
import { LRUCache } from "lru-cache";
import type { Memory } from "../memory.ts";
import { withSignal } from "./bytes/with_signal.ts";
import { BlockCache } from "./pyramids/block_cache.ts";
import { EngineCopies, type KeptPyramid } from "./engine_copies.ts";
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

/** An image that several users share. The last to leave closes it. */
interface SharedImage {
  path: string;
  image: Promise<Pyramid>;
  /** The cache, open handles, and calls that wait for one. */
  users: number;
}

/**
 * Images by path, within a bound on their bytes; the least recently used is
 * evicted first. A file that changes under its path is not noticed.
 *
 * Close what `open()` returns, like any image: it is a handle of your own. The
 * decoded image behind it lives until the cache has evicted it and its last
 * handle is closed. On a GPU, what is left of the bound keeps copies of the
 * images there.
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
  readonly #openImage: (path: string) => Promise<Pyramid>;
  readonly #opening = new Map<string, SharedImage>();
  readonly #images: LRUCache<string, SharedImage>;
  readonly #copies: EngineCopies<SharedImage>;
  readonly #warnings = new Map<string, readonly string[]>();

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
    this.#openImage = open;
    this.#images = new LRUCache({
      maxSize: Math.max(1, maxBytes), // 0 would be no bound; a pixel is 4 bytes
      dispose: (shared) => {
        this.#copies.drop(shared);
        release(shared);
      },
    });
    this.#copies = new EngineCopies(maxBytes);
  }

  /** Bytes of the images kept. */
  get bytes(): number {
    return this.#images.calculatedSize;
  }

  /** Bytes of their copies on a GPU. */
  get engineBytes(): number {
    return this.#copies.bytes;
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
    const shared = this.#images.get(path) ?? this.#opening.get(path) ??
      this.#start(path);
    shared.users++;
    try {
      const image = await withSignal(shared.image, signal);
      return new Handle(image, {
        release: () => release(shared),
        onEngine: (signal) => this.#copyOf(shared, image, signal),
      });
    } catch (error) {
      release(shared);
      throw error;
    }
  }

  /** Evicts every image; open handles stay valid until closed. */
  close(): void {
    this.#opening.clear();
    this.#images.clear();
  }

  /** The copy of an image on the engine, if it is one that is kept. */
  async #copyOf(
    shared: SharedImage,
    image: Pyramid,
    signal?: AbortSignal,
  ): Promise<tf.Tensor2D | undefined> {
    const room = () =>
      this.#images.peek(shared.path) === shared ? this.#room : 0;
    return await this.#copies.copyOf(shared, image, room, signal);
  }

  /** Bytes that are left for copies. */
  get #room(): number {
    return this.#images.maxSize - this.bytes;
  }

  #start(path: string): SharedImage {
    const shared = { path, image: this.#openImage(path), users: 1 };
    this.#opening.set(path, shared);
    shared.image.then(
      (image) => this.#keep(path, shared, image),
      () => this.#isOpening(path, shared) && this.#opening.delete(path),
    );
    return shared;
  }

  #isOpening(path: string, shared: SharedImage): boolean {
    return this.#opening.get(path) === shared;
  }

  /** Moves a newly opened image into the bound, if it fits. */
  #keep(path: string, shared: SharedImage, image: Pyramid): void {
    const { width, height, warnings } = image;
    if (warnings.length > 0) this.#warnings.set(path, warnings);
    const size = width * height * 4;
    const isOpen = this.#isOpening(path, shared);
    if (isOpen) this.#opening.delete(path); // else closed in between
    if (isOpen && size <= this.#images.maxSize) {
      this.#images.set(path, shared, { size });
      this.#copies.trim(this.#room);
    } else {
      release(shared);
    }
  }
}

/** Counts a user less, and closes the image after the last. */
function release(shared: SharedImage): void {
  if (--shared.users > 0) return;
  // A failed image has nothing to close, and its waiters have the error.
  shared.image.then((image) => image.close(), () => {});
}

/** One user's view of a shared image. */
class Handle extends WrappedPyramid implements KeptPyramid {
  readonly #release: () => void;
  readonly #onEngine: KeptPyramid["onEngine"];
  #closed = false;

  constructor(
    image: Pyramid,
    { release, onEngine }: {
      release: () => void;
      onEngine: KeptPyramid["onEngine"];
    },
  ) {
    super(image);
    this.#release = release;
    this.#onEngine = onEngine;
  }

  override async read(
    region: Region,
    level: number,
    signal?: AbortSignal,
  ): Promise<Pixels> {
    this.#assertOpen();
    return await super.read(region, level, signal);
  }

  async onEngine(signal?: AbortSignal): Promise<tf.Tensor2D | undefined> {
    this.#assertOpen();
    return await this.#onEngine(signal);
  }

  #assertOpen(): void {
    if (!this.#closed) return;
    throw new TypeError(`Cannot read ${this.source}: it was closed`);
  }

  override close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#release();
  }
}
