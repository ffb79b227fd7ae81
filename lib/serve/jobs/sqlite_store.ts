/**
 * Jobs in a SQLite file: several processes of one machine may share it.
 *
 * @module
 */
import type { DatabaseSync, SQLInputValue } from "node:sqlite";
import { BusyError, ConflictError } from "../errors.ts";
import { currentTrace } from "../tracing.ts";
import { openDatabase } from "./schema.ts";
import {
  type Hold,
  type Idempotency,
  isSuspect,
  type Job,
  JOB_KINDS,
  JOB_STATES,
  type JobEnd,
  type JobKind,
  type JobProgress,
  type JobSelection,
  type JobState,
  type JobStore,
  type NewJob,
  SUSPECT_LOSSES,
} from "./store.ts";

/** Options of {@linkcode SqliteJobStore}. */
export interface SqliteJobStoreOptions {
  /** Lifetime of a lease without a heartbeat, ms. */
  leaseMs: number;
  /** Most jobs that may wait. */
  queuedJobs: number;
}

// After so many losses alone and without progress the job itself is blamed.
const MAX_SETBACKS = 10;
const RETRY_AFTER_SECONDS = 10;

const LOSSES = "setbacks + suspicions";
const CLAIMABLE = `(state = 'queued' OR
  (state = 'running' AND leaseUntil < :now))`;
// The attempt number is the fencing token: only the last claim may write.
const HELD = "id = :id AND state = 'running' AND attempts = :attempts";

type Row = Record<string, string | number | null>;

/** A job store in one file. */
export class SqliteJobStore implements JobStore {
  readonly #database: DatabaseSync;
  readonly #options: SqliteJobStoreOptions;

  /** @throws {DataError} If the file is not a store, or cannot be opened. */
  constructor(path: string, options: SqliteJobStoreOptions) {
    this.#database = openDatabase(path);
    this.#options = options;
  }

  // The methods are async because other stores may be; SQLite is not.

  async add(job: NewJob): Promise<{ job: Job; isNew: boolean }> {
    return await this.#transaction(() => this.#add(job));
  }

  async get(id: string): Promise<Job | undefined> {
    return await this.#jobs("WHERE id = :id", { id })[0];
  }

  async find(idempotency: Idempotency): Promise<Job | undefined> {
    return await this.#find(idempotency);
  }

