/**
 * Runs jobs in lanes, so that an image does not wait for a table of images, nor
 * either of them for a training run.
 *
 * @module
 */
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import {
  EngineError,
  isOfContent,
  NamedError,
  TrainingError,
} from "../../errors.ts";
import { EngineStoppedError, NotReadyError, RefusalError } from "../errors.ts";
import { storageFault } from "../intake/disk.ts";
import { hasImage, removeImage } from "./files.ts";
import type { Isolation } from "./isolation.ts";
import { NO_PRIORITY, type Priority } from "./priority.ts";
import { jobFolderName, type SharedFolders } from "./shared_folders.ts";
import {
  type Job,
  JOB_KINDS,
  type JobEnd,
  type JobKind,
  type JobProgress,
  type JobStore,
} from "./store.ts";
import type { Log } from "../logging.ts";
import type { Messages } from "../redaction.ts";
import { failSpan, inSpanOfJob } from "../tracing.ts";

/** The surroundings of a running job. */
export interface JobContext {
  job: Job;
  /** The job's own folder, as an earlier attempt left it. */
  folder: string;
  /** Reports progress. */
  report(progress: JobProgress): void;
  /**
   * Fails if another holder has taken the job over: call it before any step
   * that must not happen twice.
   */
  assertHeld(): Promise<void>;
  /** Aborts when the job must stop, at its next step; saved work stays. */
  signal: AbortSignal;
}

/** Runs one kind of job; the result is what it writes to the folder. */
export type JobWork = (context: JobContext) => Promise<void>;

/** Options of {@linkcode JobRunner}. */
export interface JobRunnerOptions {
  store: JobStore;
  /** Parent of the jobs' folders. */
  folder: string;
  /** Where other hosts find them. */
  shared: SharedFolders;
  /** Jobs of other kinds are left to other processes. */
  works: Partial<Record<JobKind, JobWork>>;
  /** Jobs of a kind at a time, where it is not the usual number. */
  lanes?: Partial<Record<JobKind, number>>;
  /**
   * True for a job whose work is that of other jobs: it needs no engine, and
   * what crashes the process is not its doing. None if omitted.
   */
  isCoordinator?: (job: Job) => boolean;
  isolation: Isolation;
  /** True while a job of a kind can be done. */
  isReady: (kind: JobKind) => boolean;
  /** Which jobs are better left to other processes; none if omitted. */
  priority?: Priority | undefined;
  /** Called for every job that ends here. */
  onEnd: (kind: JobKind, state: JobEnd["state"]) => void;
  messages: Messages;
  log: Log;
  /** Interval of the heartbeats that keep a job's lease, ms. */
  beatMs: number;
}

/**
 * Jobs of a kind at a time: they wait only for each other. Images have several
 * lanes, because the server of one may be slow.
 */
const LANES: Record<JobKind, number> = {
  train: 1,
  batch: 1,
  fold: 1,
  cell: 1,
  classify: 4,
};

// Interval of looking for jobs that another process has accepted or lost.
const POLL_MS = 500;
// Interval of keeping the folder of a running job for other hosts.
const KEEP_EVERY_MS = 10_000;

/** Reason to stop a job. */
class StopError extends Error {
  override name = "StopError";

  constructor(readonly reason: "cancel" | "lost" | "drain") {
    super(`Stopped: ${reason}`);
  }
}

/** A job that runs in this process. */
interface Running {
  kind: JobKind;
  controller: AbortController;
  beat(): Promise<void>;
}

/** Keeps the folder of a running job at intervals, once all of it is here. */
interface Keeper {
  start(): void;
  /** Keeps it now. @throws {StopError} If another holder has kept its own. */
  keep(): Promise<void>;
  stop(): void;
}

/** Runs the jobs of a store until it is drained. */
export class JobRunner {
  readonly #options: JobRunnerOptions;
  readonly #running = new Map<string, Running>();
  readonly #wake = new EventTarget();
  readonly #stop = new AbortController();
  #lanes: Promise<void>[] = [];
  #isDrained = false;

  constructor(options: JobRunnerOptions) {
    this.#options = options;
  }

