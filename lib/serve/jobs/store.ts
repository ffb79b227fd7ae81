/**
 * Jobs and who works on them. A job that was accepted is done, once, whatever
 * ends: whoever claims it holds a lease, and keeps it by heartbeats; when they
 * stop, the job is claimed again, and the former holder can change it no more.
 *
 * @module
 */

/** What a job does. */
export type JobKind = "train" | "classify" | "batch";

/** Where a job stands; the last three are ends. */
export const JOB_STATES = [
  "queued",
  "running",
  "succeeded",
  "failed",
  "cancelled",
] as const;

export type JobState = (typeof JOB_STATES)[number];

/** Figures of a job under way, by name. */
export type JobProgress = Record<string, number>;

/** A job. */
export interface Job {
  id: string;
  kind: JobKind;
  state: JobState;
  /** What was asked for, as JSON. */
  request: unknown;
  progress: JobProgress | null;
  /** How often it was claimed; the number is the holder's lease, too. */
  attempts: number;
  /** Why it failed. */
  error: string | null;
  createdAt: string;
  startedAt: string | null;
  finishedAt: string | null;
}

/** A job to be accepted. */
export interface NewJob {
  id: string;
  kind: JobKind;
  request: unknown;
  idempotency?: Idempotency | undefined;
  /** What a job that trains makes. */
  model?: NewModel | undefined;
}

/** A model to be made: no other may have its name, nor be about to. */
export interface NewModel {
  /** As the job's request has it. */
  name: string;
  /** Whether there is one: asked while no other job is accepted or ends. */
  isTaken(): boolean;
}

/** The caller's own name for a job: a second one of that name is the first. */
export interface Idempotency {
  key: string;
  /** Hash of the request: one key is one request. */
  digest: string;
}

/** Whether a holder still holds a job: it may have been asked to stop. */
export type Hold = "held" | "cancel" | "lost";

/** How a job ended. */
export interface JobEnd {
  state: "succeeded" | "failed" | "cancelled";
  error?: string;
}

/** Where jobs are kept. All calls are atomic and safe across processes. */
export interface JobStore {
  /**
   * Accepts a job; on return it is on disk.
   *
   * @throws {ConflictError} If its key was used for another request, or the
   *   name of its model is taken.
   * @throws {BusyError} If too many wait.
   */
  add(job: NewJob): Promise<{ job: Job; isNew: boolean }>;
  get(id: string): Promise<Job | undefined>;
  /**
   * The job of a key.
   *
   * @throws {ConflictError} If it was used for another request.
   */
  find(idempotency: Idempotency): Promise<Job | undefined>;
  /** The latest ones first. */
  list(options: { state?: JobState | undefined; limit: number }): Promise<
    Job[]
  >;
  counts(): Promise<Record<JobState, number>>;
  /** Takes the oldest job that waits, or whose holder is gone. */
  claim(kinds: readonly JobKind[]): Promise<Job | undefined>;
  /** Keeps a claimed job, and notes how far it is. */
  beat(job: Job, progress?: JobProgress): Promise<Hold>;
  /** Ends a claimed job; false if it was lost. */
  finish(job: Job, end: JobEnd): Promise<boolean>;
  /**
   * Gives a claimed job back, to be claimed again: not for ever where each
   * attempt ends in a setback.
   */
  release(job: Job, options?: { setback: boolean }): Promise<void>;
  /** Ends a job that waits, and asks the holder of one that runs to stop. */
  cancel(id: string): Promise<Job | undefined>;
  /**
   * Queues a job that failed or was cancelled; undefined if it did not.
   *
   * @throws {ConflictError} If another job trains a model of its name.
   */
  resume(id: string): Promise<Job | undefined>;
  /** Forgets jobs that ended before `date`, and returns their ids. */
  prune(date: Date): Promise<string[]>;
  close(): void;
}