  async list(
    { state, owner, before, limit }: JobSelection,
  ): Promise<Job[]> {
    return await this.#jobs(
      `WHERE (:state IS NULL OR state = :state)
         AND (:anyone = 1 OR owner IS :owner)
         AND (:before IS NULL OR (createdAt, rowid) <
           (SELECT createdAt, rowid FROM jobs WHERE id = :before))
       ORDER BY createdAt DESC, rowid DESC LIMIT :limit`,
      {
        state: state ?? null,
        anyone: owner === undefined ? 1 : 0,
        owner: owner ?? null,
        before: before ?? null,
        limit,
      },
    );
  }

  async counts(): Promise<Record<JobState, number>> {
    const rows = await this.#all(
      "SELECT state, COUNT(*) AS count FROM jobs GROUP BY state",
    );
    const found = new Map(rows.map(({ state, count }) => [state, count]));
    return Object.fromEntries(
      JOB_STATES.map((state) => [state, found.get(state) ?? 0]),
    ) as Record<JobState, number>;
  }

  async waiting(): Promise<Record<JobKind, number>> {
    const rows = await this.#all(
      `SELECT kind, COUNT(*) AS count FROM jobs WHERE state = 'queued'
       GROUP BY kind`,
    );
    const found = new Map(rows.map(({ kind, count }) => [kind, count]));
    return Object.fromEntries(
      JOB_KINDS.map((kind) => [kind, found.get(kind) ?? 0]),
    ) as Record<JobKind, number>;
  }

  async claim(kinds: readonly JobKind[]): Promise<Job | undefined> {
    return await this.#transaction(() => {
      this.#endLostJobs();
      const most = this.#claimableLosses();
      const [job] = this.#jobs(
        `WHERE ${CLAIMABLE} AND ${LOSSES} + (state = 'running') < :most
           AND kind IN (${kinds.map((kind) => `'${kind}'`).join(", ")})
         ORDER BY createdAt, rowid LIMIT 1`,
        { now: Date.now(), most },
      );
      if (job === undefined) return undefined;
      this.#run(
        `UPDATE jobs SET state = 'running', attempts = attempts + 1,
           setbacks = setbacks + (state = 'running' AND alone = 1),
           suspicions = suspicions + (state = 'running' AND alone = 0),
           alone = 0, leaseUntil = :until,
           startedAt = COALESCE(startedAt, :now)
         WHERE id = :id`,
        { id: job.id, until: this.#leaseEnd(), now: timestamp() },
      );
      return this.#jobs("WHERE id = :id", { id: job.id })[0];
    });
  }

  async noteAlone(job: Job, isAlone: boolean): Promise<void> {
    await this.#unsynced(() =>
      this.#run(`UPDATE jobs SET alone = :isAlone WHERE ${HELD}`, {
        ...lease(job),
        isAlone: Number(isAlone),
      })
    );
  }

  async beat(job: Job, progress?: JobProgress): Promise<Hold> {
    const [row] = await this.#unsynced(() =>
      this.#all(
        `UPDATE jobs SET leaseUntil = :until,
           progress = COALESCE(:progress, progress),
           setbacks = CASE WHEN :progress IS NULL THEN setbacks ELSE 0 END,
           suspicions =
             CASE WHEN :progress IS NULL THEN suspicions ELSE 0 END
         WHERE ${HELD} RETURNING cancelAsked`,
        {
          ...lease(job),
          until: this.#leaseEnd(),
          progress: progress ? JSON.stringify(progress) : null,
        },
      )
    );
    if (row === undefined) return "lost";
    return row.cancelAsked ? "cancel" : "held";
  }

  async finish(job: Job, { state, error }: JobEnd): Promise<boolean> {
    const changes = await this.#run(
      `UPDATE jobs SET state = :state, error = :error, leaseUntil = NULL,
         cancelAsked = 0, finishedAt = :now
       WHERE ${HELD}`,
      { ...lease(job), state, error: error ?? null, now: timestamp() },
    );
    return changes === 1;
  }

  async release(
    job: Job,
    { setback } = { setback: false },
  ): Promise<void> {
    await this.#run(
      `UPDATE jobs SET state = 'queued', leaseUntil = NULL,
         ${
        setback
          ? "setbacks = setbacks + alone, suspicions = suspicions + 1 - alone"
          : "setbacks = 0, suspicions = 0"
      }
       WHERE ${HELD}`,
      lease(job),
    );
  }

  async cancel(id: string): Promise<Job | undefined> {
    return await this.#transaction(() => {
      this.#run(
        `UPDATE jobs SET state = 'cancelled', finishedAt = :now
         WHERE id = :id AND state = 'queued'`,
        { id, now: timestamp() },
      );
      this.#run(
        "UPDATE jobs SET cancelAsked = 1 WHERE id = :id AND state = 'running'",
        { id },
      );
      return this.#jobs("WHERE id = :id", { id })[0];
    });
  }

  async resume(id: string): Promise<Job | undefined> {
    return await this.#transaction(() => {
      const [job] = this.#jobs("WHERE id = :id AND kind = 'train'", { id });
      if (job) this.#assertUntrained(job);
      const changes = this.#run(
        `UPDATE jobs SET state = 'queued', error = NULL, finishedAt = NULL,
           cancelAsked = 0, setbacks = 0, suspicions = 0
         WHERE id = :id AND state IN ('failed', 'cancelled')`,
        { id },
      );
      return changes === 1
        ? this.#jobs("WHERE id = :id", { id })[0]
        : undefined;
    });
  }

  async remove(id: string): Promise<boolean> {
    const rows = await this.#all(
      "DELETE FROM jobs WHERE id = :id AND finishedAt IS NOT NULL RETURNING id",
      { id },
    );
    return rows.length > 0;
  }

  async prune(date: Date): Promise<string[]> {
    const rows = await this.#all(
      "DELETE FROM jobs WHERE finishedAt < :date RETURNING id",
      { date: date.toISOString() },
    );
    return rows.map(({ id }) => String(id));
  }

  async close(): Promise<void> {
    await this.#database.close();
  }

  #add({ id, kind, owner, request, idempotency, model }: NewJob) {
    const known = idempotency && this.#find(idempotency);
    if (known) return { job: known, isNew: false };
    if (model) {
      this.#assertUntrained({ id, request });
      if (model.isTaken()) throw nameTaken(model.name, "another model");
    }
    const [waiting] = this.#all(
      "SELECT COUNT(*) AS count FROM jobs WHERE state = 'queued'",
    );
    if (Number(waiting!.count) >= this.#options.queuedJobs) {
      throw new BusyError(
        `The queue is full (${this.#options.queuedJobs} jobs wait): try again later`,
        RETRY_AFTER_SECONDS,
      );
    }
    this.#run(
      `INSERT INTO jobs (id, kind, owner, state, request, trace,
         idempotencyKey, requestDigest, createdAt)
       VALUES (:id, :kind, :owner, 'queued', :request, :trace, :key, :digest,
         :now)`,
      {
        id,
        kind,
        owner: owner ?? null,
        request: JSON.stringify(request),
        trace: currentTrace(),
        key: idempotency?.key ?? null,
        digest: idempotency?.digest ?? null,
        now: timestamp(),
      },
    );
    return { job: this.#jobs("WHERE id = :id", { id })[0]!, isNew: true };
  }

  #find({ key, digest }: Idempotency): Job | undefined {
    const [known] = this.#all(
      "SELECT id, requestDigest FROM jobs WHERE idempotencyKey = :key",
      { key },
    );
    if (known === undefined) return undefined;
    if (known.requestDigest === digest) {
      return this.#jobs("WHERE id = :id", { id: known.id! })[0];
    }
    throw new ConflictError(
      "This Idempotency-Key was used for another request: send a new key",
    );
  }

  /**
   * Jobs with fewer losses may be claimed now: none beside a job that must run
   * alone, and none that must beside any other.
   */
  #claimableLosses(): number {
    const [running] = this.#all(
      `SELECT MAX(${LOSSES}) AS losses FROM jobs
       WHERE state = 'running' AND leaseUntil >= :now`,
      { now: Date.now() },
    );
    if (running?.losses == null) return Number.MAX_SAFE_INTEGER;
    return isSuspect({ losses: Number(running.losses) }) ? 0 : SUSPECT_LOSSES;
  }

  /** Checks that no other job is training a model of the same name. */
  #assertUntrained({ id, request }: Pick<Job, "id" | "request">): void {
    const { name } = request as { name: string };
    const [other] = this.#all(
      `SELECT id FROM jobs WHERE kind = 'train' AND id <> :id
         AND state IN ('queued', 'running') AND request ->> 'name' = :name`,
      { id, name },
    );
    if (other) throw nameTaken(name, "a job that trains it");
  }

  /** Ends jobs that nobody holds and that must not be claimed again. */
  #endLostJobs(): void {
    this.#run(
      `UPDATE jobs SET finishedAt = :time, leaseUntil = NULL,
         state = CASE WHEN cancelAsked = 1 THEN 'cancelled' ELSE 'failed' END,
         error = CASE WHEN cancelAsked = 1 THEN NULL ELSE :error END
       WHERE ${CLAIMABLE} AND (cancelAsked = 1 OR
         setbacks + (state = 'running' AND alone = 1) >= :most)`,
      {
        time: timestamp(),
        now: Date.now(),
        most: MAX_SETBACKS,
        error:
          `The job crashed the server or its engine ${MAX_SETBACKS} times without progress; see the server log`,
      },
    );
  }

  #leaseEnd(): number {
    return Date.now() + this.#options.leaseMs;
  }

  #jobs(clause: string, values: Record<string, SQLInputValue> = {}): Job[] {
    return this.#all(`SELECT * FROM jobs ${clause}`, values).map(jobOf);
  }

  #all(sql: string, values: Record<string, SQLInputValue> = {}): Row[] {
    return this.#database.prepare(sql).all(values) as Row[];
  }

  /** Returns the number of changed rows. */
  #run(sql: string, values: Record<string, SQLInputValue>): number {
    return Number(this.#database.prepare(sql).run(values).changes);
  }

  /**
   * A write that a power cut may undo: heartbeats must not wait for the disk.
   */
  #unsynced<T>(work: () => T): T {
    this.#database.exec("PRAGMA synchronous = NORMAL");
    try {
      return work();
    } finally {
      this.#database.exec("PRAGMA synchronous = FULL");
    }
  }

  /** Runs `work` as one transaction. */
  // deno-lint-ignore require-await
  async #transaction<T>(work: () => T): Promise<T> {
    this.#database.exec("BEGIN IMMEDIATE");
    try {
      const result = work();
      this.#database.exec("COMMIT");
      return result;
    } catch (error) {
      // SQLite ends the transaction itself if the disk is full.
      if (this.#database.isTransaction) this.#database.exec("ROLLBACK");
      throw error;
    }
  }
}

function nameTaken(name: string, by: string): ConflictError {
  return new ConflictError(
    `The model name "${name}" is taken by ${by}: choose another name`,
  );
}

function lease({ id, attempts }: Job) {
  return { id, attempts };
}

function timestamp(): string {
  return new Date().toISOString();
}

function jobOf(row: Row): Job {
  const { id, kind, owner, state, trace, attempts, error } = row;
  const { createdAt, startedAt, finishedAt } = row;
  const losses = Number(row.setbacks) + Number(row.suspicions);
  return {
    id,
    kind,
    owner,
    state,
    request: JSON.parse(String(row.request)),
    trace,
    progress: row.progress === null ? null : JSON.parse(String(row.progress)),
    attempts,
    losses,
    error,
    createdAt,
    startedAt,
    finishedAt,
  } as Job;
}