  start(): void {
    const { works, lanes = {}, store, log } = this.#options;
    store.onCancel?.((id) => {
      this.cancelled(id).catch((error) =>
        log("error", "beat", { error: error.message })
      );
    });
    this.#lanes = JOB_KINDS.flatMap((kind) => {
      const work = works[kind];
      const count = work ? lanes[kind] ?? LANES[kind] : 0;
      return Array.from({ length: count }, () => this.#runLane(kind, work!));
    });
  }

  /** Folder of a job. */
  folderOf(id: string): string {
    return join(this.#options.folder, id);
  }

  /** Number of jobs that may run at a time. */
  get lanes(): number {
    return this.#lanes.length;
  }

  /** The jobs that run in this process. */
  get running(): { id: string; kind: JobKind }[] {
    return [...this.#running].map(([id, { kind }]) => ({ id, kind }));
  }

  /** True while a job runs in this process, which has its latest files. */
  isRunning(id: string): boolean {
    return this.#running.has(id);
  }

  /** Starts an accepted job now instead of at the next look. */
  wake(): void {
    this.#wake.dispatchEvent(new Event("job"));
  }

  /** Stops a cancelled job now instead of at the next heartbeat. */
  async cancelled(id: string): Promise<void> {
    await this.#running.get(id)?.beat();
  }

  /** Ends: stops all jobs at their next step and returns them to the store. */
  async drain(): Promise<void> {
    this.#stop.abort();
    this.#returnJobs();
    this.wake();
    await Promise.all(this.#lanes);
  }

  /** Returns all jobs and claims none, until it is set back. */
  setDrained(isDrained: boolean): void {
    this.#isDrained = isDrained;
    if (isDrained) this.#returnJobs();
    this.wake();
  }

  get #isHalted(): boolean {
    return this.#isDrained || this.#stop.signal.aborted;
  }

  #returnJobs(): void {
    for (const { controller } of this.#running.values()) {
      controller.abort(new StopError("drain"));
    }
  }

  async #runLane(kind: JobKind, work: JobWork): Promise<void> {
    const { priority = NO_PRIORITY, log } = this.#options;
    let failing = "";
    while (!this.#stop.signal.aborted) {
      try {
        const job = await this.#claim(kind);
        if (job) await inSpanOfJob(job, () => this.#run(job, work));
        else await this.#idle();
        failing = "";
      } catch (error) { // the store failed: it may recover
        const { message } = error as Error;
        if (message !== failing) log("error", "jobs", { error: message });
        failing = message; // told once
        await this.#idle();
      }
    }
    priority.wait(kind, false);
  }

  /** The next job of a kind, unless it is another process' turn. */
  async #claim(kind: JobKind): Promise<Job | undefined> {
    const { store, isReady, priority = NO_PRIORITY } = this.#options;
    const isWaiting = isReady(kind) && !this.#isHalted;
    priority.wait(kind, isWaiting);
    if (!isWaiting || await priority.yields(kind)) return undefined;
    const job = await store.claim([kind]);
    if (job) priority.wait(kind, false);
    return job;
  }

  /** Waits until a job is accepted, or for one interval. */
  async #idle(): Promise<void> {
    const woken = new AbortController();
    const wake = () => woken.abort();
    this.#wake.addEventListener("job", wake);
    await pause(POLL_MS, undefined, { signal: woken.signal }).catch(() => {});
    this.#wake.removeEventListener("job", wake);
  }

  async #run(job: Job, work: JobWork): Promise<void> {
    const { store, isolation, shared, log, beatMs } = this.#options;
    const { isCoordinator } = this.#options;
    const controller = new AbortController();
    const folder = this.folderOf(job.id);
    let progress: JobProgress | undefined;
    const beat = async () => {
      const noted = progress;
      progress = undefined;
      const hold = await store.beat(job, noted);
      if (hold !== "held") controller.abort(new StopError(hold));
    };
    this.#running.set(job.id, { kind: job.kind, controller, beat });
    // It was claimed while the process was told to claim none.
    if (this.#isHalted) controller.abort(new StopError("drain"));
    const timer = setInterval(() => {
      beat().catch((error) => log("error", "beat", { error: error.message }));
    }, beatMs);
    log("info", "job started", { job: job.id, kind: job.kind });
    const keeper = this.#keeper(job, controller);
    try {
      controller.signal.throwIfAborted();
      await Deno.mkdir(folder, { recursive: true });
      await shared.fetch(jobFolderName(job.id), folder);
      keeper.start();
      using _place = isCoordinator?.(job)
        ? undefined
        : await isolation.enterJob(job, controller.signal);
      await work({
        job,
        folder,
        signal: controller.signal,
        report(latest) {
          progress = latest;
          isolation.clear(job);
        },
        async assertHeld() {
          await beat();
          controller.signal.throwIfAborted();
        },
      });
      if (progress) await beat(); // the final progress
      await keeper.keep();
      await this.#end(job, undefined);
    } catch (caught) {
      const error = controller.signal.aborted
        ? controller.signal.reason
        : caught;
      const isLost = error instanceof StopError && error.reason === "lost";
      if (!isLost) await keeper.keep().catch(() => {}); // told already
      await this.#end(job, error);
    } finally {
      keeper.stop();
      clearInterval(timer);
      this.#running.delete(job.id);
    }
  }

  #keeper(job: Job, controller: AbortController): Keeper {
    const { shared, log } = this.#options;
    let last = Promise.resolve();
    let timer: ReturnType<typeof setInterval> | undefined;
    const keepNow = async () => {
      if (timer === undefined) return; // a part would replace the whole
      const isOurs = await shared.keep(
        jobFolderName(job.id),
        this.folderOf(job.id),
        job.attempts,
      );
      if (isOurs) return;
      controller.abort(new StopError("lost"));
      controller.signal.throwIfAborted();
    };
    const keep = () => last = last.catch(() => {}).then(keepNow);
    const start = () => {
      timer = setInterval(() => {
        keep().catch((error) => log("error", "keep", { error: error.message }));
      }, KEEP_EVERY_MS);
    };
    return { start, keep, stop: () => clearInterval(timer) };
  }

  /** Removes an uploaded image, here and for other hosts. */
  async #removeImage(job: Job): Promise<void> {
    const folder = this.folderOf(job.id);
    if (!await hasImage(folder)) return;
    await removeImage(folder);
    await this.#options.shared.keep(
      jobFolderName(job.id),
      folder,
      job.attempts,
    );
  }

  /**
   * Records how a job ended. Its uploaded image is removed only afterwards,
   * because until then another attempt may need it.
   */
  async #end(job: Job, error: unknown): Promise<void> {
    const { store, messages, log } = this.#options;
    const fields = { job: job.id, kind: job.kind };
    if (error === undefined) {
      const isOurs = await this.#finish(job, { state: "succeeded" });
      if (isOurs) await this.#removeImage(job);
      log("info", "job succeeded", fields);
    } else if (error instanceof StopError) {
      if (error.reason === "cancel") {
        await this.#finish(job, { state: "cancelled" });
      } else if (error.reason === "drain") await store.release(job);
      log("info", "job stopped", { ...fields, reason: error.reason });
    } else if (error instanceof NotReadyError || error instanceof EngineError) {
      // It continues once the engine is back, unless the job is what crashes
      // it.
      const setback = !(error instanceof EngineStoppedError);
      await store.release(job, { setback });
      log("warn", "job waits", { ...fields, error: error.message });
      await this.#idle();
    } else {
      const failure = storageFault(error) ?? error;
      const isNamed = failure instanceof NamedError ||
        failure instanceof RefusalError;
      const told = isNamed ? messages.of(failure) : undefined;
      const isOurs = await this.#finish(job, {
        state: "failed",
        error: told ?? "Internal error; see the server log for this job id",
      });
      // The image will not become readable, and may be gigabytes.
      const isUseless = isOurs && isOfContent(error);
      if (isUseless) await this.#removeImage(job);
      failSpan();
      log("error", "job failed", {
        ...fields,
        error: told ?? (error as Error).stack,
        ...stackOf(error),
      });
    }
  }

  /** Ends a job; false if another holder has it. */
  async #finish(job: Job, end: JobEnd): Promise<boolean> {
    const { store, onEnd } = this.#options;
    const isOurs = await store.finish(job, end);
    if (isOurs) onEnd(job.kind, end.state);
    return isOurs;
  }
}

/** Where the fault behind a told error arose, if nobody foresaw it. */
function stackOf(error: unknown): { stack?: string } {
  const cause = error instanceof TrainingError ? error.cause : undefined;
  const isForeseen = !(cause instanceof Error) || cause instanceof NamedError;
  return isForeseen ? {} : { stack: cause.stack ?? "" };
}
