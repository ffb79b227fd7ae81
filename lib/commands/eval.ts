/**
 * `deno task eval`: score a checkpoint on labelled images.
 *
 * @module
 */
import { dirname, join, resolve } from "node:path";
import { checkLeaks, imagesAmong } from "../data/leaks.ts";
import type { ManifestEntry } from "../data/manifest.ts";
import { readRois } from "../data/rois.ts";
import { count } from "../data/table.ts";
import { DataError, ImageError, shortened } from "../errors.ts";
import type {
  EvaluatedImage,
  FailedImage,
  LabelledImage,
} from "../eval/evaluate.ts";
import type { AttentionHitsSummary, Estimate } from "../eval/attention_hits.ts";
import {
  groupTable,
  imageGroups,
  type PredictedGroup,
} from "../eval/groups/groups.ts";
import {
  type EvaluationReport,
  groupReport,
  labelReport,
  METRIC_NAMES,
  type MetricWithInterval,
  predictionTable,
} from "../eval/report.ts";
import {
  type AnyReport,
  isTargetReport,
  reportOfTarget,
} from "../eval/targets/report.ts";
import { targetLines } from "./shared/target_text.ts";
import {
  evaluationName,
  type EvaluationRecord,
  hasLooked,
  type RecordedPredictions,
  writeEvaluation,
} from "../eval/records.ts";
import { environment } from "../engine/environment.ts";
import { exists, writeFileAtomically } from "../files.ts";
import { EVALUATIONS_FOLDER } from "../report/records.ts";
import { startClock } from "../train/clock.ts";
import { LOG_FILE } from "../train/run_log.ts";
import { peakMemoryBytes } from "../memory.ts";
import type { Calibration } from "../model/calibration.ts";
import type { Ensemble } from "../train/runs/ensemble.ts";
import { SPLITS_FILE } from "../train/runs/run_data.ts";
import type { TargetName } from "../target.ts";
import {
  checkChosenModel,
  type ImageSource,
  predictImages,
  type PredictImagesOptions,
} from "./predictions.ts";
import {
  type ChosenModel,
  ensembleRecord,
  readChosenModel,
} from "./shared/chosen_model.ts";
import { defaultWorkers, type ImageTask, type Outcome } from "./classifier.ts";
import { startClassifyingEngine } from "../train/engine_choice.ts";
import { classifyShard } from "./classify_shard.ts";
import {
  BY_GROUP,
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
  "by-group": BY_GROUP,
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
    "CSV to write with the prediction of each image, or group of --by-group",
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
  const by = flags["by-group"];
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
  const model = await readChosenModel(path);
  checkChosenModel(model, { by, isShard: place !== undefined, outputs: [] });
  const { classes, ensemble, config: { target } } = model;
  const manifest = await readImages(data, flags, { classes, target });
  await checkLeaks(manifest.entries);
  const chosen = chosenSplit(manifest.entries, split);
  const entries = entriesOf(manifest.entries, chosen, data);
  const rois = await readRois(manifest, STUDY_LAYOUTS); // shows its faults before the work
  await checkApart(
    file === undefined ? [] : [file],
    [path, data, ...entries.map(({ path }) => path)],
  );
  if (ensemble) await checkUnseen(ensemble, entries);
  else await warnOfLearned(path, entries, { split, target });
  const grouping = by && { by, groups: imageGroups(entries, data) };
  const tasks = entries.map(({ path, mpp }) => ({ image: path, mpp }));
  const engine = merged ? undefined : await announceEngine(
    flags.backend,
    () =>
      startClassifyingEngine({
        config: model.config,
        classes,
        workers: flags.workers ??
          defaultWorkers(tasks.length, { backend: "wasm" }),
        signal,
      }),
  );
  let source: ImageSource = { recorded: merged?.items ?? [] };
  if (engine) {
    const setup = { backend: engine.backend, ...options };
    source = { setup, workers: flags.workers, signal };
    if (place) {
      return await classifyShard(tasks, {
        ...{ command: "eval", argv, place, engine },
        ...source,
        setup: { ...setup, checkpoints: [path] },
      });
    }
  }
  const { images, failures, groups } = await evaluate(entries, tasks, {
    model,
    source,
    grouping,
  });
  if (images.length === 0) {
    throw new ImageError(
      `None of the images of ${data} could be read; the first: ${
        failures[0]!.error.message
      }`,
    );
  }
  if (file !== undefined) {
    await writeFileAtomically(
      file,
      groups ? groupTable(groups, classes) : predictionTable(images, classes),
    );
  }
  const { annotated } = model;
  const looked = images.filter(hasLooked);
  const report: AnyReport = ensemble
    ? labelReport(images, { classes, annotated, failures, seed })
    : await reportOfTarget(
      { images: looked, failures },
      { target, classes, rois, annotated, seed },
    );
  if (groups && !isTargetReport(report)) {
    report.byGroup = groupReport(groups, { by: by!, classes, seed });
  }
  for (const { image, error } of report.failures) {
    console.error(`${image}: ${error}`);
  }
  const calibration = ensemble ? null : model.members[0]!.calibration;
  const members = ensemble && { ensemble: ensembleRecord(model) };
  console.log(
    flags.json
      ? JSON.stringify({
        checkpoint: model.reference.sha256,
        ...members,
        calibration,
        ...report,
      })
      : reportText(report, model, flags.samples),
  );
  const folder = flags.out ?? await folderInRun(model, data, chosen);
  if (folder !== undefined) {
    const record: EvaluationRecord = {
      checkpoint: model.reference.sha256,
      ...members,
      data: resolve(data),
      split: chosen,
      samples: flags.samples ?? model.config.evaluation.samples,
      seed,
      calibration,
      environment: engine ? environment(engine) : merged!.environment,
      ...clock(),
      report,
    };
    await keep(folder, record, { images, groups }, signal);
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
  predictions: RecordedPredictions,
  signal: AbortSignal,
): Promise<void> {
  try {
    await writeEvaluation(folder, record, predictions);
  } catch (error) {
    const { message } = error instanceof Error ? error : new Error(`${error}`);
    console.error(`not recorded in ${folder}: ${message}`);
    return;
  }
  await reportAtEnd(folder, signal);
}

/** The folder of an evaluation in that of the run, if there is a run. */
async function folderInRun(
  { members, ensemble }: ChosenModel,
  data: string,
  split: string,
): Promise<string | undefined> {
  const run = ensemble?.folder ?? dirname(members[0]!.path);
  if (!ensemble && !await exists(join(run, LOG_FILE))) return undefined;
  return join(run, EVALUATIONS_FOLDER, evaluationName(data, split));
}

/**
 * Checks that the models of an ensemble were trained on none of the images: an
 * image of one fold was learned by those of all others.
 *
 * @throws {DataError} If they were.
 */
async function checkUnseen(
  { folder, protocol, runs, entries: known }: Ensemble,
  entries: readonly ManifestEntry[],
): Promise<void> {
  const seen = await imagesAmong(entries, known);
  const [first] = seen;
  if (!first) return warnOfPatients(known, entries);
  throw new DataError(
    `Cannot score the ensemble ${folder} on ${seen.length} of these ${
      count(entries.length, "image")
    } (${shortened(first.image)}${
      seen.length > 1 ? ", ..." : ""
    }): its folds were trained on them; give new images, or score a fold on its own test images: --checkpoint ${
      runs[0]
    } --data ${join(runs[0]!, SPLITS_FILE)}${
      protocol === "best-epoch" ? " --split validation" : ""
    }`,
  );
}

/** Warns if scored images were used to train or select the run. */
async function warnOfLearned(
  checkpoint: string,
  entries: readonly ManifestEntry[],
  { split, target }: {
    split: (typeof SPLITS)[number] | undefined;
    target: TargetName;
  },
): Promise<void> {
  if (split === "train" || split === "validation") return; // chosen by the user
  const run = await runSplits(checkpoint, target);
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

/** Warns of images of patients whom the folds have other images of. */
function warnOfPatients(
  known: readonly ManifestEntry[],
  entries: readonly ManifestEntry[],
): void {
  const groups = new Set(known.map(({ group }) => group));
  groups.delete(undefined);
  const seen = entries.filter(({ group }) => groups.has(group)).length;
  if (seen === 0) return;
  console.error(
    `warning: ${
      count(seen, "image")
    } of groups that images of its folds have, too: are they the same patients?`,
  );
}

/** Images as a model or an ensemble classified them, and their groups. */
interface Evaluated {
  images: (EvaluatedImage | LabelledImage)[];
  failures: FailedImage[];
  groups: PredictedGroup[] | undefined;
}

/** Classifies every entry; bad images are set aside and the others continue. */
async function evaluate(
  entries: readonly ManifestEntry[],
  tasks: readonly ImageTask[],
  options: Omit<PredictImagesOptions, "onPrediction" | "onProgress">,
): Promise<Evaluated> {
  const images: Evaluated["images"] = [];
  const failures: FailedImage[] = [];
  const warnings: (readonly string[])[] = [];
  const line = new ProgressLine();
  const groups = await predictImages(tasks, {
    ...options,
    onPrediction({ classification, error }, i) {
      const entry = entries[i]!;
      if (classification) {
        warnings.push(classification.warnings);
        images.push({ entry, classification });
      } else failures.push({ entry, error: new ImageError(error) });
    },
    onProgress: (done, total) => line.count(done, total, "images"),
  }).finally(() => line.clear());
  warnOfDecoding(warnings);
  return { images, failures, groups };
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
  report: AnyReport,
  model: ChosenModel,
  samples: number | undefined,
): string {
  const { config, members, ensemble, reference } = model;
  return [
    ensemble
      ? `ensemble of ${
        count(members.length, "model")
      } (preset ${config.preset}, ${ensemble.protocol}, folds ${
        ensemble.folds.join(", ")
      }) on ${report.images} images`
      : `checkpoint ${reference.version} (preset ${config.preset}, epoch ${
        members[0]!.epoch
      }) on ${report.images} images`,
    ...(isTargetReport(report)
      ? ["", ...targetLines(report)]
      : classesLines(report, model, samples)),
  ].join("\n");
}

/** What is told of classes. */
function classesLines(
  { metrics, confusion, classes, attention, annotated, byGroup }:
    EvaluationReport,
  { members, ensemble }: ChosenModel,
  samples: number | undefined,
): string[] {
  return [
    ensemble
      ? `probabilities are the mean of its models', of which ${
        members.filter(({ calibration }) => calibration !== null).length
      } are calibrated`
      : calibrationText(members[0]!.calibration, samples),
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
    ...figureLines({ metrics, confusion }, classes),
    ...(byGroup
      ? [
        "",
        `by group (${byGroup.by}), ${count(byGroup.groups, "group")}`,
        "",
        ...figureLines(byGroup, classes),
      ]
      : []),
    ...(attention ? ["", ...attentionText(attention)] : []),
  ];
}

/** Metrics with their intervals, and the confusion matrix. */
function figureLines(
  { metrics, confusion }: Pick<EvaluationReport, "metrics" | "confusion">,
  classes: readonly string[],
): string[] {
  const names = Object.entries(METRIC_NAMES) as [
    keyof typeof METRIC_NAMES,
    string,
  ][];
  return [
    heading(`${"metric".padEnd(20)}   value   95 % interval`),
    ...names.map(([key, name]) => metricText(name, metrics[key])),
    ...(names.some(([key]) => isUnbounded(metrics[key]))
      ? [
        "-: all resamples give this value, so there is no estimate of its error",
      ]
      : []),
    "",
    ...confusionText(confusion, classes, lineWidth()),
  ];
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
