/**
 * A batch that several hosts do: it is cut into pieces, whose results are
 * appended in the order of the table.
 *
 * @module
 */
import { join } from "node:path";
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

// Images of a piece: some seconds of work, so that little is lost with a host
// and few pieces are left to the last. A large table has larger ones.
const MIN_ROWS = 32, MAX_ROWS = 256, MANY_PIECES = 1000;
const LOOK_EVERY_MS = 200;

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
    for (const { id, from, to } of left) {
      signal.throwIfAborted();
      const images = await table.images(from, to - from);
      const request: PieceRequest = {
        ...job.request as BatchJobRequest,
        rows: { from, images },
        batch: job.id,
      };
      const { owner } = job;
      await handOut({ id, kind: "batch", owner, request }, options.pieces);
    }
    await merge(left, { ...options, ...context, total: length, failures });
    await writeJson(join(folder, RESULT_FILE), { id: job.id, images: length });
    for (const { id } of pieces) await removePiece(id, options);
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

function piecesOf(batch: string, length: number): Piece[] {
  const size = Math.min(
    Math.max(MIN_ROWS, Math.ceil(length / MANY_PIECES)),
    MAX_ROWS,
  );
  return Array.from({ length: Math.ceil(length / size) }, (_, i) => {
    const from = i * size;
    const to = Math.min(from + size, length);
    return { id: `${batch}-${from}`, from, to };
  });
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
  for (const { id, from, to } of left) {
    const part = join(folder, `.${id}.tmp`);
    await endOf(id, { pieces, signal, everyMs: LOOK_EVERY_MS });
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
