/**
 * Reads the files that runs, evaluations and studies record.
 *
 * @module
 */
import { parse } from "csv-parse/sync";
import { basename, dirname, join, resolve } from "node:path";
import { type ManifestEntry, readManifest } from "../data/manifest.ts";
import { DataError, UsageError } from "../errors.ts";
import {
  CASES_FILE,
  EVALUATION_FILE,
  type EvaluationRecord,
  PREDICTIONS_FILE,
  type RecordedCase,
} from "../eval/records.ts";
import { exists } from "../files.ts";
import type { TargetName } from "../target.ts";
import {
  BEST,
  type CheckpointInfo,
  LAST,
  readCheckpointInfo,
} from "../model/checkpoint.ts";
import { type StudyResults } from "../study/report.ts";
import { RESULTS_FILE } from "../study/write.ts";
import {
  type AnyFold,
  CROSSVAL_FILE,
  type CrossValidationRecord,
  FOLDS_FILE,
} from "../train/runs/crossval.ts";
import { foldFolder, RESULT_FILE } from "../train/runs/fold_task.ts";
import { SPLITS_FILE } from "../train/runs/run_data.ts";
import { LOG_FILE, type LogLine, readLog } from "../train/run_log.ts";

/** Folder of a run's evaluations, each with a folder of its own. */
export const EVALUATIONS_FOLDER = "evaluations";

/** An image of a table of predictions. */
export interface PredictedCase {
  image: string;
  label: string;
  predicted: string;
  /** By class. */
  probabilities: Readonly<Record<string, number>>;
  /** Where the network looked, if that was recorded. */
  where?: RecordedCase | undefined;
}

/** What a folder of predictions was scored to. */
export interface ScoredFolder {
  folder: string;
  images: readonly PredictedCase[];
}

/** An evaluation by `eval`. */
export interface EvaluationFolder extends ScoredFolder {
  kind: "evaluation";
  record: EvaluationRecord;
  /** The run that it scored, if it lies in its folder. */
  run: RunFolder | undefined;
}

/** A run of `train`. */
export interface RunFolder {
  kind: "run";
  folder: string;
  entries: readonly ManifestEntry[];
  log: readonly LogLine[];
  checkpoint: CheckpointInfo;
  evaluations: readonly EvaluationFolder[];
  /** Of a fold of a cross-validation: its test. */
  fold: (ScoredFolder & { result: AnyFold }) | undefined;
}

/** A cross-validation. */
export interface CrossValidationFolder {
  kind: "cross-validation";
  folder: string;
  entries: readonly ManifestEntry[];
  record: CrossValidationRecord;
  /** One a fold that is done. */
  folds: readonly (ScoredFolder & {
    result: AnyFold;
    log: readonly LogLine[];
  })[];
  /** A checkpoint of the folds, for the facts that all share. */
  checkpoint: CheckpointInfo | undefined;
}

/** A study. */
export interface StudyFolder {
  kind: "study";
  folder: string;
  results: StudyResults;
  /** Names of the SVG files and pictures in its folder of figures. */
  figures: readonly string[];
}

/** All that a report can be of. */
export type Recorded =
  | RunFolder
  | EvaluationFolder
  | CrossValidationFolder
  | StudyFolder;

/**
 * Reads what lies in `path`: the folder of a run, a cross-validation, a study or
 * an evaluation.
 *
 * @throws {UsageError} If it is none of them.
 * @throws {DataError} If a file is damaged.
 * @throws {CheckpointError} If the checkpoint is.
 */
export async function readRecorded(path: string): Promise<Recorded> {
  const folder = resolve(path);
  const has = (name: string) => exists(join(folder, name));
  if (await has(EVALUATION_FILE)) return await readEvaluation(folder);
  if (await has(CROSSVAL_FILE)) return await readCrossValidation(folder);
  if (await has(RESULTS_FILE)) return await readStudy(folder);
  if (await has(LOG_FILE)) return await readRun(folder);
  throw new UsageError(
    `Cannot report on ${path}: it has no ${LOG_FILE} of a run, ${CROSSVAL_FILE} of a cross-validation, ${RESULTS_FILE} of a study or ${EVALUATION_FILE} of an evaluation; give the folder of one`,
  );
}

async function readEvaluation(
  folder: string,
  of?: RunFolder,
): Promise<EvaluationFolder> {
  return {
    kind: "evaluation",
    ...await readScored(folder),
    record: await readJson(join(folder, EVALUATION_FILE)),
    run: of ?? await runAround(folder),
  };
}

