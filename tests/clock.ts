/**
 * Time that passes when a test says so: `Date`, `performance.now` and
 * `setTimeout` of this thread, from the clock's creation to its disposal.
 *
 * @module
 */
import { setTimeout as pause } from "node:timers/promises";

interface Timer {
  at: number; // ms
  run: () => void;
}

// Real turns of the event loop in which the effects of a timer end.
const TURNS = 3;

/** A clock that stands still until it is advanced. */
export class Clock implements Disposable {
  readonly #real = {
    Date: globalThis.Date,
    now: performance.now,
    setTimeout: globalThis.setTimeout,
    clearTimeout: globalThis.clearTimeout,
  };
  readonly #timers = new Map<number, Timer>();
  #now = 0; // ms
  #lastId = 0;

  constructor() {
    const start = Date.now();
    const now = () => start + this.#now;
    globalThis.Date = new Proxy(Date, {
      construct: (date, given) =>
        Reflect.construct(date, given.length > 0 ? given : [now()]),
      get: (date, name) => name === "now" ? now : Reflect.get(date, name),
    });
    performance.now = () => this.#now;
    Object.assign(globalThis, {
      setTimeout: (run: () => void, ms = 0) => {
        this.#timers.set(++this.#lastId, { at: this.#now + ms, run });
        return this.#lastId;
      },
      clearTimeout: (id: number) => void this.#timers.delete(id),
    });
  }

  /** Waits for `ms` of this clock. */
  pause(ms: number): Promise<void> {
    return new Promise((done) => setTimeout(done, ms));
  }

  /** Lets `ms` pass, and everything happen that was due. */
  async pass(ms: number): Promise<void> {
    const until = this.#now + ms;
    for (;;) {
      await settle();
      const [next] = [...this.#timers].filter(([, { at }]) => at <= until)
        .sort(([, a], [, b]) => a.at - b.at);
      if (next === undefined) break;
      const [id, { at, run }] = next;
      this.#timers.delete(id);
      this.#now = Math.max(this.#now, at);
      run();
    }
    this.#now = until;
  }

  [Symbol.dispose](): void {
    globalThis.Date = this.#real.Date;
    performance.now = this.#real.now;
    globalThis.setTimeout = this.#real.setTimeout;
    globalThis.clearTimeout = this.#real.clearTimeout;
  }
}

async function settle(): Promise<void> {
  for (let i = 0; i < TURNS; i++) await pause(0);
}
