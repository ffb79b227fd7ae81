/**
 * Images that are being looked at stay open between their tiles.
 *
 * @module
 */
import { LRUCache } from "lru-cache";
import { withSignal } from "../../image/bytes/with_signal.ts";
import { type IdentifiedImage, openIdentified } from "../../image/open.ts";
import type { OpenOptions } from "../../image/whole.ts";
import type { SeenImage } from "./protocol.ts";

/** An open image, and those who use it. */
interface Shared {
  opened: Promise<IdentifiedImage>;
  /** The cache, and tiles that are being cut. */
  users: number;
}

/** An image in use; dispose of it when done. */
export interface UsedImage extends IdentifiedImage, Disposable {}

// An image that nobody looks at any more is closed: its file may be removed, and
// one behind a URL be another by then.
const IDLE_MS = 5 * 60_000;
const PURGE_EVERY_MS = 60_000;
const MAX_OPEN = 32;
const BYTES_PER_PIXEL = 4;
// Of an image that is read in blocks: its directories.
const OPEN_BYTES = 2 ** 20;

/** Open images, within bounds on their number and on what they hold decoded. */
export class OpenImages implements Disposable {
  readonly #purging: ReturnType<typeof setInterval>;
  readonly #options: OpenOptions;
  readonly #images: LRUCache<string, Shared>;

  /** @param heldBytes bytes of pictures that are held decoded. */
  constructor(heldBytes: number, options: OpenOptions) {
    this.#options = options;
    this.#images = new LRUCache({
      max: MAX_OPEN,
      maxSize: heldBytes,
      ttl: IDLE_MS,
      updateAgeOnGet: true,
      dispose: release,
    });
    this.#purging = setInterval(
      () => this.#images.purgeStale(),
      PURGE_EVERY_MS,
    );
  }

  /** Closes what nobody uses; the rest with its last user. */
  [Symbol.dispose](): void {
    clearInterval(this.#purging);
    this.#images.clear();
  }

  /**
   * The image, opened unless it is; concurrent calls share one opening, which
   * `signal` does not end.
   *
   * @throws {ImageError} If it cannot be opened; the next call tries again.
   */
  async use(image: SeenImage, signal: AbortSignal): Promise<UsedImage> {
    const key = JSON.stringify([image.path, image.version, image.alone]);
    const shared = this.#images.get(key) ?? this.#open(key, image);
    shared.users++;
    try {
      const opened = await withSignal(shared.opened, signal);
      return { ...opened, [Symbol.dispose]: () => release(shared) };
    } catch (error) {
      release(shared);
      throw error;
    }
  }

  #open(key: string, { path, alone }: SeenImage): Shared {
    const opened = openIdentified(path, { ...this.#options, alone });
    const shared = { opened, users: 1 };
    this.#images.set(key, shared, { size: OPEN_BYTES });
    const isKept = () => this.#images.peek(key) === shared;
    opened.then(
      ({ image }) => {
        if (!isKept() || image.blockCounts) return;
        const bytes = image.width * image.height * BYTES_PER_PIXEL;
        const size = Math.min(bytes, this.#images.maxSize); // then alone
        this.#images.set(key, shared, { size });
      },
      () => isKept() && this.#images.delete(key),
    );
    return shared;
  }
}

/** Counts a user less, and closes the image after the last. */
function release(shared: Shared): void {
  if (--shared.users > 0) return;
  // A failed image has nothing to close, and its waiters have the error.
  shared.opened.then(({ image }) => image.close(), () => {});
}
