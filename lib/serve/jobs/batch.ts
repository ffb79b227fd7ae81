/**
 * A job that classifies the images of a table. A bad image is noted and the
 * others continue; images that were done before an interruption stay done.
 *
 * @module
 */
import { mkdir, open } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { isUrl } from "../../image/bytes/source.ts";
import { ImageError } from "../../errors.ts";
import type { ModelClassification } from "../../eval/classification.ts";
import { writeFileAtomically, writeJson } from "../../files.ts";
import type { EnginePool } from "../engine/pool.ts";
import type { ClassifyWorkOptions } from "./classify.ts";
import { DeadlineError, ForbiddenError, InputError } from "../errors.ts";
import { begunAhead, joined } from "./groups.ts";
import { HEATMAP_FOLDER, RESULT_FILE, RESULTS_FILE } from "./files.ts";
import type { JobWork } from "./runner.ts";
import { shownName } from "../tables/names.ts";
import type { BatchImage } from "../tables/protocol.ts";
import type { BatchTable, Tables } from "../tables/tables.ts";
import type { Messages } from "../redaction.ts";
import type { ModelEntry } from "../models.ts";
import type { HowToClassify } from "../predictor.ts";

/** Request of a batch job: a table, a model and options. */
export interface BatchJobRequest extends HowToClassify {
  /** Path of the table, checked when the job was accepted. */
  manifest: string;
  model: string;
  /** Keep the heat map of each image. */
  heatmaps: boolean;
}

/** One line of the results: a classification or an error. */
type BatchLine =
  | { source: string } & ModelClassification
  | { source: string; error: string };

// Fewest images of a group: one group is at work when another ends.
const GROUP = 4;
// Interval of writing results, with all that it takes to be safe.
const WRITE_EVERY_MS = 1000;

/** Parts of the server that batch jobs use. */
export interface BatchWorkOptions extends ClassifyWorkOptions {
  messages: Messages;
  tables: Tables;
  engine: Pick<EnginePool, "places">;
}

/** Some rows of a table. */
export interface Rows {
  /** Number of the first, counted from 0. */
  from: number;
  images: readonly BatchImage[];
}

/** Classifies all images of a table, or those of the request's `rows`. */
export function batchWork(options: BatchWorkOptions): JobWork {
  return async function batchJob(context) {
    const { job, folder, signal, report, assertHeld } = context;
    const request = job.request as BatchJobRequest & { rows?: Rows };
    const { manifest, model: name, heatmaps, rows, ...how } = request;
    const model = options.models.loaded(name);
    using _held = options.models.hold(model); // one model for the whole table
    using table = rows
      ? tableOf(rows)
      : await options.tables.openBatch(manifest, signal);
    const { from } = rows ?? { from: 0 };
    const total = table.length;
    const file = join(folder, RESULTS_FILE);
    await mkdir(join(folder, HEATMAP_FOLDER), { recursive: true });
    const earlier = await linesOf(file);
    let { lines: done, failures } = earlier;
    // Two groups at a time are as many images as the engines have use for.
    const size = Math.max(GROUP, Math.ceil(options.engine.places / 2));
    const classifyRows = async (done: number): Promise<BatchLine[]> => {
      signal.throwIfAborted();
      const images = await table.images(done, size);
      return await Promise.all(images.map((image, i) =>
        classifyRow(image, {
          ...options,
          manifest,
          model,
          how,
          signal,
          heatmap: heatmaps
            ? join(folder, ...batchHeatmap(from + done + i))
            : undefined,
        })
      ));
    };
    const groups = begunAhead({ from: done, to: total, size }, classifyRows);
    for await (const lines of joined(groups, WRITE_EVERY_MS)) {
      failures += lines.filter((line) => "error" in line).length;
      await assertHeld();
      await append(file, lines.map((line) => `${JSON.stringify(line)}\n`));
      done += lines.length;
      report({ done, total, failures });
    }
    if (rows) return; // a piece, whose lines are all of its result
    await writeJson(join(folder, RESULT_FILE), { id: job.id, images: total });
  };
}

/** Rows as a table of their own. */
function tableOf({ images }: Rows): BatchTable {
  return {
    length: images.length,
    images: (from, count) => Promise.resolve(images.slice(from, from + count)),
    [Symbol.dispose]() {},
  };
}

async function classifyRow(
  { image, mpp }: BatchImage,
  {
    images,
    predictor,
    messages,
    manifest,
    model,
    how,
    heatmap: file,
    signal,
  }:
    & BatchWorkOptions
    & {
      manifest: string;
      model: ModelEntry;
      how: HowToClassify;
      /** Path of the heat map to write. */
      heatmap: string | undefined;
      signal: AbortSignal;
    },
): Promise<BatchLine> {
  const source = shownName(image);
  try {
    const named = isUrl(image)
      ? { uri: image }
      : { path: resolve(dirname(manifest), image) };
    await using held = await images.named({ ...named, name: source });
    const { result, heatmap } = await predictor.classifyLater(
      held,
      model,
      {
        ...how,
        heatmap: file !== undefined,
        ...(mpp !== undefined && { mpp }),
      },
      signal,
    );
    if (file !== undefined) await writeFileAtomically(file, heatmap!);
    return { source, ...result };
  } catch (error) {
    const ofImage = [ImageError, ForbiddenError, InputError, DeadlineError]
      .some((kind) => error instanceof kind);
    if (!ofImage || signal.aborted) throw error;
    return { source, error: messages.of(error as Error) };
  }
}

/**
 * Counts the whole lines of a file, at most `most`, and drops a truncated last
 * one and what is beyond them.
 */
export async function linesOf(
  path: string,
  most = Infinity,
): Promise<{ lines: number; failures: number }> {
  let lines = 0, failures = 0, bytes = 0;
  for await (const line of readLines(path)) {
    if (lines === most) break;
    lines++;
    if ("error" in JSON.parse(line)) failures++;
    bytes += new TextEncoder().encode(line).length + 1;
  }
  await Deno.truncate(path, bytes).catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  });
  return { lines, failures };
}

/** Whole lines of a file; none if there is no file. */
async function* readLines(path: string): AsyncGenerator<string> {
  const file = await Deno.open(path).catch((error) => {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  });
  let text = "";
  const parts = file?.readable.pipeThrough(new TextDecoderStream()) ?? [];
  for await (const part of parts) {
    const lines = (text + part).split("\n");
    text = lines.pop()!;
    yield* lines;
  }
}

/** Result of one image of a batch, counted from 0. */
export async function batchLine(
  folder: string,
  index: number,
): Promise<BatchLine | undefined> {
  let at = 0;
  for await (const line of readLines(join(folder, RESULTS_FILE))) {
    if (at++ === index) return JSON.parse(line);
  }
  return undefined;
}

/** Path in the job's folder of one image's heat map, if it was kept. */
export function batchHeatmap(index: number): [folder: string, file: string] {
  return [HEATMAP_FOLDER, `${index}.png`];
}

/** Appends to a file, on disk when the promise resolves. */
export async function append(
  path: string,
  parts: readonly string[],
): Promise<void> {
  const file = await open(path, "a");
  try {
    await file.write(parts.join(""));
    await file.sync();
  } finally {
    await file.close();
  }
}
