/**
 * A cross-validation that several hosts do: a piece begins it, and opens every
 * image; then each fold is a piece, which continues on another host from its
 * last checkpoint. The runs of the folds are moved into the folder of the job in
 * the order of the folds.
 *
 * @module
 */
import { dirname, join } from "node:path";
import { exists, moveFolder, writeJson } from "../../files.ts";
import { FOLDS_FILE, readFoldResult } from "../../train/runs/crossval.ts";
import { foldFolder, type FoldTask } from "../../train/runs/fold_task.ts";
import { LOG_FILE } from "../../train/run_log.ts";
import { RESULT_FILE } from "./files.ts";
import {
  endOf,
  handOut,
  type PiecesPlace,
  removePiece,
  watchWhole,
} from "./pieces.ts";
import type { JobContext, JobWork } from "./runner.ts";
import { jobFolderName } from "./shared_folders.ts";
import {
  checkTable,
  DRAWN_FILE,
  foldChoice,
  inWorker,
  isOfFolds,
  RUN_FOLDER,
  tellWarnings,
  type TrainJobRequest,
  type TrainWorkOptions,
} from "./train.ts";

/** Request of a piece. */
interface PieceRequest extends TrainJobRequest {
  /** Id of the cross-validation. */
  whole: string;
  /** Folds to train, one after the other; if omitted, the piece begins it. */
  tasks?: readonly FoldTask[];
}

/** Folds that one host trains. */
interface Piece {
  id: string;
  tasks: readonly FoldTask[];
}

/** Parts of the server that cross-validations of several hosts use. */
export interface CutFoldsOptions extends TrainWorkOptions, PiecesPlace {}

// The folds of each piece, in the folder of the one that begins: written last.
const TURNS_FILE = "turns.json";
// Intervals of looking at the folds, and of bringing their logs.
const LOOK_EVERY_MS = 1000, LOGS_EVERY_MS = 10_000;

/** Hands out the folds of a cross-validation; `train` does other jobs. */
export function cutFoldsWork(
  train: JobWork,
  options: CutFoldsOptions,
): JobWork {
  return async function cutFoldsJob(context) {
    const { job, folder, signal } = context;
    if (!isOfFolds(job)) return await train(context);
    const request = job.request as TrainJobRequest;
    await checkTable(request, { context, options });
    const pieces = await begun(context, options);
    for (const { id, tasks } of await withoutResult(pieces, folder)) {
      signal.throwIfAborted();
      await give(id, tasks, { ...context, ...options });
    }
    await merge(pieces, context, options);
    const result = await inWorker(
      request,
      { context, options },
      (calls, task) => calls.call("endFolds", task, signal),
    );
    tellWarnings(result, context, options);
    await writeJson(join(folder, RESULT_FILE), result);
    for (const { id } of pieces) await removePiece(id, options);
  };
}

/** Begins a cross-validation, or trains folds of it, until that has ended. */
export function foldWork(options: CutFoldsOptions): JobWork {
  return async function foldJob(context) {
    const { folder, signal } = context;
    const { whole, tasks, ...request } = context.job.request as PieceRequest;
    using _watch = await watchWhole(whole, context, options);
    const choice = foldChoice(request)!; // what makes it one of folds
    await inWorker(request, { context, options }, async (calls, task) => {
      const asked = { ...task, choice };
      if (tasks !== undefined) {
        return await calls.call("trainPiece", { ...asked, tasks }, signal);
      }
      const turns = await calls.call("beginFolds", asked, signal);
      await writeJson(join(folder, TURNS_FILE), turns);
    });
  };
}

/** Lets a host begin the cross-validation, if none has; the pieces of it. */
async function begun(
  context: JobContext,
  options: CutFoldsOptions,
): Promise<Piece[]> {
  const { job, folder, signal, assertHeld } = context;
  const { pieces, shared } = options;
  const file = join(folder, TURNS_FILE);
  if (!await exists(file)) {
    const id = `${job.id}-begin`, name = jobFolderName(id);
    await give(id, undefined, { ...context, ...options });
    await endOf(id, { pieces, signal, everyMs: LOOK_EVERY_MS });
    await assertHeld();
    await shared.fetch(name, folder, (file) => file !== TURNS_FILE);
    await shared.fetch(name, folder);
    await removePiece(id, options);
  }
  const turns: FoldTask[][] = JSON.parse(await Deno.readTextFile(file));
  return turns.map((tasks, i) => ({ id: `${job.id}-${i}`, tasks }));
}

