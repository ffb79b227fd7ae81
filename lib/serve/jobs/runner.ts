/**
 * Works off jobs in lanes: an image need not wait for a table of images, nor
 * either of them for a run.
 *
 * @module
 */
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { EngineError, isOfContent, NamedError } from "../../errors.ts";
import { NotReadyError, RefusalError } from "../errors.ts";
import { removeImage } from "./files.ts";
import type { Job, JobKind, JobProgress, JobStore } from "./store.ts";
import type { Log } from "../logging.ts";
import type { Messages } from "../redaction.ts";

/** What a job is given to work with. */
export interface JobContext {
  job: Job;
  /** A folder of its own, as it was left by an earlier attempt. */
  folder: string;
  /** Says how far it is. */
  report(progress: JobProgress): void;
  /**
   * Fails if another has taken the job over: to be asked before what must not
   * be done twice.
   */
  assertHeld(): Promise<void>;
  /** Aborts when the job must stop: at its next step, with what it has kept. */
  signal: AbortSignal;
}

/** Does one kind of job; what it leaves in the folder is the result. */
export type JobWork = (context: JobContext) => Promise<void>;

/** How to run jobs. */
export interface JobRunnerOptions {
  store: JobStore;
  /** The jobs' folders lie in it. */
  folder: string;
  works: Record<JobKind, JobWork>;
  /** Whether there is an engine to work with. */
  isReady: () => boolean;
  messages: Messages;
  log: Log;
  /** How often a job's holder says that it is there. */
  beatMs: number;
}

/** Kinds whose jobs wait only for each other. */
const LANES: readonly JobKind[] = ["train", "classify", "batch"];

// How often to look for jobs that another process has accepted or lost.
const POLL_MS = 500;

/** Why a job was stopped. */
class StopError extends Error {
  override name = "StopError";

  constructor(readonly reason: "cancel" | "lost" | "drain") {
    super(`Stopped: ${reason}`);
  }
}

/** A job under way in this process. */
interface Running {
  controller: AbortController;
  beat(): Promise<void>;
}

/** Runs the jobs of a store until it is drained. */
export class JobRunner {
  readonly #options: JobRunnerOptions;
  readonly #running = new Map<string, Running>();
  readonly #wake = new EventTarget();
  readonly #stop = new AbortController();
  #lanes: Promise<void>[] = [];

  constructor(options: JobRunnerOptions) {
    this.#options = options;
  }

  start(): void {
    this.#lanes = LANES.map((kind) => this.#runLane(kind));
  }

  /** Where a job's files are. */
  folderOf(id: string): string {
    return join(this.#options.folder, id);
  }

  /** A job was accepted: it need not wait for the next look. */
  wake(): void {
    this.#wake.dispatchEvent(new Event("job"));
  }

  /** A job was asked to stop: it need not wait for the next beat. */
  async cancelled(id: string): Promise<void> {
    await this.#running.get(id)?.beat();
  }

  /** Stops all jobs at their next step and gives them back to the store. */
  async drain(): Promise<void> {
    this.#stop.abort();
    for (const { controller } of this.#running.values()) {
      controller.abort(new StopError("drain"));
    }
    this.wake();
    await Promise.all(this.#lanes);
  }

  async #runLane(kind: JobKind): Promise<void> {
    const { store, isReady, log } = this.#options;
    while (!this.#stop.signal.aborted) {
      try {
        const job = isReady() ? await store.claim([kind]) : undefined;
        if (job) await this.#run(job);
        else await this.#idle();
      } catch (error) { // the store fails: it may be back later
        log("error", "jobs", { error: (error as Error).message });
        await this.#idle();
      }
    }
  }

  /** Waits for a job to come, or a while. */
  async #idle(): Promise<void> {
    const woken = new AbortController();
    const wake = () => woken.abort();
    this.#wake.addEventListener("job", wake);
    await pause(POLL_MS, undefined, { signal: woken.signal }).catch(() => {});
    this.#wake.removeEventListener("job", wake);
  }

  async #run(job: Job): Promise<void> {
    const { store, works, log, beatMs } = this.#options;
    const controller = new AbortController();
    const folder = this.folderOf(job.id);
    let progress: JobProgress | undefined;
    const beat = async () => {
      const noted = progress;
      progress = undefined;
      const hold = await store.beat(job, noted);
      if (hold !== "held") controller.abort(new StopError(hold));
    };
    this.#running.set(job.id, { controller, beat });
    const timer = setInterval(() => {
      beat().catch((error) => log("error", "beat", { error: error.message }));
    }, beatMs);
    log("info", "job started", { job: job.id, kind: job.kind });
    try {
      await Deno.mkdir(folder, { recursive: true });
      await works[job.kind]({
        job,
        folder,
        signal: controller.signal,
        report: (latest) => progress = latest,
        async assertHeld() {
          await beat();
          controller.signal.throwIfAborted();
        },
      });
      if (progress) await beat(); // the last word
      await this.#end(job, undefined);
    } catch (error) {
      await this.#end(
        job,
        controller.signal.aborted ? controller.signal.reason : error,
      );
    } finally {
      clearInterval(timer);
      this.#running.delete(job.id);
    }
  }

  /**
   * Says how a job ended. Its image goes after that is on disk: until then
   * another attempt may need it.
   */
  async #end(job: Job, error: unknown): Promise<void> {
    const { store, messages, log } = this.#options;
    const fields = { job: job.id, kind: job.kind };
    if (error === undefined) {
      const isOurs = await store.finish(job, { state: "succeeded" });
      if (isOurs) await removeImage(this.folderOf(job.id));
      log("info", "job succeeded", fields);
    } else if (error instanceof StopError) {
      if (error.reason === "cancel") {
        await store.finish(job, { state: "cancelled" });
      } else if (error.reason === "drain") await store.release(job);
      log("info", "job stopped", { ...fields, reason: error.reason });
    } else if (error instanceof NotReadyError || error instanceof EngineError) {
      // It goes on once the engine is back, unless it is what ends the engine.
      await store.release(job, { setback: true });
      log("warn", "job waits", { ...fields, error: error.message });
      await this.#idle();
    } else {
      const isNamed = error instanceof NamedError ||
        error instanceof RefusalError;
      const told = isNamed ? messages.of(error) : undefined;
      const isOurs = await store.finish(job, {
        state: "failed",
        error: told ?? "It failed within; the server's log says how",
      });
      // It will not become readable, and may be gigabytes.
      const isUseless = isOurs && isOfContent(error);
      if (isUseless) await removeImage(this.folderOf(job.id));
      log("error", "job failed", {
        ...fields,
        error: told ?? (error as Error).stack,
      });
    }
  }
}
