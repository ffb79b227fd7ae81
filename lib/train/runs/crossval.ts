/**
 * Cross-validation by two protocols, always named, because they answer
 * different questions:
 *
 * - `best-epoch`, the published one: train on the other folds, report the best
 *   epoch's accuracy on the fold itself. Selection on the test data: optimistic.
 * - `held-out`: choose the epoch on a part cut from the other folds, or take the
 *   last if none is cut (`training.validation` = 0), and touch the fold once.
 *
 * @module
 */
import { join } from "node:path";
import { checkLeaks } from "../../data/leaks.ts";
import type { ManifestEntry, Split } from "../../data/manifest.ts";
import {
  foldSplit,
  type PathChoice,
  validationPart,
  writeSplits,
} from "../../data/folds.ts";
import type { RoiSource } from "../../data/rois.ts";
import { type MeanInterval, meanInterval } from "../../eval/bootstrap.ts";
import { evaluate } from "../../eval/evaluate.ts";
import {
  foldsAccuracy,
  foldsAuc,
  foldsBalancedAccuracy,
  overFolds,
} from "../../eval/intervals.ts";
import type { EvaluationReport } from "../../eval/report.ts";
import {
  answersReport,
  type AnyReport,
  isTargetReport,
  reportOfTarget,
  type TargetReport,
} from "../../eval/targets/report.ts";
import type { OtherTarget } from "../../eval/targets/scoring.ts";
import { writePredictions } from "../../eval/records.ts";
import { exists, writeJson } from "../../files.ts";
import { LAST, readCheckpoint } from "../../model/checkpoint.ts";
import type { Config } from "../../model/config.ts";
import type { Model } from "../../model/model.ts";
import { disposeModel } from "../../model/frozen.ts";
import {
  annotatedCount,
  boxesRecord,
  type BoxOptions,
  checkBoxes,
  checkLearnsFromBoxes,
  trainingBoxes,
} from "../boxes.ts";
import { startClock } from "../clock.ts";
import type { SkippedImage } from "../epoch_metrics.ts";
import { evaluateTeacher } from "../dense/teacher_evaluation.ts";
import {
  foldFolder,
  type FoldTask,
  type Protocol,
  PROTOCOLS,
  RESULT_FILE,
} from "./fold_task.ts";
import { SPLITS_FILE } from "./run_data.ts";
import { LOG_FILE, type LogLine, readLog } from "../run_log.ts";
import type { TrainingData } from "../trainer.ts";
import { trainAsConfigured, type TrainingOptions } from "./training.ts";

/** Images of a cross-validation with their folds, in its folder. */
export const FOLDS_FILE = "folds.csv";
/** Its settings and results. */
export const CROSSVAL_FILE = "crossval.json";

/** Result of one fold under one protocol. */
export interface FoldResult<Report = EvaluationReport> {
  protocol: Protocol;
  fold: number;
  bestEpoch: number;
  seconds: number;
  /** CPU time of the process meanwhile, its other workers' included. */
  cpuSeconds: number;
  /** Peak memory of the process by then, bytes; null if unknown. */
  peakBytes: number | null;
  report: Report;
  /** Of `training.dense`: the teacher, which sees all locations. */
  teacher?: TeacherResult<Report>;
}

/** That of any target. */
export type AnyFold = FoldResult<AnyReport>;

/** The folds of classes. */
export function foldsOfClasses(folds: readonly AnyFold[]): FoldResult[] {
  return folds.filter((fold): fold is FoldResult =>
    !isTargetReport(fold.report)
  );
}

/** Result of a fold's teacher, without its student. */
export interface TeacherResult<Report = EvaluationReport>
  extends Pick<FoldResult<Report>, "seconds" | "cpuSeconds" | "report"> {}

/** Figures over the folds of one protocol. */
export interface ProtocolSummary {
  protocol: Protocol;
  accuracy: MeanInterval;
  balancedAccuracy: MeanInterval;
  auc: MeanInterval;
  /** Share of drawn sub-tiles that hit an object, and the share by chance. */
  hitRate: MeanInterval;
  chanceHitRate: MeanInterval;
}

/** Figures over the folds of a target other than classes. */
export interface TargetSummary {
  protocol: Protocol;
  target: OtherTarget;
  /** By name, as in the reports. */
  metrics: Record<string, MeanInterval>;
}

/** Figures over the folds of a protocol. */
export type AnySummary = ProtocolSummary | TargetSummary;

/** A cross-validation, as {@linkcode CROSSVAL_FILE} records it. */
export interface CrossValidationRecord {
  seed: number;
  config: Config;
  /** Machine and engine of the latest call. */
  environment: Record<string, unknown>;
  /** File of the foreground, if one was given. */
  foreground: string | null;
  /** Annotations that are trained on. */
  boxes: unknown;
  /** Images that could not be read, and are in no fold. */
  skipped?: readonly SkippedImage[];
  summaries: readonly AnySummary[];
  /** Folds that are done. */
  results: readonly AnyFold[];
}

