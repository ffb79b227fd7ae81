/**
 * `deno task eval`: score a checkpoint on labelled images.
 *
 * @module
 */
import { dirname, join, resolve } from "node:path";
import { checkLeaks } from "../data/leaks.ts";
import type { ManifestEntry } from "../data/manifest.ts";
import { readRois } from "../data/rois.ts";
import { count } from "../data/table.ts";
import { DataError, ImageError } from "../errors.ts";
import type { Evaluation } from "../eval/evaluate.ts";
import type { AttentionHitsSummary, Estimate } from "../eval/attention_hits.ts";
import {
  type EvaluationReport,
  evaluationReport,
  METRIC_NAMES,
  type MetricWithInterval,
  predictionTable,
} from "../eval/report.ts";
import {
  evaluationName,
  type EvaluationRecord,
  writeEvaluation,
} from "../eval/records.ts";
import { environment } from "../engine/environment.ts";
import { exists, writeFileAtomically } from "../files.ts";
import { EVALUATIONS_FOLDER } from "../report/records.ts";
import { startClock } from "../train/clock.ts";
import { LOG_FILE } from "../train/run_log.ts";
import { peakMemoryBytes } from "../memory.ts";
import type { Calibration } from "../model/calibration.ts";
import {
  type CheckpointInfo,
  readCheckpointInfo,
} from "../model/checkpoint.ts";
import {
  classifyImages,
  defaultWorkers,
  type ImageTask,
  type Outcome,
} from "./classifier.ts";
import { classifyShard } from "./classify_shard.ts";
import {
  CHECKPOINT,
  COMMON_FLAGS,
  ENCODER,
  parseForeground,
  SHARED_MEMORY,
  workers,
} from "./shared/common_flags.ts";
import {
  defaulting,
  integer,
  oneOf,
  outputFile,
  parseFlags,
  required,
  text,
  toggle,
  type Usage,
} from "./shared/flags.ts";
import { confusionText } from "./shared/confusion.ts";
import { checkApart } from "./shared/outputs.ts";
import { reportAtEnd } from "./shared/report.ts";
import { runSplits } from "./shared/run_folder.ts";
import { type Merged, SHARD_FLAGS, shardPlace } from "./shared/shard.ts";
import { readImages, TABLE_FLAGS } from "./shared/tables.ts";
import {
  announceEngine,
  figure,
  heading,
  interruptSignal,
  lineWidth,
  megabytes,
  ProgressLine,
  warnOfDecoding,
} from "./shared/terminal.ts";
import { STUDY_LAYOUTS } from "../study/roi_layouts.ts";

export const summary = "Score a checkpoint on labelled images";

const SPLITS = ["train", "validation", "test", "all"] as const;

const FLAGS = {
  checkpoint: required(CHECKPOINT),
  encoder: ENCODER,
  data: required(
    text(
      "MANIFEST",
      "table with image,label, CSV, TSV or XLSX; same labels as in training",
      { paths: "files" },
    ),
  ),
  ...TABLE_FLAGS,
  split: oneOf(
    SPLITS,
    "NAME",
    `${SPLITS.join(", ")} (test; all if there is no split)`,
  ),
  samples: COMMON_FLAGS.samples,
  draws: COMMON_FLAGS.draws,
  seed: defaulting(
    integer("N", "seed of the draws and of the bootstrap (0)"),
    0,
  ),
  foreground: COMMON_FLAGS.foreground,
  memory: SHARED_MEMORY,
  out: text(
    "DIR",
    "folder of figures, predictions and report.html (RUN/evaluations/NAME of the manifest and split, if the checkpoint lies in a run)",
    { paths: "folders" },
  ),
  predictions: outputFile(
    "FILE",
    "CSV to write with the prediction of each image",
  ),
  workers: workers("images in parallel (one a core; one on webgpu)"),
  backend: COMMON_FLAGS.backend,
  ...SHARD_FLAGS,
  json: toggle("print the report as JSON"),
};

export const usage: Usage = {
  synopsis: ["deno task eval --checkpoint RUN --data MANIFEST"],
  groups: [{ flags: FLAGS }],
  notes: "Exit code 1 if an image could not be read.",
};

/**
 * Prints the report; the same command always prints the same bytes.
 *
 * @throws {UsageError} If a flag is wrong.
 */
export async function run(argv: string[]): Promise<number> {
  return await score(argv, undefined);
}

/** Prints what {@linkcode run} does, from the parts of all shards. */
export async function merge(merged: Merged<Outcome>): Promise<number> {
  return await score([...merged.argv], merged);
}