/** The run whose folder holds an evaluation. */
async function runAround(evaluation: string): Promise<RunFolder | undefined> {
  const inside = dirname(evaluation);
  const folder = dirname(inside);
  return basename(inside) === EVALUATIONS_FOLDER &&
      await exists(join(folder, LOG_FILE))
    ? await readRunAlone(folder)
    : undefined;
}

async function readRun(folder: string): Promise<RunFolder> {
  const run = await readRunAlone(folder);
  const inside = join(folder, EVALUATIONS_FOLDER);
  const names = await namesIn(inside);
  const evaluations: EvaluationFolder[] = [];
  for (const name of names) {
    const file = join(inside, name, EVALUATION_FILE);
    if (!await exists(file)) continue;
    evaluations.push(await readEvaluation(join(inside, name), run));
  }
  return { ...run, evaluations };
}

async function readRunAlone(folder: string): Promise<RunFolder> {
  const result = join(folder, RESULT_FILE);
  const checkpoint = await readCheckpointInfo(folder);
  const { target } = checkpoint.config;
  return {
    kind: "run",
    folder,
    entries: await readEntries(join(folder, SPLITS_FILE), target),
    log: await readLog(join(folder, LOG_FILE)),
    checkpoint,
    evaluations: [],
    fold: await exists(result)
      ? { ...await readScored(folder), result: await readJson(result) }
      : undefined,
  };
}

/** Reads the folder of a cross-validation. @throws {DataError} */
export async function readCrossValidation(
  folder: string,
): Promise<CrossValidationFolder> {
  const record: CrossValidationRecord = await readJson(
    join(folder, CROSSVAL_FILE),
  );
  const folds = await Promise.all(record.results.map(async (result) => {
    const own = foldFolder(folder, result);
    const log = join(own, LOG_FILE);
    return {
      ...await readScored(own),
      result,
      log: await exists(log) ? await readLog(log) : [], // a pooled one has none
    };
  }));
  const [first] = folds;
  const hasCheckpoint = first !== undefined &&
    (await exists(join(first.folder, BEST)) ||
      await exists(join(first.folder, LAST)));
  return {
    kind: "cross-validation",
    folder,
    entries: await readEntries(
      join(folder, FOLDS_FILE),
      record.config.target ?? "classes", // of an older version
    ),
    record,
    folds,
    checkpoint: hasCheckpoint
      ? await readCheckpointInfo(first.folder)
      : undefined,
  };
}

async function readStudy(folder: string): Promise<StudyFolder> {
  const names = await namesIn(join(folder, "figures"));
  return {
    kind: "study",
    folder,
    results: await readJson(join(folder, RESULTS_FILE)),
    figures: names.filter((name) => /\.(svg|png)$/.test(name)),
  };
}

/** The predictions of a folder, none if it has no table. */
async function readScored(folder: string): Promise<ScoredFolder> {
  const file = join(folder, PREDICTIONS_FILE);
  if (!await exists(file)) return { folder, images: [] };
  const rows = parse(await Deno.readTextFile(file), {
    columns: true,
  }) as Record<string, string>[];
  const cases = join(folder, CASES_FILE);
  const where: RecordedCase[] = await exists(cases)
    ? await readJson(cases)
    : []; // of an older version
  return {
    folder,
    images: rows.map((row, i) => ({
      image: row.image!,
      label: row.label!,
      predicted: row.predicted!,
      probabilities: probabilitiesOf(row, `${file}:${i + 2}`),
      where: where[i],
    })),
  };
}

function probabilitiesOf(
  row: Readonly<Record<string, string>>,
  place: string,
): Record<string, number> {
  const cells = Object.entries(row).flatMap(([column, text]) => {
    const name = /^p\((.*)\)$/s.exec(column)?.[1];
    return name === undefined ? [] : [[name, Number(text)] as const];
  });
  if (cells.every(([, p]) => p >= 0 && p <= 1)) {
    return Object.fromEntries(cells);
  }
  throw new DataError(`${place}: it has no probabilities in [0, 1]`);
}

/** Images of a table, though some may no longer exist. */
async function readEntries(
  file: string,
  target: TargetName,
): Promise<readonly ManifestEntry[]> {
  if (!await exists(file)) return []; // of a checkpoint that was moved
  const anywhere = () => Promise.resolve(true);
  return (await readManifest(file, { target, isFile: anywhere })).entries;
}

async function readJson<Value>(file: string): Promise<Value> {
  try {
    return JSON.parse(await Deno.readTextFile(file));
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    throw new DataError(`${file}: it is no JSON; make it again`, { cause });
  }
}

async function namesIn(folder: string): Promise<string[]> {
  const names: string[] = [];
  if (!await exists(folder)) return names;
  for await (const { name } of Deno.readDir(folder)) names.push(name);
  return names.sort();
}