/** Options of a cross-validation. */
export interface CrossValidationOptions
  extends Omit<TrainingOptions, "folder" | "resume">, PathChoice {
  /** Folder of the whole; a fold's run is FOLDER/PROTOCOL/fold-N. */
  folder: string;
  classes: readonly string[];
  /** Annotations of the images, to measure attention. */
  rois: RoiSource | undefined;
  /** Annotations to train on, of each fold's training images alone. */
  boxes?: BoxOptions | undefined;
}

/**
 * The tasks in groups that one worker takes as a whole: both protocols of a fold
 * if the second needs no training once the first is done.
 */
export function tasksInTurn(
  tasks: readonly FoldTask[],
  config: Config,
): FoldTask[][] {
  return sharesTraining(config)
    ? [...Map.groupBy(tasks, ({ fold }) => fold).values()]
    : tasks.map((task) => [task]);
}

/**
 * Trains and tests one fold. A fold that is done is only read; one that was cut
 * off continues.
 */
export async function runFold(
  entries: readonly ManifestEntry[],
  task: FoldTask,
  options: CrossValidationOptions,
): Promise<AnyFold> {
  const folder = foldFolder(options.folder, task);
  const done = await readFoldResult(options.folder, task);
  if (done) return done;
  const clock = startClock();
  const { test, ...data } = await withBoxes(
    foldData(entries, task, options),
    options,
  );
  await checkLeaks([...data.train, ...data.validation]);
  const twin = await sameTraining(task, options);
  // Remains of its own training, if that was cut off, are not the result.
  if (twin) await Deno.remove(folder, { recursive: true }).catch(() => {});
  await Deno.mkdir(folder, { recursive: true });
  const sides = foldSides({ test, ...data });
  await writeSplits(join(folder, SPLITS_FILE), sides, options);
  const resume = await exists(join(folder, LAST));
  const earlier = twin?.result ?? await spentOn(folder);
  if (twin) {
    for (const name of [LAST, LOG_FILE]) {
      await Deno.copyFile(join(twin.folder, name), join(folder, name));
    }
  } else {
    const { boxes } = data;
    if (boxes) await checkBoxes(boxes, data.train, options);
    const environment = { ...options.environment, ...boxesRecord(boxes) };
    await trainAsConfigured(data, { ...options, environment, folder, resume });
  }
  const { model, epoch } = await readCheckpoint(folder);
  const { cache, foreground, memory, turn, signal } = options;
  const evaluation = await evaluate(model, test, {
    cache,
    foreground,
    memory,
    turn,
    seed: 0,
    signal,
  });
  const elapsed = clock();
  const teacher = options.config.training.dense
    ? await teacherResult(folder, { ...options, model, test })
    : undefined;
  await disposeModel(model);
  const { classes, rois } = options;
  const result: AnyFold = {
    ...task,
    bestEpoch: epoch,
    seconds: elapsed.seconds + earlier.seconds,
    cpuSeconds: elapsed.cpuSeconds + earlier.cpuSeconds,
    peakBytes: twin ? twin.result.peakBytes : elapsed.peakBytes,
    report: await reportOfTarget(evaluation, {
      target: options.config.target,
      classes,
      rois,
      annotated: annotatedCount(data.boxes),
      seed: 0,
    }),
    ...(teacher && { teacher }),
  };
  await writePredictions(folder, evaluation.images, classes);
  await writeJson(join(folder, RESULT_FILE), result);
  return result;
}

/**
 * What the teacher of a fold says of its test images; nothing if it cannot see
 * all locations of one. Its epochs are those of the log.
 */
async function teacherResult(
  folder: string,
  { model, test, ...options }: CrossValidationOptions & {
    model: Model;
    test: readonly ManifestEntry[];
  },
): Promise<TeacherResult<AnyReport> | undefined> {
  const clock = startClock();
  const images = await evaluateTeacher(model, test, options);
  if (images.length === 0) return undefined;
  const lines = await readLog(join(folder, LOG_FILE));
  const earlier = timeOf(lines.filter(({ type }) => type === "epoch"));
  const { seconds, cpuSeconds } = clock();
  return {
    seconds: seconds + earlier.seconds,
    cpuSeconds: cpuSeconds + earlier.cpuSeconds,
    report: answersReport(images, {
      target: model.config.target,
      classes: model.classes,
      seed: 0,
    }),
  };
}

/** Time of the epochs that a training had done when it was cut off. */
async function spentOn(
  folder: string,
): Promise<Pick<FoldResult, "seconds" | "cpuSeconds">> {
  const file = join(folder, LOG_FILE);
  return timeOf(await exists(file) ? await readLog(file) : []);
}

/** The sum of the times of lines of a log. */
function timeOf(
  lines: readonly LogLine[],
): Pick<FoldResult, "seconds" | "cpuSeconds"> {
  const sum = (time: "seconds" | "cpuSeconds") =>
    lines.reduce((sum, line) => sum + ((line[time] as number) ?? 0), 0);
  return { seconds: sum("seconds"), cpuSeconds: sum("cpuSeconds") };
}