async function score(
  argv: string[],
  merged: Merged<Outcome> | undefined,
): Promise<number> {
  const { values: flags } = parseFlags(argv, FLAGS);
  const place = shardPlace(flags);
  const { checkpoint: path, data, split, predictions: file, seed } = flags;
  const options = {
    encoder: flags.encoder,
    samples: flags.samples,
    draws: flags.draws,
    seed,
    foreground: await parseForeground(flags.foreground),
    memoryBytes: flags.memory?.bytes,
  };
  const signal = interruptSignal();
  const clock = startClock();
  const engine = merged ? undefined : await announceEngine(flags.backend);
  const checkpoint = await readCheckpointInfo(path);
  const { classes } = checkpoint;
  const manifest = await readImages(data, flags, { classes });
  await checkLeaks(manifest.entries);
  const chosen = chosenSplit(manifest.entries, split);
  const entries = entriesOf(manifest.entries, chosen, data);
  const rois = await readRois(manifest, STUDY_LAYOUTS); // shows its faults before the work
  await checkApart(
    file === undefined ? [] : [file],
    [path, data, ...entries.map(({ path }) => path)],
  );
  await warnOfLearned(path, entries, split);
  const tasks = entries.map(({ path, mpp }) => ({ image: path, mpp }));
  let classifyAll: ClassifyAll = (_, onOutcome) =>
    merged!.items.forEach(onOutcome);
  if (engine) {
    const setup = { checkpoint: path, backend: engine.backend, ...options };
    const { workers = defaultWorkers(tasks.length, setup) } = flags;
    if (place) {
      const work = { argv, place, setup, engine, workers, signal };
      return await classifyShard(tasks, { command: "eval", ...work });
    }
    classifyAll = (tasks, onOutcome) =>
      classifyImages(tasks, { setup, workers, signal, onOutcome });
  }
  const evaluation = await evaluate(entries, tasks, classifyAll);
  if (evaluation.images.length === 0) {
    throw new ImageError(
      `None of the images of ${data} could be read; the first: ${
        evaluation.failures[0]!.error.message
      }`,
    );
  }
  if (file !== undefined) {
    await writeFileAtomically(
      file,
      predictionTable(evaluation.images, classes),
    );
  }
  const report = await evaluationReport(evaluation, {
    classes,
    rois,
    annotated: checkpoint.annotated,
    seed,
  });
  for (const { image, error } of report.failures) {
    console.error(`${image}: ${error}`);
  }
  console.log(
    flags.json
      ? JSON.stringify({
        checkpoint: checkpoint.sha256,
        calibration: checkpoint.calibration,
        ...report,
      })
      : reportText(report, checkpoint, flags.samples),
  );
  const folder = flags.out ?? await folderInRun(checkpoint.path, data, chosen);
  if (folder !== undefined) {
    const record: EvaluationRecord = {
      checkpoint: checkpoint.sha256,
      data: resolve(data),
      split: chosen,
      samples: flags.samples ?? checkpoint.config.evaluation.samples,
      seed,
      calibration: checkpoint.calibration,
      environment: engine ? environment(engine) : merged!.environment,
      ...clock(),
      report,
    };
    await keep(folder, record, evaluation, signal);
  }
  console.error(`peak memory: ${megabytes(peakMemoryBytes())}`);
  return report.failures.length > 0 ? 1 : 0;
}

/**
 * Keeps an evaluation in a folder, with its report. The figures are printed by
 * then: a folder that cannot be written is told, and is no failure.
 */
async function keep(
  folder: string,
  record: EvaluationRecord,
  { images }: Evaluation,
  signal: AbortSignal,
): Promise<void> {
  try {
    await writeEvaluation(folder, record, images);
  } catch (error) {
    const { message } = error instanceof Error ? error : new Error(`${error}`);
    console.error(`not recorded in ${folder}: ${message}`);
    return;
  }
  await reportAtEnd(folder, signal);
}

/** The folder of an evaluation in that of the run, if there is a run. */
async function folderInRun(
  checkpoint: string,
  data: string,
  split: string,
): Promise<string | undefined> {
  const run = dirname(checkpoint);
  if (!await exists(join(run, LOG_FILE))) return undefined;
  return join(run, EVALUATIONS_FOLDER, evaluationName(data, split));
}

/** Warns if scored images were used to train or select the run. */
async function warnOfLearned(
  checkpoint: string,
  entries: readonly ManifestEntry[],
  split: (typeof SPLITS)[number] | undefined,
): Promise<void> {
  if (split === "train" || split === "validation") return; // chosen by the user
  const run = await runSplits(checkpoint);
  const { test = [], learned = [] } = Object.groupBy(
    run.entries,
    ({ split }) => split === "test" ? "test" : "learned",
  );
  const known = new Set(learned.map(({ path }) => path));
  const seen = entries.filter(({ path }) => known.has(path)).length;
  if (seen === 0) return;
  const advice = `; score new ones with --data ${run.file} --split test`;
  console.error(
    `warning: the run was trained or selected on ${seen} of these ${entries.length} images${
      test.length > 0 ? advice : ""
    }`,
  );
}

