/**
 * Jobs in NATS: any number of processes on any number of machines share it.
 *
 * The record of a job in the key-value bucket is the truth, and only a write
 * that names the last revision changes it. A message of the queue says that
 * there is something to do, and its holder's lease is the time in which NATS
 * awaits an answer to it; so no decision needs the clock of a host. A message
 * is sent before the record that it is about, and one that does not fit its
 * record is dropped or waits: whenever a process dies, the job is done.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { BusyError, ConflictError, NotReadyError } from "../../errors.ts";
import type {
  Hold,
  Idempotency,
  Job,
  JobEnd,
  JobKind,
  JobProgress,
  JobSelection,
  JobState,
  JobStore,
  NewJob,
} from "../store.ts";
import {
  ignoreWrongRevision,
  isWrongRevision,
  type Nats,
  type NatsOptions,
  openNats,
  patiently,
} from "./connection.ts";
import { Holds } from "./holds.ts";
import { JOB_KEYS, Overview } from "./overview.ts";
import { JobQueue, type Ticket } from "./queue.ts";
import {
  claimed,
  ended,
  isHeldBy,
  isLive,
  jobOf,
  type JobRecord,
  mustBeAlone,
  newRecord,
  progressed,
  released,
  resumed,
} from "./record.ts";

/** Options of {@linkcode NatsJobStore}. */
export interface NatsJobStoreOptions extends NatsOptions {
  /** Most jobs that may wait. */
  queuedJobs: number;
  /** Longest that a claim waits for a job, ms. */
  waitMs: number;
}

const RETRY_AFTER_SECONDS = 10;
// A record follows its message; after so many looks the sender has died.
const LOOKS = 10, LOOK_EVERY_MS = 10;
const MAX_EARLY_DELIVERIES = 60;
// A key whose job is not there: its sender may be about to write it.
const SENDER_MS = 2000;
const LATER_MS = 1000;
const CANCEL_TOPIC = "cancel";

/** A job store in NATS. */
export class NatsJobStore implements JobStore {
  readonly #nats: Nats;
  readonly #options: NatsJobStoreOptions;
  readonly #queue: JobQueue;
  readonly #overview: Overview;
  readonly #holds: Holds;

  private constructor(nats: Nats, options: NatsJobStoreOptions) {
    this.#nats = nats;
    this.#options = options;
    this.#queue = new JobQueue(nats);
    this.#overview = new Overview(nats);
    this.#holds = new Holds(options.leaseMs);
  }

  /** @throws {UsageError | DataError} See {@linkcode openNats}. */
  static async open(options: NatsJobStoreOptions): Promise<NatsJobStore> {
    return new NatsJobStore(await openNats(options), options);
  }

  /** The connection, for the files of jobs. */
  get nats(): Nats {
    return this.#nats;
  }

  async add(job: NewJob): Promise<{ job: Job; isNew: boolean }> {
    const { id, idempotency, model } = job;
    const pointers: string[] = [];
    try {
      if (idempotency) {
        const known = await this.#reserveKey(idempotency, id);
        if (known) return { job: known, isNew: false };
        pointers.push(keyOf(idempotency));
      }
      if (model) {
        await this.#reserveModel(model.name, id);
        pointers.push(modelKeyOf(model.name));
        if (model.isTaken()) throw nameTaken(model.name, "another model");
      }
      await this.#assertRoom();
      const ticket = await this.#queue.push(job.kind, id);
      const record = newRecord(job, { ticket, pointers });
      if (await this.#write(record, 0)) {
        return { job: jobOf(record), isNew: true };
      }
      const known = await this.get(id); // its sender heard no answer
      if (known === undefined) throw new Error(`The job ${id} was removed`);
      return { job: known, isNew: false };
    } catch (error) {
      // Without an answer it may be written, and the keys point at it.
      const isKnown = !(error instanceof NotReadyError);
      for (const key of isKnown ? pointers : []) {
        await this.#freePointer(key, id);
      }
      throw error;
    }
  }

  async get(id: string): Promise<Job | undefined> {
    const found = await this.#read(id);
    return found && jobOf(found.record);
  }

  async find(idempotency: Idempotency): Promise<Job | undefined> {
    const known = await this.#pointer(keyOf(idempotency));
    if (known === undefined) return undefined;
    assertSameRequest(known, idempotency);
    return await this.get(known.id);
  }

