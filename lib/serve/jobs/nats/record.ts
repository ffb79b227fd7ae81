/**
 * A job as the key-value bucket holds it, and its transitions. They decide
 * nothing by clocks: hosts' clocks differ.
 *
 * @module
 */
import { currentTrace } from "../../tracing.ts";
import {
  isSuspect,
  type Job,
  type JobEnd,
  type JobProgress,
  type NewJob,
} from "../store.ts";

/** Value of a job's key. */
export interface JobRecord extends Omit<Job, "losses" | "trace"> {
  /** Earlier programs wrote none. */
  trace?: string | null;
  /** Losses of holders that had no other work, without progress since. */
  setbacks: number;
  /** Losses of holders that had other work, without progress since. */
  suspicions: number;
  /** The holder has no other work. */
  isAlone: boolean;
  isCancelAsked: boolean;
  /** Place in the order of acceptance. */
  order: number;
  /** Number of the message of the queue that hands the job out. */
  ticket: number;
  /** Keys that point at the job: of its idempotency key, and of its model. */
  pointers: readonly string[];
  /** Marks the last write, so that its writer knows it if no answer came. */
  write: string;
}

// After so many losses alone and without progress the job itself is blamed.
const MAX_SETBACKS = 10;

/** The record of a job that was just accepted. */
export function newRecord(
  { id, kind, owner, request }: NewJob,
  place: { ticket: number; pointers: readonly string[] },
): JobRecord {
  return {
    id,
    kind,
    state: "queued",
    owner: owner ?? null,
    request,
    trace: currentTrace(),
    progress: null,
    attempts: 0,
    error: null,
    createdAt: timestamp(),
    startedAt: null,
    finishedAt: null,
    setbacks: 0,
    suspicions: 0,
    isAlone: false,
    isCancelAsked: false,
    order: place.ticket,
    ...place,
    write: "",
  };
}

/** The job of a record. */
export function jobOf(record: JobRecord): Job {
  const { id, kind, state, owner, request, trace = null } = record;
  const { progress, attempts, setbacks, suspicions, error } = record;
  const { createdAt, startedAt, finishedAt } = record;
  return {
    id,
    kind,
    state,
    owner,
    request,
    trace,
    progress,
    attempts,
    losses: setbacks + suspicions,
    error,
    createdAt,
    startedAt,
    finishedAt,
  };
}

/** True for a job that waits or runs. */
export function isLive({ state }: Pick<JobRecord, "state">): boolean {
  return state === "queued" || state === "running";
}

/** True if the claim that `job` came from is the last one. */
export function isHeldBy(
  record: JobRecord,
  { attempts }: Pick<Job, "attempts">,
): boolean {
  return record.state === "running" && record.attempts === attempts;
}

/**
 * The record after a claim with the message `ticket`, or ended because nobody
 * may claim it again. A running job is lost when its message comes again.
 */
export function claimed(record: JobRecord, ticket: number): JobRecord {
  const isLost = record.state === "running";
  const counted = isLost ? withLoss(record) : record;
  if (counted.isCancelAsked) return ended(counted, { state: "cancelled" });
  if (counted.setbacks >= MAX_SETBACKS) {
    return ended(counted, {
      state: "failed",
      error:
        `The job crashed the server or its engine ${MAX_SETBACKS} times without progress; see the server log`,
    });
  }
  return {
    ...counted,
    state: "running",
    attempts: counted.attempts + 1,
    isAlone: false,
    startedAt: counted.startedAt ?? timestamp(),
    ticket,
  };
}

function withLoss(record: JobRecord): JobRecord {
  const { isAlone, setbacks, suspicions } = record;
  return isAlone
    ? { ...record, setbacks: setbacks + 1 }
    : { ...record, suspicions: suspicions + 1 };
}

/** True if the job, once claimed, must run alone. */
export function mustBeAlone(record: JobRecord): boolean {
  return isSuspect(jobOf(record));
}

/** The record after a holder gave the job back. */
export function released(record: JobRecord, setback: boolean): JobRecord {
  const counted = setback
    ? withLoss(record)
    : { ...record, setbacks: 0, suspicions: 0 };
  return { ...counted, state: "queued" };
}

/** The record with progress, which takes back the losses. */
export function progressed(
  record: JobRecord,
  progress: JobProgress,
): JobRecord {
  return { ...record, progress, setbacks: 0, suspicions: 0 };
}

/** The record after its end. */
export function ended(
  record: JobRecord,
  { state, error }: JobEnd,
): JobRecord {
  return {
    ...record,
    state,
    error: error ?? null,
    isCancelAsked: false,
    finishedAt: timestamp(),
  };
}

/** The record of an ended job that is queued again. */
export function resumed(
  record: JobRecord,
  ticket: number,
): JobRecord {
  return {
    ...record,
    state: "queued",
    error: null,
    finishedAt: null,
    isCancelAsked: false,
    setbacks: 0,
    suspicions: 0,
    ticket,
  };
}

function timestamp(): string {
  return new Date().toISOString();
}