/** Classifies all images, or reads what their shards recorded, in order. */
type ClassifyAll = (
  tasks: readonly ImageTask[],
  onOutcome: (outcome: Outcome, index: number) => void,
) => void | Promise<void>;

/** Classifies every entry; bad images are set aside and the others continue. */
async function evaluate(
  entries: readonly ManifestEntry[],
  tasks: readonly ImageTask[],
  classifyAll: ClassifyAll,
): Promise<Evaluation> {
  const evaluation: Evaluation = { images: [], failures: [] };
  const warnings: (readonly string[])[] = [];
  const line = new ProgressLine();
  const note = ({ classification, error }: Outcome, i: number) => {
    const entry = entries[i]!;
    if (classification) {
      warnings.push(classification.warnings);
      evaluation.images.push({ entry, classification });
    } else {
      evaluation.failures.push({ entry, error: new ImageError(error) });
    }
    line.count(i + 1, entries.length, "images");
  };
  try {
    await classifyAll(tasks, note);
  } finally {
    line.clear();
  }
  warnOfDecoding(warnings);
  return evaluation;
}

/** The split to score: the test side, or all images if there are no sides. */
function chosenSplit(
  entries: readonly ManifestEntry[],
  split: (typeof SPLITS)[number] | undefined,
): (typeof SPLITS)[number] {
  const hasSplit = entries.some((entry) => entry.split !== undefined);
  return split ?? (hasSplit ? "test" : "all");
}

/** Entries of a split. */
function entriesOf(
  entries: readonly ManifestEntry[],
  wanted: (typeof SPLITS)[number],
  data: string,
): readonly ManifestEntry[] {
  const found = wanted === "all"
    ? entries
    : entries.filter((entry) => entry.split === wanted);
  if (found.length > 0) return found;
  throw new DataError(
    `No image of ${data} has the split "${wanted}": give another --split`,
  );
}

function reportText(
  { images, metrics, confusion, classes, attention, annotated }:
    EvaluationReport,
  { config, calibration, epoch, sha256 }: CheckpointInfo,
  samples: number | undefined,
): string {
  const names = Object.entries(METRIC_NAMES) as [
    keyof typeof METRIC_NAMES,
    string,
  ][];
  return [
    `checkpoint ${
      sha256.slice(0, 12)
    } (preset ${config.preset}, epoch ${epoch}) on ${images} images`,
    calibrationText(calibration, samples),
    ...(annotated
      ? [
        `trained on labels and ${
          count(annotated.objects, "annotated object")
        } in ${count(annotated.images, "training image")}`,
      ]
      : []),
    ...(classes.length === 2
      ? [`AUC, F1 and Brier score are those of "${classes[1]}"`]
      : []),
    "",
    heading(`${"metric".padEnd(20)}   value   95 % interval`),
    ...names.map(([key, name]) => metricText(name, metrics[key])),
    ...(names.some(([key]) => isUnbounded(metrics[key]))
      ? [
        "-: all resamples give this value, so there is no estimate of its error",
      ]
      : []),
    "",
    ...confusionText(confusion, classes, lineWidth()),
    ...(attention ? ["", ...attentionText(attention)] : []),
  ].join("\n");
}

/** How the probabilities were calibrated, and a warning if N was another. */
function calibrationText(
  calibration: Calibration | null,
  drawn: number | undefined,
): string {
  if (calibration === null) {
    return "probabilities are not calibrated: there were no or too few validation images";
  }
  const { temperature, bias, images, samples } = calibration;
  const other = drawn !== undefined && drawn !== samples
    ? `, not at these ${drawn}: they may be off`
    : "";
  return `probabilities are calibrated (temperature ${
    figure(temperature)
  }, bias ${
    figure(bias)
  }) on ${images} validation images at ${samples} sub-tiles${other}`;
}

/** True if there is a value without an interval. */
function isUnbounded({ value, interval }: MetricWithInterval): boolean {
  return value !== null && interval === null;
}

function metricText(
  name: string,
  { value, interval }: MetricWithInterval,
): string {
  const range = interval
    ? `${figure(interval.low)} to ${figure(interval.high)}`
    : "-";
  return `${name.padEnd(20)} ${figure(value).padStart(7)}   ${range}`;
}

function attentionText(
  { images, drawn, mass, top, chance, drawnToChance }: AttentionHitsSummary,
): string[] {
  const text = ({ value, interval }: Estimate) =>
    figure(value) +
    (interval ? ` (${figure(interval.low)} to ${figure(interval.high)})` : "");
  return [
    `on ${images} images with annotated objects:`,
    `  sub-tiles that hit an object ${text(drawn)}`,
    `  share of their weight        ${text(mass)}`,
    `  the heaviest one hits in     ${text(top)}`,
    `  by chance                    ${text(chance)}`,
    `  ratio to chance              ${text(drawnToChance)}`,
  ];
}