/**
 * True if `held-out` trains exactly as `best-epoch`, which only scores more: no
 * epoch is chosen on validation images, and no score stops the training early.
 */
function sharesTraining({ training }: Config): boolean {
  return training.validation === 0 && training.patience === null;
}

/** The identical training of `best-epoch`, whose last epoch is taken. */
async function sameTraining(
  { protocol, fold }: FoldTask,
  { folder, config }: CrossValidationOptions,
): Promise<{ folder: string; result: AnyFold } | undefined> {
  if (protocol !== "held-out" || !sharesTraining(config)) return;
  const twin = { protocol: "best-epoch", fold } as const;
  const result = await readFoldResult(folder, twin);
  return result && { folder: foldFolder(folder, twin), result };
}

/** Mean, deviation and interval over the folds, protocol by protocol. */
export function summariseFolds(
  results: readonly AnyFold[],
): AnySummary[] {
  return PROTOCOLS.flatMap((protocol): AnySummary[] => {
    const all = results.filter((result) => result.protocol === protocol);
    if (all.length === 0) return [];
    const own = foldsOfClasses(all);
    if (own.length === 0) return [summariseTargets(protocol, all)];
    const figures = own.map(({ report: { metrics, confusion } }) => ({
      confusion,
      accuracy: metrics.accuracy.value!, // undefined of no image alone
      balancedAccuracy: metrics.balancedAccuracy.value!,
      auc: metrics.auc.value,
    }));
    const hits = (share: "drawn" | "chance") =>
      overFolds(
        own.map(({ report }) => report.attention?.[share].value ?? null),
      );
    return [{
      protocol,
      accuracy: foldsAccuracy(figures),
      balancedAccuracy: foldsBalancedAccuracy(figures),
      auc: foldsAuc(figures),
      hitRate: hits("drawn"),
      chanceHitRate: hits("chance"),
    }];
  });
}

/** Means of the metrics of a target other than classes. */
function summariseTargets(
  protocol: Protocol,
  results: readonly AnyFold[],
): TargetSummary {
  const reports = results.map(({ report }) => report as TargetReport);
  const { target, metrics } = reports[0]!;
  return {
    protocol,
    target,
    metrics: Object.fromEntries(
      Object.keys(metrics).map((name) => [
        name,
        meanInterval(reports.map((report) => report.metrics[name]!.value)),
      ]),
    ),
  };
}

/** True for the figures of a target other than classes. */
export function isTargetSummary(summary: AnySummary): summary is TargetSummary {
  return "target" in summary;
}

/** The result of a fold, if it is done. */
export async function readFoldResult(
  folder: string,
  task: FoldTask,
): Promise<AnyFold | undefined> {
  const file = join(foldFolder(folder, task), RESULT_FILE);
  return await exists(file)
    ? JSON.parse(await Deno.readTextFile(file))
    : undefined;
}

/** The results of those folds that are done. */
export async function foldsDone(
  folder: string,
  tasks: readonly FoldTask[],
): Promise<AnyFold[]> {
  const results = await Promise.all(
    tasks.map((task) => readFoldResult(folder, task)),
  );
  return results.filter((result) => result !== undefined);
}

function foldData(
  entries: readonly ManifestEntry[],
  { protocol, fold }: FoldTask,
  { classes, config, seed }: CrossValidationOptions,
): TrainingData & { test: readonly ManifestEntry[] } {
  const { train, test } = foldSplit(entries, fold);
  switch (protocol) {
    case "best-epoch":
      return { classes, train, validation: [], chosenOnTest: test, test };
    case "held-out": {
      const { validation: fraction } = config.training;
      return fraction === 0
        ? { classes, train, validation: [], test }
        : { classes, ...validationPart(train, { fraction, seed }), test };
    }
    default:
      throw new TypeError(`Unknown protocol ${protocol satisfies never}`);
  }
}

type FoldData = ReturnType<typeof foldData>;

/** `data` with the boxes of its training images, if they are asked for. */
async function withBoxes(
  data: FoldData,
  { boxes, config, seed }: CrossValidationOptions,
): Promise<FoldData> {
  if (!boxes) return data;
  checkLearnsFromBoxes(config);
  const { referenceClass } = config;
  const { train, validation, test } = data;
  const others = [...validation, ...test];
  const sides = { train, others, referenceClass, seed };
  return { ...data, boxes: await trainingBoxes(sides, boxes) };
}

/** The images with their sides; those that chose the epoch are no test images. */
function foldSides(
  { train, validation, chosenOnTest, test }: FoldData,
): ManifestEntry[] {
  const on = (split: Split, entries: readonly ManifestEntry[]) =>
    entries.map((entry) => ({ ...entry, split }));
  return [
    ...on("train", train),
    ...on("validation", validation),
    ...on(chosenOnTest ? "validation" : "test", test),
  ];
}