/** Hands out a piece with the files that it needs. */
async function give(
  id: string,
  tasks: readonly FoldTask[] | undefined,
  { job, folder, pieces, shared }: JobContext & CutFoldsOptions,
): Promise<void> {
  const needed = join(folder, `.${id}.tmp`);
  for (const file of [DRAWN_FILE, join(RUN_FOLDER, FOLDS_FILE)]) {
    if (!await exists(join(folder, file))) continue;
    await Deno.mkdir(dirname(join(needed, file)), { recursive: true });
    await Deno.copyFile(join(folder, file), join(needed, file));
  }
  // A host that has begun keeps more than this.
  if (await exists(needed)) await shared.keep(jobFolderName(id), needed, 0);
  await Deno.remove(needed, { recursive: true }).catch(() => {}); // no files
  const request: PieceRequest = {
    ...job.request as TrainJobRequest,
    whole: job.id,
    ...(tasks && { tasks }),
  };
  await handOut({ id, kind: "fold", owner: job.owner, request }, pieces);
}

/** Moves the runs of the folds into the folder as they end, in their order. */
async function merge(
  pieces: readonly Piece[],
  context: JobContext,
  options: CutFoldsOptions,
): Promise<void> {
  const { folder, signal, assertHeld } = context;
  const { shared } = options;
  const run = join(folder, RUN_FOLDER);
  const onLook = looker(pieces, { ...context, ...options });
  for (const { id, tasks } of await withoutResult(pieces, folder)) {
    await endOf(id, {
      pieces: options.pieces,
      signal,
      everyMs: LOOK_EVERY_MS,
      onLook,
    });
    const part = join(folder, `.${id}.tmp`);
    await shared.fetch(jobFolderName(id), part, isOfRun);
    await assertHeld();
    for (const task of tasks) {
      const target = foldFolder(run, task);
      await Deno.remove(target, { recursive: true }).catch(() => {}); // no log
      await Deno.mkdir(dirname(target), { recursive: true });
      await moveFolder(foldFolder(join(part, RUN_FOLDER), task), target);
    }
    await Deno.remove(part, { recursive: true });
  }
}

/** The pieces some of whose folds are not in the folder. */
async function withoutResult(
  pieces: readonly Piece[],
  folder: string,
): Promise<Piece[]> {
  const run = join(folder, RUN_FOLDER);
  const left: Piece[] = [];
  for (const piece of pieces) {
    const results = await Promise.all(
      piece.tasks.map((task) => readFoldResult(run, task)),
    );
    if (results.includes(undefined)) left.push(piece);
  }
  return left;
}

/** Tells how far the pieces are, and brings the logs of folds. */
function looker(
  pieces: readonly Piece[],
  { folder, shared, report, ...options }: JobContext & CutFoldsOptions,
): () => Promise<void> {
  const tasks = pieces.flatMap(({ tasks }) => tasks);
  const total = tasks.length;
  const folds = new Set(tasks.map(({ fold }) => fold)).size;
  const isLog = (file: string) => file.endsWith(`/${LOG_FILE}`);
  let brought = performance.now();
  return async function look() {
    const found = await Promise.all(
      pieces.map(({ id }) => options.pieces.get(id)),
    );
    const done = pieces
      .filter((_, i) => found[i]?.state === "succeeded")
      .flatMap(({ tasks }) => tasks).length;
    const { progress } =
      found.find((piece) =>
        piece?.state === "running" && piece.progress !== null
      ) ?? {};
    if (progress) report({ ...progress, folds, done, total });
    const now = performance.now();
    if (now < brought + LOGS_EVERY_MS) return;
    brought = now;
    for (const { id } of pieces) {
      await shared.fetch(jobFolderName(id), folder, isLog);
    }
  };
}

function isOfRun(file: string): boolean {
  return file.startsWith(`${RUN_FOLDER}/`);
}
