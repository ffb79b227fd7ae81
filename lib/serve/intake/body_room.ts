/**
 * One bound on the bodies of all requests that are held in memory.
 *
 * @module
 */
import { withSignal } from "../../image/bytes/with_signal.ts";
import { BusyError } from "../errors.ts";

const RETRY_AFTER_SECONDS = 1;

// Kept for small bodies, so that large ones that stall shut nobody out.
const SMALL_SHARE = 1 / 8;

// Longest that room is kept for bytes that have not arrived, and for a sender
// that pauses, ms: then it holds only what it has sent.
const RESERVED_MS = 5000, PAUSE_MS = 500;

/** The bytes of one request that are held; dispose of it once it is answered. */
export interface HeldBody extends Disposable {
  /**
   * Waits for room for all of a body, in the order of arrival.
   *
   * @throws {BusyError} If there is none in time.
   */
  reserve(bytes: number, signal: AbortSignal): Promise<void>;
  /** Counts bytes that arrived. @throws {BusyError} If there is no room. */
  add(bytes: number): void;
}

/** A body that waits for room. */
interface Waiting {
  bytes: number;
  /** Most bytes of all bodies with it. */
  limit: number;
  admit(): void;
}

/** Room for the bodies of all requests. */
export class BodyRoom {
  readonly #limit: number;
  readonly #waitMs: number;
  readonly #waiting: Waiting[] = [];
  #bytes = 0;

  /**
   * @param limit bytes of all bodies together.
   * @param waitMs longest that a body waits for room.
   */
  constructor(limit: number, waitMs: number) {
    this.#limit = limit;
    this.#waitMs = waitMs;
  }

  /** Bytes that are held or reserved now. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Begins a request whose body may be large or not; nothing is held yet. */
  enter({ isLarge }: { isLarge: boolean }): HeldBody {
    const limit = isLarge ? this.#limit * (1 - SMALL_SHARE) : this.#limit;
    let arrived = 0, reserved = 0, held = 0;
    let latest = 0; // arrival of bytes, ms
    let lapse: ReturnType<typeof setTimeout> | undefined;
    const hold = (bytes: number) => {
      this.#bytes += bytes - held;
      held = bytes;
      this.#admit();
    };
    return {
      reserve: async (bytes, signal) => {
        const admit = () => hold(reserved = bytes);
        await this.#wait({ bytes, limit, admit }, signal);
        latest = performance.now();
        const end = latest + RESERVED_MS;
        const look = () => {
          const now = performance.now();
          const until = Math.min(latest + PAUSE_MS, end);
          if (now < until) {
            lapse = setTimeout(look, Math.ceil(until - now));
            return;
          }
          reserved = 0;
          hold(arrived);
        };
        look();
      },
      add: (bytes) => {
        const bytesThen = Math.max(arrived + bytes, reserved);
        if (this.#bytes + bytesThen - held > limit) throw this.#full(limit);
        arrived += bytes;
        latest = performance.now();
        hold(bytesThen);
      },
      [Symbol.dispose]: () => {
        clearTimeout(lapse);
        arrived = reserved = 0;
        hold(0);
      },
    };
  }

  async #wait(body: Waiting, signal: AbortSignal): Promise<void> {
    const admitted = Promise.withResolvers<void>();
    const waiting = {
      ...body,
      admit() {
        body.admit();
        admitted.resolve();
      },
    };
    this.#waiting.push(waiting);
    this.#admit();
    const timer = setTimeout(
      () => admitted.reject(this.#full(body.limit)),
      this.#waitMs,
    );
    try {
      await withSignal(admitted.promise, signal);
    } finally {
      clearTimeout(timer);
      const place = this.#waiting.indexOf(waiting);
      if (place >= 0) {
        this.#waiting.splice(place, 1);
        this.#admit(); // those behind it may be smaller
      }
    }
  }

  /** Lets bodies in as there is room, the first to have come first. */
  #admit(): void {
    for (;;) {
      const [first] = this.#waiting;
      if (!first || this.#bytes + first.bytes > first.limit) return;
      this.#waiting.shift();
      first.admit();
    }
  }

  #full(limit: number): BusyError {
    return new BusyError(
      `The requests that are being answered hold ${this.#bytes} of ${limit} bytes: try again later`,
      RETRY_AFTER_SECONDS,
    );
  }
}
