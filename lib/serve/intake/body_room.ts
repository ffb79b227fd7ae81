/**
 * One bound on the bodies of all requests that are held in memory.
 *
 * @module
 */
import { BusyError } from "../errors.ts";

const RETRY_AFTER_SECONDS = 1;

// Kept for small bodies, so that large ones that stall shut nobody out.
const SMALL_SHARE = 1 / 8;

/** The bytes of one request that are held; dispose of it once it is answered. */
export interface HeldBody extends Disposable {
  /** Counts bytes that arrived. @throws {BusyError} If there is no room. */
  add(bytes: number): void;
}

/** Room for the bodies of all requests. */
export class BodyRoom {
  readonly #limit: number;
  #bytes = 0;

  /** @param limit bytes of all bodies together. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Bytes that are held now. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Begins a request whose body may be large or not; nothing is held yet. */
  enter({ isLarge }: { isLarge: boolean }): HeldBody {
    const limit = isLarge ? this.#limit * (1 - SMALL_SHARE) : this.#limit;
    let held = 0;
    return {
      add: (bytes) => {
        if (this.#bytes + bytes > limit) {
          throw new BusyError(
            `The requests that are being answered hold ${this.#bytes} of ${limit} bytes: try again later`,
            RETRY_AFTER_SECONDS,
          );
        }
        held += bytes;
        this.#bytes += bytes;
      },
      [Symbol.dispose]: () => {
        this.#bytes -= held;
        held = 0;
      },
    };
  }
}
