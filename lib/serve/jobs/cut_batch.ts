/**
 * A batch that several hosts do: it is cut into pieces, whose results are
 * appended in the order of the table.
 *
 * @module
 */
import { join } from "node:path";
import { inTurns } from "../../data/in_turns.ts";
import { writeJson } from "../../files.ts";
import type { Log } from "../logging.ts";
import type { Tables } from "../tables/tables.ts";
import { append, type BatchJobRequest, linesOf, type Rows } from "./batch.ts";
import { HEATMAP_FOLDER, RESULT_FILE, RESULTS_FILE } from "./files.ts";
import type { JobContext, JobWork } from "./runner.ts";
import {
  endOf,
  handOut,
  type PiecesPlace,
  removePiece,
  watchWhole,
} from "./pieces.ts";
import { jobFolderName } from "./shared_folders.ts";

/** Request of a piece. */
interface PieceRequest extends BatchJobRequest {
  rows: Rows;
  /** Id of the batch. */
  batch: string;
}

/** A piece of a batch: rows from one number to before another. */
interface Piece {
  id: string;
  from: number;
  to: number;
}

/** Parts of the server that batches of several hosts use. */
export interface CutBatchOptions extends PiecesPlace {
  tables: Tables;
}

// Images of a piece: some seconds of work, so that little is lost with a host.
// A large table has larger ones.
const ROWS = 32, MAX_ROWS = 256, MANY_PIECES = 1000;
// The last ones are smaller, so that all hosts end at about the same time: each
// is a part of what is left.
const PARTS_LEFT = 8, MIN_ROWS = 4;
// Intervals of looking whether a piece is done: the last ones are waited for.
const LOOK_EVERY_MS = 1000, LOOK_LAST_EVERY_MS = 100, LAST_PIECES = 8;

/** Hands out the pieces of a batch, and merges their results. */
export function cutBatchWork(options: CutBatchOptions): JobWork {
  return async function cutBatchJob(context) {
    const { job, folder, signal } = context;
    const { manifest } = job.request as BatchJobRequest;
    using table = await options.tables.openBatch(manifest, signal);
    const { length } = table;
    const pieces = piecesOf(job.id, length);
    const file = join(folder, RESULTS_FILE);
    await Deno.mkdir(join(folder, HEATMAP_FOLDER), { recursive: true });
    const { lines } = await linesOf(file);
    const left = pieces.filter(({ to }) => to > lines);
    // A piece that was half appended is appended again.
    const { failures } = await linesOf(file, left[0]?.from ?? length);
    await inTurns(left, async ({ id, from, to }) => {
      signal.throwIfAborted();
      const images = await table.images(from, to - from);
      const request: PieceRequest = {
        ...job.request as BatchJobRequest,
        rows: { from, images },
        batch: job.id,
      };
      const { owner } = job;
      await handOut({ id, kind: "batch", owner, request }, options.pieces);
    });
    await merge(left, { ...options, ...context, total: length, failures });
    await writeJson(join(folder, RESULT_FILE), { id: job.id, images: length });
    await inTurns(pieces, ({ id }) => removePiece(id, options));
  };
}

/** Does a piece, until its batch has ended. */
export function pieceWork(
  batch: JobWork,
  options: Omit<PiecesPlace, "shared"> & { log: Log },
): JobWork {
  return async function pieceJob(context) {
    const { batch: whole } = context.job.request as PieceRequest;
    using _watch = await watchWhole(whole, context, options);
    await batch(context);
  };
}

/** The pieces of a batch: whoever continues it cuts it so, too. */
export function piecesOf(batch: string, length: number): Piece[] {
  const most = Math.min(
    Math.max(ROWS, Math.ceil(length / MANY_PIECES)),
    MAX_ROWS,
  );
  const pieces: Piece[] = [];
  for (let from = 0, to = 0; from < length; from = to) {
    const part = Math.ceil((length - from) / PARTS_LEFT);
    to = Math.min(from + Math.min(Math.max(part, MIN_ROWS), most), length);
    pieces.push({ id: `${batch}-${from}-${to}`, from, to });
  }
  return pieces;
}

/** Appends the results of the pieces as they end, in their order. */
async function merge(
  left: readonly Piece[],
  { pieces, shared, folder, signal, report, assertHeld, total, ...given }:
    & PiecesPlace
    & JobContext
    & { total: number; failures: number },
): Promise<void> {
  let { failures } = given;
  for (const [i, { id, from, to }] of left.entries()) {
    const part = join(folder, `.${id}.tmp`);
    const isOfLast = i >= left.length - LAST_PIECES;
    const everyMs = isOfLast ? LOOK_LAST_EVERY_MS : LOOK_EVERY_MS;
    await endOf(id, { pieces, signal, everyMs });
    await shared.fetch(jobFolderName(id), part, isResult);
    const results = join(part, RESULTS_FILE);
    const own = await linesOf(results);
    if (own.lines !== to - from) {
      throw new Error(`The piece ${id} has ${own.lines} lines`);
    }
    failures += own.failures;
    for (const name of await filesIn(join(part, HEATMAP_FOLDER))) {
      await Deno.rename(
        join(part, HEATMAP_FOLDER, name),
        join(folder, HEATMAP_FOLDER, name),
      );
    }
    await assertHeld();
    await append(join(folder, RESULTS_FILE), [
      await Deno.readTextFile(results),
    ]);
    await Deno.remove(part, { recursive: true });
    report({ done: to, total, failures });
  }
}

/** Names of files in a folder; none if there is no folder. */
async function filesIn(folder: string): Promise<string[]> {
  try {
    const entries = await Array.fromAsync(Deno.readDir(folder));
    return entries.map(({ name }) => name);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

function isResult(file: string): boolean {
  return file === RESULTS_FILE || file.startsWith(`${HEATMAP_FOLDER}/`);
}
