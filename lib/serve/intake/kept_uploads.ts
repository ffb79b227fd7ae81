/**
 * Uploads that are kept for a while, so that an image which is looked at and
 * classified again crosses the network once.
 *
 * @module
 */
import { LRUCache } from "lru-cache";
import type { Caller } from "../auth.ts";
import { NotFoundError, TooLargeError } from "../errors.ts";
import type { Upload, Uploads } from "./uploads.ts";

/** Bounds of {@linkcode KeptUploads}. */
export interface KeptLimits {
  /** Most bytes of all kept uploads. */
  keptBytes: number;
  /** Time for which an upload is kept after its last use, ms. */
  keptMs: number;
}

/** An upload, and who may use it. */
interface Kept {
  upload: Upload;
  owner: string | null;
}

const MAX_KEPT = 256;
const PURGE_EVERY_MS = 60_000;

/** Uploads by id; the least recently used are removed for new ones. */
export class KeptUploads {
  readonly #uploads: Pick<Uploads, "remove">;
  readonly #limits: KeptLimits;
  readonly #kept: LRUCache<string, Kept>;
  readonly #purging: ReturnType<typeof setInterval>;

  constructor(uploads: Pick<Uploads, "remove">, limits: KeptLimits) {
    this.#uploads = uploads;
    this.#limits = limits;
    this.#kept = new LRUCache({
      max: MAX_KEPT,
      maxSize: limits.keptBytes,
      ttl: limits.keptMs,
      updateAgeOnGet: true,
      // Whoever has it open reads on.
      dispose: ({ upload }) => void this.#uploads.remove(upload),
    });
    this.#purging = setInterval(
      () => this.#kept.purgeStale(),
      Math.min(PURGE_EVERY_MS, limits.keptMs),
    );
  }

  /** Stops removing what is over its time. */
  close(): void {
    clearInterval(this.#purging);
  }

  /**
   * Keeps an upload, and returns its id, which only its caller may use.
   *
   * @throws {TooLargeError} If it is larger than all that is kept may be; it is
   *   removed then.
   */
  async keep(upload: Upload, { name: owner }: Caller): Promise<string> {
    const { keptBytes } = this.#limits;
    if (upload.bytes > keptBytes) {
      await this.#uploads.remove(upload);
      throw new TooLargeError(
        `The image has more than ${keptBytes} bytes: put it in a folder of data and name it by its path`,
      );
    }
    const id = crypto.randomUUID();
    this.#kept.set(id, { upload, owner }, { size: upload.bytes });
    return id;
  }

  /**
   * The upload `id` of a caller; its time begins anew.
   *
   * @throws {NotFoundError} If it is another's, or kept no more.
   */
  get(id: string, { name }: Caller): Upload {
    const kept = this.#kept.get(id);
    if (kept && kept.owner === name) return kept.upload;
    throw new NotFoundError("The upload is kept no more: send the image again");
  }
}
