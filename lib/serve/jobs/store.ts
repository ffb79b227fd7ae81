/**
 * Jobs and their holders. An accepted job is done exactly once, even if a
 * process dies: a claim gives a lease, which heartbeats renew. When they stop,
 * the job is claimed again, and the former holder can no longer modify it.
 *
 * @module
 */

/** Kinds of jobs that servers do; a `fold` is a piece of a cross-validation. */
export const SERVED_KINDS = ["train", "classify", "batch", "fold"] as const;

/** Kinds of jobs; a `cell` is a run of a study. */
export const JOB_KINDS = [...SERVED_KINDS, "cell"] as const;

export type JobKind = (typeof JOB_KINDS)[number];

/** States of a job; the last three are final. */
export const JOB_STATES = [
  "queued",
  "running",
  "succeeded",
  "failed",
  "cancelled",
] as const;

export type JobState = (typeof JOB_STATES)[number];

/** Progress figures of a running job, by name. */
export type JobProgress = Record<string, number>;

/** A job. */
export interface Job {
  id: string;
  kind: JobKind;
  state: JobState;
  /** Name of the token that made it; null if it had none. */
  owner: string | null;
  /** The request, as JSON. */
  request: unknown;
  progress: JobProgress | null;
  /**
   * The span that accepted it, as a header `traceparent` names it; null if
   * nothing was exported.
   */
  trace: string | null;
  /** Number of claims so far; also the holder's fencing token. */
  attempts: number;
  /**
   * Number of holders in a row that were lost before the job made progress, so
   * that it may be what crashed them.
   */
  losses: number;
  /** Reason of the failure. */
  error: string | null;
  createdAt: string;
  startedAt: string | null;
  finishedAt: string | null;
}

/** From so many losses on a job runs alone; until then another may crash. */
export const SUSPECT_LOSSES = 3;

/** True if a job must run alone: it may be what crashes the process. */
export function isSuspect({ losses }: Pick<Job, "losses">): boolean {
  return losses >= SUSPECT_LOSSES;
}

/** A job to accept. */
export interface NewJob {
  id: string;
  kind: JobKind;
  /** Name of the token that makes it, if it has one. */
  owner?: string | null;
  request: unknown;
  idempotency?: Idempotency | undefined;
  /** The model that a training job creates. */
  model?: NewModel | undefined;
}

/** A model to create: no other model or training job may have its name. */
export interface NewModel {
  /** Name in the job's request. */
  name: string;
  /** True if the model exists; asked while no other job is accepted or ends. */
  isTaken(): boolean;
}

/** The caller's key for a job: a second request of the key is the first job. */
export interface Idempotency {
  key: string;
  /** Hash of the request, because one key is one request. */
  digest: string;
}

/** State of a lease; `cancel`: held, but the holder is asked to stop. */
export type Hold = "held" | "cancel" | "lost";

/** Final state of a job, with its error if it failed. */
export interface JobEnd {
  state: "succeeded" | "failed" | "cancelled";
  error?: string;
}

/** Jobs to list. */
export interface JobSelection {
  state?: JobState | undefined;
  /** Jobs of any owner if omitted. */
  owner?: string | null | undefined;
  /** Only jobs accepted before the job of this id. */
  before?: string | undefined;
  limit: number;
}

/** Storage of jobs. All calls are atomic and safe across processes. */
export interface JobStore {
  /**
   * Accepts a job; it is on disk when the promise resolves.
   *
   * @throws {ConflictError} If its key was used for another request, or the
   *   name of its model is taken.
   * @throws {BusyError} If too many jobs wait.
   */
  add(job: NewJob): Promise<{ job: Job; isNew: boolean }>;
  get(id: string): Promise<Job | undefined>;
  /**
   * Finds the job of a key.
   *
   * @throws {ConflictError} If the key was used for another request.
   */
  find(idempotency: Idempotency): Promise<Job | undefined>;
  /** Jobs, the latest first. */
  list(options: JobSelection): Promise<Job[]>;
  counts(): Promise<Record<JobState, number>>;
  /** Number of jobs that wait, by kind: also those of kinds that are 0. */
  waiting(): Promise<Record<JobKind, number>>;
  /**
   * Claims the oldest job that waits or whose lease has expired; a suspect only
   * while no other job runs, and no other beside it.
   */
  claim(kinds: readonly JobKind[]): Promise<Job | undefined>;
  /**
   * Notes whether a claimed job is the only work of its process. Only then does
   * the loss of the holder count against it.
   */
  noteAlone(job: Job, isAlone: boolean): Promise<void>;
  /** Renews the lease of a claimed job and records its progress. */
  beat(job: Job, progress?: JobProgress): Promise<Hold>;
  /** Ends a claimed job; false if the lease was lost. */
  finish(job: Job, end: JobEnd): Promise<boolean>;
  /**
   * Returns a claimed job to the queue, after a setback if its engine was lost;
   * after too many alone and without progress it fails instead.
   */
  release(job: Job, options?: { setback: boolean }): Promise<void>;
  /** Ends a waiting job; asks the holder of a running one to stop. */
  cancel(id: string): Promise<Job | undefined>;
  /**
   * Calls `listener` with the id of each running job that any process asks to
   * stop, if the store has messages; a heartbeat tells its holder anyway.
   */
  onCancel?(listener: (id: string) => void): void;
  /**
   * Queues a failed or cancelled job again; undefined in any other state.
   *
   * @throws {ConflictError} If another job trains a model of its name.
   */
  resume(id: string): Promise<Job | undefined>;
  /** Deletes a job that has ended; false if it has not. */
  remove(id: string): Promise<boolean>;
  /** Deletes jobs that ended before `date`, and returns their ids. */
  prune(date: Date): Promise<string[]>;
  close(): Promise<void>;
}
