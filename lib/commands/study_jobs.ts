/**
 * The runs of a study as jobs, which the hosts of `study work` do.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { DataError, TrainingError } from "../errors.ts";
import { exists, writeJson } from "../files.ts";
import { NotReadyError } from "../serve/errors.ts";
import type { SharedFolders } from "../serve/jobs/shared_folders.ts";
import { jobFolderName } from "../serve/jobs/shared_folders.ts";
import { type NatsPlace, SHARED_LEASE_MS } from "../serve/jobs/nats/place.ts";
import { handOut, removePiece } from "../serve/jobs/pieces.ts";
import type { JobStore } from "../serve/jobs/store.ts";
import type { StudyName } from "../study/studies.ts";
import type { Cell } from "../study/study.ts";
import { CELL_FILE } from "./study_cell.ts";

/** Request of a job: a run, and its images. */
export interface CellRequest {
  cell: Cell;
  /** Folds to run; all if null. */
  folds: readonly number[] | null;
  images: CellImages;
}

/** Images of a run, which each host draws, or has at the same place. */
export interface CellImages {
  study: StudyName;
  quick: boolean;
  /** Path of the study's table; null if its images are drawn. */
  manifest: string | null;
  /** SHA-256 of the table of the run. */
  hash: string;
}

/** Where the jobs of a study are. */
export interface StudyJobs {
  pieces: JobStore;
  shared: SharedFolders;
  close(): Promise<void>;
}

/** @throws {UsageError | DataError} If NATS is not there. */
export async function openStudyJobs(
  place: NatsPlace,
  waitMs: number,
): Promise<StudyJobs> {
  const { openNatsJobs } = await import("../serve/jobs/nats/open.ts");
  const options = {
    ...place,
    leaseMs: SHARED_LEASE_MS,
    queuedJobs: MAX_QUEUED,
    waitMs,
  };
  const { store, pieces, shared } = await openNatsJobs(options, () => false);
  return {
    pieces,
    shared,
    async close() {
      await Promise.all([store.close(), pieces.close()]);
    },
  };
}

/** Options of {@linkcode runByHosts}. */
export interface ByHostsOptions {
  place: NatsPlace;
  /** Folder of the study. */
  folder: string;
  /** What hosts are asked for; undefined if the run is done. */
  requestOf(cell: Cell): Promise<CellRequest | undefined>;
  /** Awaited when the files of a run are in its folder. */
  onDone(cell: Cell): Promise<void>;
  /** Told how many runs are at work and wait. */
  onState(text: string): void;
  signal: AbortSignal;
}

const MAX_QUEUED = 100_000;
const LOOK_EVERY_MS = 1000;
const STUDY_FILE = "jobs.json"; // in the folder of a study: its name in NATS

/**
 * Lets hosts do the runs, and brings their files. Runs that were handed out by a
 * call that was stopped are not done twice.
 *
 * @throws {TrainingError} If a run fails.
 */
export async function runByHosts(
  cells: readonly Cell[],
  options: ByHostsOptions,
): Promise<void> {
  const jobs = await openStudyJobs(options.place, 0);
  const left = new Map<string, Cell>();
  try {
    for (const cell of cells) {
      options.signal.throwIfAborted();
      const request = await options.requestOf(cell);
      if (request === undefined) continue;
      const id = await idOf(request, options.folder);
      left.set(id, cell);
      await handOut({ id, kind: "cell", request }, jobs.pieces);
    }
    while (left.size > 0) {
      options.signal.throwIfAborted();
      await look(left, jobs, options).catch(ignoreAway(options));
      await pause(LOOK_EVERY_MS, undefined, { signal: options.signal })
        .catch(() => {}); // stopped
    }
  } catch (error) {
    await cancelQueued(left, jobs).catch(() => {}); // NATS is away
    throw error instanceof NotReadyError
      ? new DataError(`Cannot hand out runs: ${error.message}`)
      : error;
  } finally {
    await jobs.close();
  }
}

/** Takes the error of a NATS that is away for none: hosts go on meanwhile. */
function ignoreAway(
  { onState }: Pick<ByHostsOptions, "onState">,
): (error: unknown) => void {
  return function ignore(error) {
    if (!(error instanceof NotReadyError)) throw error;
    onState(error.message);
  };
}

/** Brings the files of the runs that are done, and takes them out of `left`. */
async function look(
  left: Map<string, Cell>,
  jobs: StudyJobs,
  { folder, onDone, onState }: ByHostsOptions,
): Promise<void> {
  const counts = { running: 0, queued: 0 };
  for (const [id, cell] of left) {
    const job = await jobs.pieces.get(id);
    switch (job?.state) {
      case "succeeded":
        await collect(id, join(folder, cell.folder), jobs);
        left.delete(id);
        await onDone(cell);
        break;
      case "running":
      case "queued":
        counts[job.state]++;
        break;
      case "cancelled": // by another call for this study
        await jobs.pieces.resume(id);
        break;
      default: {
        const reason = job?.error ?? "its job was removed";
        throw new TrainingError(`${cell.folder} failed: ${reason}`);
      }
    }
  }
  onState(`${counts.running} at work, ${counts.queued} wait for a host`);
}

/** Brings the files of a run; the one that says that it is done comes last. */
async function collect(
  id: string,
  folder: string,
  jobs: StudyJobs,
): Promise<void> {
  const name = jobFolderName(id);
  await jobs.shared.fetch(name, folder, (file) => file !== CELL_FILE);
  await jobs.shared.fetch(name, folder);
  await removePiece(id, jobs);
}

/** Cancels the runs that no host has begun. */
async function cancelQueued(
  left: ReadonlyMap<string, Cell>,
  { pieces }: StudyJobs,
): Promise<void> {
  for (const id of left.keys()) {
    if ((await pieces.get(id))?.state === "queued") await pieces.cancel(id);
  }
}

/** Id of a run of the study in `folder`: the same whenever it is asked for. */
async function idOf(request: CellRequest, folder: string): Promise<string> {
  const file = join(folder, STUDY_FILE);
  if (!await exists(file)) {
    await Deno.mkdir(folder, { recursive: true });
    await writeJson(file, { id: crypto.randomUUID() });
  }
  const { id } = JSON.parse(await Deno.readTextFile(file));
  const hash = createHash("sha256").update(JSON.stringify(request));
  return `${id}-${hash.digest("hex").slice(0, 16)}`;
}
