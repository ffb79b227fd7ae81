/**
 * This process among those that share jobs: it tells the others of itself at
 * intervals, and takes no jobs while its host is drained.
 *
 * @module
 */
import { setTimeout as pause } from "node:timers/promises";
import type { Log } from "../logging.ts";
import type { JobRunner } from "./runner.ts";
import type { JobEnd } from "./store.ts";
import type { Workers, WorkerStatus } from "./workers.ts";

/** What a process knows of itself beside its jobs. */
export type About = Pick<
  WorkerStatus,
  "version" | "engine" | "hasGpu" | "memoryBytes" | "kinds"
>;

/** Options of {@linkcode Presence}. */
export interface PresenceOptions {
  workers: Workers;
  /** Name of this host. */
  host: string;
  runners: readonly Pick<JobRunner, "lanes" | "running" | "setDrained">[];
  about: () => About;
  log: Log;
}

// A process that was silent for three times as long is gone.
const TELL_EVERY_MS = 5000;
// Span of the mean of images a second.
const MEAN_MS = 60_000;

/** Tells the others of this process. */
export class Presence {
  readonly #options: PresenceOptions;
  readonly #startedAt = new Date().toISOString();
  readonly #ended = { succeeded: 0, failed: 0, cancelled: 0 };
  #images = 0;
  /** Numbers of images at the last tellings, the oldest first. */
  #counts: { at: number; images: number }[] = [
    { at: performance.now(), images: 0 },
  ];
  readonly #stop = new AbortController();
  #woken = new AbortController();
  #telling = Promise.resolve();
  #isDrained = false;
  #failing = "";

  constructor(options: PresenceOptions) {
    this.#options = options;
  }

  /**
   * Learns if its host is drained: call it before a runner takes a job.
   *
   * @throws {NotReadyError} If NATS is away.
   */
  async learn(): Promise<void> {
    const { workers, host, runners, log } = this.#options;
    const isDrained = await workers.isDrained(host);
    if (isDrained === this.#isDrained) return;
    this.#isDrained = isDrained;
    for (const runner of runners) runner.setDrained(isDrained);
    log("info", isDrained ? "drained" : "undrained", { host });
  }

  /** Tells the others of itself from now on, and learns when it is drained. */
  start(): void {
    const { workers, host } = this.#options;
    workers.onDrain((name) => {
      if (name === host) this.#woken.abort();
    });
    this.#telling = this.#tellOn();
  }

  noteEnd(state: JobEnd["state"]): void {
    this.#ended[state]++;
  }

  noteImage(): void {
    this.#images++;
  }

  /** Tells nothing more. */
  stop(): void {
    this.#stop.abort();
  }

  /** Tells the others that this process ends. */
  async leave(): Promise<void> {
    this.stop();
    await this.#telling;
    await this.#options.workers.leave().catch(() => {}); // it is gone soon
  }

  async #tellOn(): Promise<void> {
    const { workers } = this.#options;
    for (;;) {
      await this.#tried(() => workers.tell(this.#status()));
      await this.#pause();
      if (this.#stop.signal.aborted) return;
      await this.#tried(() => this.learn());
    }
  }

  /** Tries what fails while NATS is away, and logs a failure once. */
  async #tried(work: () => Promise<void>): Promise<void> {
    try {
      await work();
      this.#failing = "";
    } catch (error) {
      const { message } = error as Error;
      const isNew = message !== this.#failing;
      if (isNew) this.#options.log("error", "workers", { error: message });
      this.#failing = message;
    }
  }

  /** Waits until it is time to tell again. */
  async #pause(): Promise<void> {
    const signal = AbortSignal.any([this.#stop.signal, this.#woken.signal]);
    await pause(TELL_EVERY_MS, undefined, { signal }).catch(() => {});
    if (this.#woken.signal.aborted) this.#woken = new AbortController();
  }

  #status(): WorkerStatus {
    const { host, runners, about } = this.#options;
    return {
      host,
      pid: Deno.pid,
      ...about(),
      lanes: runners.reduce((sum, { lanes }) => sum + lanes, 0),
      running: runners.flatMap(({ running }) => running),
      isDrained: this.#isDrained,
      ended: { ...this.#ended },
      images: this.#images,
      imagesPerSecond: this.#imagesPerSecond(),
      startedAt: this.#startedAt,
    };
  }

  #imagesPerSecond(): number {
    const now = { at: performance.now(), images: this.#images };
    this.#counts = this.#counts.filter(({ at }) => now.at - at < MEAN_MS);
    const first = this.#counts[0] ?? now;
    this.#counts.push(now);
    const seconds = (now.at - first.at) / 1000;
    return seconds === 0 ? 0 : (now.images - first.images) / seconds;
  }
}