  async list(selection: JobSelection): Promise<Job[]> {
    await this.#overview.ready();
    const jobs = await Promise.all(
      this.#overview.list(selection).map((id) => this.get(id)),
    );
    return jobs.filter((job) => job !== undefined);
  }

  async counts(): Promise<Record<JobState, number>> {
    await this.#overview.ready();
    return this.#overview.counts();
  }

  async waiting(): Promise<Record<JobKind, number>> {
    await this.#overview.ready();
    return this.#overview.waiting();
  }

  /** As in the interface; a suspect is alone in this process, not in all. */
  async claim(kinds: readonly JobKind[]): Promise<Job | undefined> {
    const waitMs = Math.ceil(this.#options.waitMs / kinds.length);
    for (const kind of kinds) {
      if (this.#holds.isClosed) return undefined;
      const ticket = await this.#queue.pull(kind, waitMs);
      const job = ticket && await this.#take(kind, ticket);
      if (job) return job;
    }
    return undefined;
  }

  async noteAlone(job: Job, isAlone: boolean): Promise<void> {
    await this.#change(
      job.id,
      (record) =>
        isHeldBy(record, job) && record.isAlone !== isAlone
          ? { ...record, isAlone }
          : undefined,
    );
  }

  async beat(job: Job, progress?: JobProgress): Promise<Hold> {
    const found = progress === undefined
      ? await this.#read(job.id)
      : await this.#change(job.id, (record) =>
        isHeldBy(record, job) ? progressed(record, progress) : undefined);
    const ticket = this.#holds.renew(job);
    if (found === undefined || !isHeldBy(found.record, job)) {
      this.#holds.end(job);
      return "lost";
    }
    if (ticket) this.#queue.extend(ticket);
    return found.record.isCancelAsked ? "cancel" : "held";
  }

