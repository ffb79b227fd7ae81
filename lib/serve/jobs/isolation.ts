/**
 * Keeps account of the work beside each job, because a crash may be the fault of
 * either: images are decoded by native code, which ends the whole process.
 *
 * A job that was there at several crashes is a suspect. It runs alone at first:
 * callers wait meanwhile, so that the next crash is its own, or it is cleared by
 * its progress. Callers who come later are let in, and noted.
 *
 * @module
 */
import { setTimeout as pause } from "node:timers/promises";
import { withSignal } from "../../image/bytes/with_signal.ts";
import { NotReadyError } from "../errors.ts";
import { isSuspect, type Job, type JobStore, SUSPECT_LOSSES } from "./store.ts";

/** Options of {@linkcode Isolation}. */
export interface IsolationOptions {
  store: Pick<JobStore, "noteAlone">;
  /** Number of classifications that the engines compute, for anybody. */
  busy: () => number;
  /**
   * Longest that a suspect keeps callers out, ms; twice as long after each
   * further loss.
   */
  aloneMs: number;
}

/** A job that runs in this process. */
interface Resident {
  job: Job;
  isAlone: boolean;
}

/** A time in which callers wait. */
interface Closure {
  job: Job;
  /** When it ends at the latest, by performance.now(). */
  until: number;
  ended: PromiseWithResolvers<void>;
}

// The longest closure: as long as an image of a job may take.
const MAX_CLOSED_MS = 15 * 60_000;
// Callers wait for so long; with more to wait they are told to come again.
const PATIENCE_MS = 10_000;
const LOOK_EVERY_MS = 20;

/** The work of this process, and what of it runs beside which. */
export class Isolation {
  readonly #options: IsolationOptions;
  readonly #residents = new Set<Resident>();
  #callers = 0;
  #closure: Closure | undefined;

  constructor(options: IsolationOptions) {
    this.#options = options;
  }

  /**
   * Begins the work of a caller; dispose of it when it has ended.
   *
   * @throws {NotReadyError} If a suspect will long keep callers out.
   */
  async enterCaller(signal: AbortSignal): Promise<Disposable> {
    for (let closure; (closure = this.#closure);) {
      const { notReady } = this;
      if (notReady !== undefined) throw new NotReadyError(notReady);
      await withSignal(closure.ended.promise, signal);
    }
    this.#callers++;
    try {
      await this.#noteCompany();
    } catch (error) {
      this.#callers--;
      throw error;
    }
    return { [Symbol.dispose]: () => void this.#callers-- };
  }

  /** Begins the work of a claimed job, a suspect's once all other has ended. */
  async enterJob(job: Job, signal: AbortSignal): Promise<Disposable> {
    const timer = isSuspect(job) ? await this.#close(job, signal) : undefined;
    const resident = { job, isAlone: this.#isEmpty };
    this.#residents.add(resident);
    const leave = () => {
      clearTimeout(timer);
      this.#open(job);
      this.#residents.delete(resident);
    };
    try {
      if (resident.isAlone) await this.#options.store.noteAlone(job, true);
      else await this.#noteCompany();
    } catch (error) {
      leave();
      throw error;
    }
    return { [Symbol.dispose]: leave };
  }

  /** Lets callers in, because a job has made progress. */
  clear(job: Job): void {
    this.#open(job);
  }

  /** Reason why callers are told to come again; undefined if they are let in. */
  get notReady(): string | undefined {
    const ms = (this.#closure?.until ?? 0) - performance.now();
    if (ms <= PATIENCE_MS) return undefined;
    return `A job that may have crashed the server runs alone: try again in ${
      Math.ceil(ms / 1000)
    } s`;
  }

  get #isEmpty(): boolean {
    return this.#callers === 0 && this.#residents.size === 0 &&
      this.#options.busy() === 0;
  }

  /** Keeps callers out for a time that begins once nothing else runs. */
  async #close(
    job: Job,
    signal: AbortSignal,
  ): Promise<ReturnType<typeof setTimeout>> {
    const further = job.losses - SUSPECT_LOSSES;
    const ms = Math.min(this.#options.aloneMs * 2 ** further, MAX_CLOSED_MS);
    const closure = {
      job,
      until: performance.now() + ms,
      ended: Promise.withResolvers<void>(),
    };
    this.#closure?.ended.resolve(); // of a job that was lost meanwhile
    this.#closure = closure;
    try {
      while (!this.#isEmpty) {
        await pause(LOOK_EVERY_MS);
        signal.throwIfAborted();
      }
    } catch (error) {
      this.#open(job);
      throw error;
    }
    closure.until = performance.now() + ms;
    return setTimeout(() => this.#open(job), ms);
  }

  #open(job: Job): void {
    if (this.#closure?.job !== job) return;
    this.#closure.ended.resolve();
    this.#closure = undefined;
  }

  /** Notes that no job is alone, before the other work begins. */
  async #noteCompany(): Promise<void> {
    for (const resident of this.#residents) {
      if (!resident.isAlone) continue;
      resident.isAlone = false;
      await this.#options.store.noteAlone(resident.job, false);
    }
  }
}
