/**
 * One bound on the memory of pictures that are decoded whole, for all Workers
 * of a process together: each would keep to its own bound while their sum does
 * not.
 *
 * @module
 */
import { setTimeout as pause } from "node:timers/promises";

/**
 * Counters that Workers share, KiB: all that is taken, then what each Worker
 * has taken.
 */
export type RoomCounters = Int32Array<SharedArrayBuffer>;

/** A part of the room; dispose of it once the picture is closed. */
export interface TakenRoom extends Disposable {
  /** Gives back all but `bytes`. */
  shrink(bytes: number): void;
}

const KIB = 1024;
// Interval of looking for room that another Worker has given back.
const LOOK_EVERY_MS = 5;

/** Counters for up to `workers` Workers, which hold nothing yet. */
export function roomCounters(workers: number): RoomCounters {
  return new Int32Array(
    new SharedArrayBuffer((1 + workers) * Int32Array.BYTES_PER_ELEMENT),
  );
}

/** Gives back what a Worker that has ended held. */
export function abandonRoom(counters: RoomCounters, worker: number): void {
  Atomics.sub(counters, 0, Atomics.exchange(counters, 1 + worker, 0));
}

/**
 * The room as one Worker sees it.
 *
 * @internal
 */
export class DecodingRoom {
  readonly #counters: RoomCounters;
  readonly #worker: number;
  readonly #limit: number; // KiB
  /** Settles when all who asked this Worker before have their room. */
  #last: Promise<unknown> = Promise.resolve();

  /**
   * @param options.bytes the bound of all Workers together.
   * @param options.worker the Worker's number, from 0.
   */
  constructor({ counters, worker, bytes }: {
    counters: RoomCounters;
    worker: number;
    bytes: number;
  }) {
    this.#counters = counters;
    this.#worker = worker;
    this.#limit = Math.floor(bytes / KIB);
  }

  /**
   * Waits for room for `bytes`. A picture that needs more than the bound waits
   * until it is alone.
   *
   * @throws The reason of `signal`.
   */
  async take(bytes: number, signal?: AbortSignal): Promise<TakenRoom> {
    let held = Math.min(Math.ceil(bytes / KIB), this.#limit);
    const turn = this.#last.then(() => this.#wait(held, signal));
    this.#last = turn.catch(() => {}); // the caller handles it
    await turn;
    const keep = (kib: number) => {
      if (kib < held) this.#add(kib - held);
      held = Math.min(held, kib);
    };
    return {
      shrink: (bytes) => keep(Math.ceil(bytes / KIB)),
      [Symbol.dispose]: () => keep(0),
    };
  }

  async #wait(kib: number, signal?: AbortSignal): Promise<void> {
    for (;;) {
      signal?.throwIfAborted();
      const taken = Atomics.load(this.#counters, 0);
      if (taken + kib > this.#limit) {
        await pause(LOOK_EVERY_MS);
      } else if (
        Atomics.compareExchange(this.#counters, 0, taken, taken + kib) === taken
      ) {
        Atomics.add(this.#counters, 1 + this.#worker, kib);
        return;
      }
    }
  }

  #add(kib: number): void {
    Atomics.add(this.#counters, 1 + this.#worker, kib);
    Atomics.add(this.#counters, 0, kib);
  }
}