  async finish(job: Job, end: JobEnd): Promise<boolean> {
    const found = await this.#change(
      job.id,
      (record) => isHeldBy(record, job) ? ended(record, end) : undefined,
    );
    const ticket = this.#holds.end(job);
    if (!found?.isOurs) return false;
    if (ticket) this.#queue.done(ticket);
    await this.#freeModel(found.record);
    return true;
  }

  async release(
    job: Job,
    { setback } = { setback: false },
  ): Promise<void> {
    const found = await this.#change(
      job.id,
      (record) => isHeldBy(record, job) ? released(record, setback) : undefined,
    );
    const ticket = this.#holds.end(job);
    if (found?.isOurs && ticket) await this.#queue.giveBack(ticket);
  }

  async cancel(id: string): Promise<Job | undefined> {
    const found = await this.#change(id, (record) => {
      if (record.state === "queued") {
        return ended(record, { state: "cancelled" });
      }
      return record.state === "running" && !record.isCancelAsked
        ? { ...record, isCancelAsked: true }
        : undefined;
    });
    if (found === undefined) return undefined;
    const { record } = found;
    if (found.isOurs && !isLive(record)) {
      await this.#queue.drop(record.kind, id);
      await this.#freeModel(record);
    }
    if (record.state === "running") await this.#tellHolder(id);
    return jobOf(record);
  }

  onCancel(listener: (id: string) => void): void {
    const { connection, names } = this.#nats;
    connection.subscribe(names.noticesOf(CANCEL_TOPIC), {
      callback: (_, message) => listener(message.string()),
    });
  }

  async resume(id: string): Promise<Job | undefined> {
    const before = await this.#read(id);
    if (before === undefined || !canResume(before.record)) return undefined;
    const { kind, request } = before.record;
    const model = modelOf(before.record);
    if (model !== undefined) {
      await this.#reserveModel((request as { name: string }).name, id);
    }
    const ticket = await this.#queue.push(kind, id);
    const found = await this.#change(
      id,
      (record) => canResume(record) ? resumed(record, ticket) : undefined,
    );
    return found?.isOurs ? jobOf(found.record) : undefined;
  }

  async remove(id: string): Promise<boolean> {
    const found = await this.#read(id);
    if (found === undefined || isLive(found.record)) return false;
    try {
      await patiently(() =>
        this.#nats.records.delete(keyOfJob(id), {
          previousSeq: found.revision,
        })
      );
    } catch (error) {
      ignoreWrongRevision(error); // it was resumed, or removed
      return false;
    }
    this.#overview.noteRemoved(id, found.revision + 1);
    for (const key of found.record.pointers) await this.#freePointer(key, id);
    return true;
  }

  async prune(date: Date): Promise<string[]> {
    await this.#overview.ready();
    const removed: string[] = [];
    for (const id of this.#overview.endedBefore(date)) {
      if (await this.remove(id)) removed.push(id);
    }
    for (const id of this.#overview.removedLongAgo()) {
      await patiently(() => this.#nats.records.purge(keyOfJob(id)));
    }
    return removed;
  }

  async close(): Promise<void> {
    this.#overview.close();
    await this.#nats.connection.close();
  }

  /** Claims the job that a message is about, if that is to be done here. */
  async #take(kind: JobKind, ticket: Ticket): Promise<Job | undefined> {
    for (let look = 0;; look++) {
      const found = await this.#read(ticket.id);
      const fit = fitOf(found?.record, ticket);
      if (fit === "stale") return void this.#queue.done(ticket);
      if (fit === "early" && look < LOOKS) {
        await pause(LOOK_EVERY_MS);
        continue;
      }
      if (fit === "early") return await this.#later(ticket);
      const before = found!;
      const next = claimed(before.record, ticket.number);
      const isRun = next.state === "running";
      const hold = { ticket, attempts: next.attempts };
      const isAlone = mustBeAlone(next);
      if (isRun && !this.#holds.begin(ticket.id, hold, isAlone)) {
        return void await this.#queue.giveBack(ticket, LATER_MS);
      }
      const written = await this.#write(next, before.revision)
        .catch((error) => {
          this.#holds.end({ id: ticket.id, attempts: next.attempts });
          throw error;
        });
      if (written) {
        if (isRun) return jobOf(written);
        this.#queue.done(ticket);
        await this.#freeModel(written);
        return await this.claim([kind]); // the next one
      }
      this.#holds.end({ id: ticket.id, attempts: next.attempts });
    }
  }

  async #tellHolder(id: string): Promise<void> {
    const { connection, names } = this.#nats;
    connection.publish(names.noticesOf(CANCEL_TOPIC), id);
    await connection.flush().catch(() => {}); // its next heartbeat tells it
  }

  /** Gives back the message of a record that is not written yet. */
  async #later(ticket: Ticket): Promise<undefined> {
    if (ticket.deliveries > MAX_EARLY_DELIVERIES) this.#queue.done(ticket);
    else await this.#queue.giveBack(ticket, LATER_MS);
  }

  /** @throws {BusyError} */
  async #assertRoom(): Promise<void> {
    const { queuedJobs } = this.#options;
    const { queued } = await this.counts();
    if (queued < queuedJobs) return;
    throw new BusyError(
      `The queue is full (${queuedJobs} jobs wait): try again later`,
      RETRY_AFTER_SECONDS,
    );
  }

  /** Points a key at a new job; returns the job that it points at already. */
  async #reserveKey(
    idempotency: Idempotency,
    id: string,
  ): Promise<Job | undefined> {
    const pointer = { id, digest: idempotency.digest };
    const known = await this.#point(keyOf(idempotency), pointer, () => true);
    if (known === undefined) return undefined;
    assertSameRequest(known.pointer, idempotency);
    return jobOf(known.record);
  }

  /** Points a model's name at a job. @throws {ConflictError} */
  async #reserveModel(name: string, id: string): Promise<void> {
    const known = await this.#point(modelKeyOf(name), { id }, isLive);
    if (known) throw nameTaken(name, "a job that trains it");
  }

  /**
   * Points a key at a job, unless it points at one that `counts`, which is
   * returned.
   */
  async #point(
    key: string,
    pointer: Pointer,
    counts: (record: JobRecord) => boolean,
  ): Promise<{ pointer: Pointer; record: JobRecord } | undefined> {
    const { records } = this.#nats;
    const value = JSON.stringify(pointer);
    for (;;) {
      const entry = await patiently(() => records.get(key));
      const known: Pointer | undefined = entry?.operation === "PUT"
        ? entry.json()
        : undefined;
      if (known?.id === pointer.id) return undefined;
      const record = known && await this.#settled(known.id);
      if (known && record && counts(record)) return { pointer: known, record };
      try {
        await patiently(() =>
          records.put(key, value, { previousSeq: entry?.revision ?? 0 })
        );
        return undefined;
      } catch (error) {
        ignoreWrongRevision(error); // another job was first
      }
    }
  }

  /** A job's record, if its sender writes one in time. */
  async #settled(id: string): Promise<JobRecord | undefined> {
    const until = performance.now() + SENDER_MS;
    for (;;) {
      const found = await this.#read(id);
      if (found) return found.record;
      if (performance.now() > until) return undefined;
      await pause(LOOK_EVERY_MS);
    }
  }

  async #pointer(key: string): Promise<Pointer | undefined> {
    const entry = await patiently(() => this.#nats.records.get(key));
    return entry?.operation === "PUT" ? entry.json() : undefined;
  }

  /** Removes a key that points at a job. */
  async #freePointer(key: string, id: string): Promise<void> {
    const { records } = this.#nats;
    const entry = await patiently(() => records.get(key));
    if (entry?.operation !== "PUT" || entry.json<Pointer>().id !== id) return;
    await patiently(() => records.delete(key, { previousSeq: entry.revision }))
      .catch(ignoreWrongRevision); // it points at another now
  }

  /** Lets other jobs train the model of one that has ended. */
  async #freeModel(record: JobRecord): Promise<void> {
    const key = modelOf(record);
    if (key !== undefined) await this.#freePointer(key, record.id);
  }

  async #read(
    id: string,
  ): Promise<{ record: JobRecord; revision: number } | undefined> {
    const entry = await patiently(() => this.#nats.records.get(keyOfJob(id)));
    if (entry?.operation !== "PUT") return undefined;
    return { record: entry.json(), revision: entry.revision };
  }

  /**
   * Changes a record; `isOurs` if `change` returned one, and else the record is
   * as it was.
   */
  async #change(
    id: string,
    change: (record: JobRecord) => JobRecord | undefined,
  ): Promise<{ record: JobRecord; isOurs: boolean } | undefined> {
    for (;;) {
      const found = await this.#read(id);
      if (found === undefined) return undefined;
      const { record, revision } = found;
      const next = change(record);
      if (next === undefined) return { record, isOurs: false };
      const written = await this.#write(next, revision);
      if (written) return { record: written, isOurs: true };
    }
  }

  /** Writes a record over a revision; undefined if that is not the last. */
  async #write(
    record: JobRecord,
    revision: number,
  ): Promise<JobRecord | undefined> {
    const marked = { ...record, write: crypto.randomUUID() };
    const key = keyOfJob(record.id);
    let last;
    try {
      last = await patiently(() =>
        this.#nats.records.put(key, JSON.stringify(marked), {
          previousSeq: revision,
        })
      );
    } catch (error) {
      if (!isWrongRevision(error)) throw error;
      // The first try may have been written, and only its answer lost.
      const found = await this.#read(record.id);
      if (found?.record.write !== marked.write) return undefined;
      last = found.revision;
    }
    this.#overview.note(marked, last);
    return marked;
  }
}

