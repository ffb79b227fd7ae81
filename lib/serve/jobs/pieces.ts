/**
 * Pieces of a job that several hosts do together. They are jobs of a store of
 * their own; the holder of the job hands them out and merges their results.
 *
 * @module
 */
import { setTimeout as pause } from "node:timers/promises";
import { ConflictError } from "../errors.ts";
import type { Log } from "../logging.ts";
import type { JobContext } from "./runner.ts";
import { jobFolderName, type SharedFolders } from "./shared_folders.ts";
import type { Job, JobStore, NewJob } from "./store.ts";

/** Where jobs and their pieces are. */
export interface PiecesPlace {
  /** The store of whole jobs. */
  store: Pick<JobStore, "get">;
  /** The store of pieces. */
  pieces: JobStore;
  shared: SharedFolders;
}

// Interval of looking whether the job of a piece has ended.
const WATCH_EVERY_MS = 2000;

/** Queues a piece, unless an earlier holder of the job has. */
export async function handOut(
  piece: Omit<NewJob, "idempotency">,
  pieces: JobStore,
): Promise<void> {
  const isThere = await pieces.get(piece.id) !== undefined ||
    !(await pieces.add(piece)).isNew;
  // Of a job that failed or was cancelled, and was resumed.
  if (isThere) await pieces.resume(piece.id);
}

/**
 * Waits until a piece is done.
 *
 * @param options.everyMs interval of looking at it.
 * @param options.onLook awaited between looks.
 * @throws {ConflictError} If it failed.
 */
export async function endOf(
  id: string,
  { pieces, signal, everyMs, onLook }: {
    pieces: JobStore;
    signal: AbortSignal;
    everyMs: number;
    onLook?: () => Promise<void>;
  },
): Promise<void> {
  for (;;) {
    signal.throwIfAborted();
    const piece = await pieces.get(id);
    if (piece?.state === "succeeded") return;
    // It saw the job's end before the job was resumed.
    if (piece?.state === "cancelled") await pieces.resume(id);
    else if (piece?.finishedAt !== null) throw failureOf(id, piece);
    await onLook?.();
    await pause(everyMs);
  }
}

/**
 * Stops a piece once the whole job has ended: asks for that now, and at
 * intervals.
 */
export async function watchWhole(
  whole: string,
  { job, assertHeld }: Pick<JobContext, "job" | "assertHeld">,
  { store, pieces, log }: Omit<PiecesPlace, "shared"> & { log: Log },
): Promise<Disposable> {
  const look = async () => {
    const found = await store.get(whole);
    // It is resumed with the whole, which a failed piece would fail.
    if (found?.finishedAt !== null) await pieces.cancel(job.id);
  };
  await look();
  await assertHeld();
  const timer = setInterval(() => {
    look().catch(({ message }) => log("error", "piece", { error: message }));
  }, WATCH_EVERY_MS);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

function failureOf(id: string, piece: Job | undefined): ConflictError {
  const reason = piece?.error ?? "it was removed";
  return new ConflictError(`The piece ${id} failed: ${reason}`);
}

/** Removes a piece and its files. */
export async function removePiece(
  id: string,
  { pieces, shared }: Pick<PiecesPlace, "pieces" | "shared">,
): Promise<void> {
  await pieces.remove(id);
  await shared.remove(jobFolderName(id));
}
