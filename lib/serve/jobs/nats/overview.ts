/**
 * What a process knows of all jobs, kept up to date by the bucket's changes: a
 * bucket has no index to list or count by.
 *
 * @module
 */
import type { KvEntry, KvWatchEntry } from "@nats-io/kv";
import {
  JOB_KINDS,
  JOB_STATES,
  type JobKind,
  type JobSelection,
  type JobState,
} from "../store.ts";
import { inTime, type Nats, patiently } from "./connection.ts";
import type { JobRecord } from "./record.ts";

/** What lists and counts need of a job. */
interface Known {
  id: string;
  kind: JobKind;
  state: JobState;
  owner: string | null;
  order: number;
  finishedAt: string | null;
  /** Of the bucket, when it was so. */
  revision: number;
}

/** Keys of records begin with this. */
export const JOB_KEYS = "job.";
// A key below the same, which is written to know when its change arrives.
const MARK_KEY = `${JOB_KEYS}-`;
// Marks of removed jobs stay so long, for processes that are behind.
const KEEP_REMOVED_MS = 10 * 60_000;

/** A summary of each job. */
export class Overview {
  readonly #nats: Nats;
  readonly #jobs = new Map<string, Known>();
  /** Counted as they change: every accepted job asks. */
  readonly #counts = Object.fromEntries(
    JOB_STATES.map((state) => [state, 0]),
  ) as Record<JobState, number>;
  readonly #waiting = Object.fromEntries(
    JOB_KINDS.map((kind) => [kind, 0]),
  ) as Record<JobKind, number>;
  readonly #removed = new Map<string, { at: number; revision: number }>();
  readonly #stop = new AbortController();
  readonly #marked = Promise.withResolvers<void>();
  #ready: Promise<void> | undefined;

  constructor(nats: Nats) {
    this.#nats = nats;
  }

  /** Waits until it is complete; it follows all changes from the first call on. */
  ready(): Promise<void> {
    return this.#ready ??= patiently(() => this.#start()).catch((error) => {
      this.#ready = undefined; // the next call tries again
      throw error;
    });
  }

  /** Number of jobs by state. */
  counts(): Record<JobState, number> {
    return { ...this.#counts };
  }

  /** Number of jobs that wait, by kind. */
  waiting(): Record<JobKind, number> {
    return { ...this.#waiting };
  }

  /** Ids of jobs, the latest first. */
  list({ state, owner, before, limit }: JobSelection): string[] {
    const end = before === undefined
      ? Infinity
      : this.#jobs.get(before)?.order ?? -Infinity;
    return [...this.#jobs.values()]
      .filter((job) =>
        job.order < end && (state === undefined || job.state === state) &&
        (owner === undefined || job.owner === owner)
      )
      .sort((a, b) => b.order - a.order)
      .slice(0, limit)
      .map(({ id }) => id);
  }

  /** Ids of jobs that ended before `date`. */
  endedBefore(date: Date): string[] {
    const time = date.toISOString();
    return [...this.#jobs.values()]
      .filter(({ finishedAt }) => finishedAt !== null && finishedAt < time)
      .map(({ id }) => id);
  }

  /** Notes a record that this process wrote, before its change arrives. */
  note(record: JobRecord, revision: number): void {
    const { id, kind, state, owner, order, finishedAt } = record;
    const removed = this.#removed.get(id);
    const last = Math.max(
      this.#jobs.get(id)?.revision ?? 0,
      removed?.revision ?? 0,
    );
    if (revision < last) return;
    this.#forget(id);
    const known = { id, kind, state, owner, order, finishedAt, revision };
    this.#count(known, 1);
    this.#jobs.set(id, known);
  }

  /** Notes that a job was removed. */
  noteRemoved(id: string, revision: number): void {
    this.#forget(id);
    this.#removed.set(id, { at: performance.now(), revision });
  }

  /** Ids of jobs whose marks of removal are old. */
  removedLongAgo(): string[] {
    const before = performance.now() - KEEP_REMOVED_MS;
    const old = [...this.#removed].filter(([, { at }]) => at < before);
    for (const [id] of old) this.#removed.delete(id);
    return old.map(([id]) => id);
  }

  close(): void {
    this.#stop.abort();
  }

  #forget(id: string): void {
    const known = this.#jobs.get(id);
    if (known === undefined) return;
    this.#count(known, -1);
    this.#jobs.delete(id);
  }

  #count({ kind, state }: Known, change: 1 | -1): void {
    this.#counts[state] += change;
    // A newer program may have kinds that this one does not know.
    const isCounted = state === "queued" && kind in this.#waiting;
    if (isCounted) this.#waiting[kind] += change;
  }

  async #start(): Promise<void> {
    const { records } = this.#nats;
    await records.put(MARK_KEY, "");
    const changes = await records.watch({ key: `${JOB_KEYS}>` });
    this.#stop.signal.addEventListener("abort", () => changes.stop());
    this.#follow(changes).catch(() => {}); // closed
    try {
      await inTime(this.#marked.promise);
    } catch (error) {
      changes.stop();
      throw error;
    }
  }

  async #follow(changes: AsyncIterable<KvWatchEntry>): Promise<void> {
    for await (const entry of changes) this.#take(entry);
  }

  #take(entry: KvEntry): void {
    if (entry.key === MARK_KEY) return this.#marked.resolve();
    const id = entry.key.slice(JOB_KEYS.length);
    if (entry.operation === "PUT") this.note(entry.json(), entry.revision);
    else this.noteRemoved(id, entry.revision);
  }
}