/** Value of a key that points at a job. */
interface Pointer {
  id: string;
  /** Hash of the request of an idempotency key. */
  digest?: string;
}

/**
 * How a message and a record fit: `early`: the record that the message is about
 * is not written yet; `stale`: it was followed by another, or has ended.
 */
function fitOf(
  record: JobRecord | undefined,
  { number }: Ticket,
): "fits" | "early" | "stale" {
  if (record === undefined) return "early";
  if (number < record.ticket) return "stale";
  if (number === record.ticket) return isLive(record) ? "fits" : "stale";
  return record.state === "queued" ? "fits" : "early";
}

function canResume({ state }: JobRecord): boolean {
  return state === "failed" || state === "cancelled";
}

function keyOfJob(id: string): string {
  return `${JOB_KEYS}${id}`;
}

const MODEL_KEYS = "model.";

function keyOf({ key }: Idempotency): string {
  return `key.${hashOf(key)}`;
}

function modelKeyOf(name: string): string {
  return `${MODEL_KEYS}${hashOf(name)}`;
}

function modelOf({ pointers }: JobRecord): string | undefined {
  return pointers.find((key) => key.startsWith(MODEL_KEYS));
}

function hashOf(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/** @throws {ConflictError} */
function assertSameRequest(known: Pointer, { digest }: Idempotency): void {
  if (known.digest === digest) return;
  throw new ConflictError(
    "This Idempotency-Key was used for another request: send a new key",
  );
}

function nameTaken(name: string, by: string): ConflictError {
  return new ConflictError(
    `The model name "${name}" is taken by ${by}: choose another name`,
  );
}
