/**
 * Cross-validates in the training Worker, fold after fold. Those that are done
 * stay in the job's folder, from which another attempt continues. Hosts that
 * share jobs do it in parts: one begins, any trains folds, one records them.
 *
 * @module
 */
import { join } from "node:path";
import { type Manifest, readManifest } from "../../data/manifest.ts";
import { environment } from "../../engine/environment.ts";
import type { Engine } from "../../engine/select.ts";
import type { MeanInterval } from "../../eval/bootstrap.ts";
import { calibrationCurve } from "../../eval/curves.ts";
import { exists } from "../../files.ts";
import { imageCache } from "../../image/image_cache.ts";
import type { OpenOptions } from "../../image/open.ts";
import type { Memory } from "../../memory.ts";
import {
  type CrossValidationFolder,
  readCrossValidation,
} from "../../report/records.ts";
import { scoredImages, summedConfusion } from "../../report/scores.ts";
import type { BoxOptions } from "../../train/boxes.ts";
import {
  type AnyFold,
  type AnySummary,
  CROSSVAL_FILE,
  type CrossValidationRecord,
  FOLDS_FILE,
  isTargetSummary,
  tasksInTurn,
} from "../../train/runs/crossval.ts";
import { type Parallel, runWorkers } from "../../train/parallel/team.ts";
import {
  type FoldChoice,
  type FoldPlan,
  planFolds,
} from "../../train/runs/fold_plan.ts";
import type { FoldTask } from "../../train/runs/fold_task.ts";
import {
  checkFolds,
  FEATURES_FOLDER,
  type FoldSettings,
  recordFolds,
  runFolds,
  startFolds,
} from "../../train/runs/folds_folder.ts";
import { setAside } from "../../train/runs/set_aside.ts";
import { type FeatureCache, featureCache } from "../../train/runs/training.ts";
import type {
  CrossValidatedDocument,
  MeanDocument,
  ProtocolDocument,
} from "../documents.ts";
import type { TrainEvent, TrainTask } from "./train_protocol.ts";

/** Surroundings of a cross-validation. */
export interface CrossValidateOptions {
  engine: Engine;
  manifest: Manifest;
  choice: FoldChoice;
  boxes: BoxOptions | undefined;
  memory: Memory;
  opening: Pick<OpenOptions, "fetch" | "maxPixels">;
  /** Most workers that share a fold; one a core if omitted. */
  workers: number | undefined;
  /** Their module, and how it opens images. */
  workerModule: Pick<Parallel, "module" | "opening">;
  onProgress: (progress: TrainEvent) => void;
  /** Awaited before each step: more urgent work goes first. */
  turn: () => Promise<void>;
  signal: AbortSignal;
}

/** Trains and tests the folds that are not done yet. */
export async function trainFolds(
  task: TrainTask,
  options: CrossValidateOptions,
): Promise<void> {
  const { folder } = task;
  const features = join(folder, FEATURES_FOLDER);
  const begun = await beginFolds(task, options);
  const { entries } = begun.plan;
  await trainTasks(task, {
    ...options,
    ...begun,
    tasks: begun.turns.flat(),
    features: task.config.training.dense ? featureCache(features) : undefined,
    onResult: () => recordFolds(folder, entries, begun.settings),
  });
  await Deno.remove(features, { recursive: true }).catch(() => {}); // none
}

/** Trains and tests some folds of a folder that was begun, on another host. */
export async function trainPiece(
  task: TrainTask,
  { tasks, features, ...options }: CrossValidateOptions & {
    tasks: readonly FoldTask[];
    /** Frozen features, which other pieces share. */
    features: FeatureCache | undefined;
  },
): Promise<void> {
  const { folder, config: { target } } = task;
  const plan = planFolds(options.manifest, options.choice);
  // The table of this host must be that of the one that began.
  await checkFolds(folder, plan, { target, isStarted: true });
  const settings = settingsOf(task, options);
  await trainTasks(task, { ...options, plan, settings, tasks, features });
}

/** Checks the images of all folds and opens each, and begins the folder. */
export async function beginFolds(
  task: TrainTask,
  { manifest, choice, memory, opening, signal, ...options }:
    CrossValidateOptions,
): Promise<{ plan: FoldPlan; settings: FoldSettings; turns: FoldTask[][] }> {
  const { folder, config } = task;
  const plan = planFolds(manifest, choice);
  const settings = settingsOf(task, options);
  const isStarted = await exists(join(folder, CROSSVAL_FILE));
  await checkFolds(folder, plan, { target: config.target, isStarted });
  await openAll(manifest, {
    config,
    folder,
    isStarted,
    memory,
    opening,
    signal,
  });
  await startFolds(folder, plan, { ...settings, absolutePaths: true });
  return { plan, settings, turns: tasksInTurn(plan.tasks, config) };
}

function settingsOf(
  { config, seed }: TrainTask,
  { engine, boxes }: Pick<CrossValidateOptions, "engine" | "boxes">,
): FoldSettings {
  return {
    seed,
    config,
    environment: environment(engine),
    foreground: null,
    boxes: boxes ? { name: boxes.name, limit: null } : null,
  };
}

/** Trains and tests the folds of `tasks`, one after the other. */
async function trainTasks(
  { config, folder }: TrainTask,
  {
    engine,
    plan,
    settings,
    tasks,
    features,
    opening,
    workerModule,
    ...options
  }:
    & Omit<CrossValidateOptions, "choice">
    & {
      plan: FoldPlan;
      settings: FoldSettings;
      tasks: readonly FoldTask[];
      features: FeatureCache | undefined;
      onResult?: () => Promise<void>;
    },
): Promise<void> {
  const { boxes, memory, manifest, onProgress, onResult } = options;
  const { entries } = plan;
  const folds = new Set(tasks.map(({ fold }) => fold)).size;
  const parallel: Parallel = {
    ...workerModule,
    workers: runWorkers(config, {
      images: entries.length,
      wanted: options.workers,
    }),
    imageBytes: memory.imageCacheBytes,
  };
  const cache = imageCache(memory, undefined, opening);
  let done = 0;
  try {
    await runFolds(engine, entries, tasks, {
      ...options,
      ...settings,
      folder,
      absolutePaths: true,
      classes: manifest.classes,
      foreground: undefined,
      rois: boxes?.source,
      boxes,
      featureCache: features,
      cache,
      parallel,
      onProgress({ fold }, progress) {
        onProgress({ ...progress, fold, folds, done, total: tasks.length });
      },
      async onResult() {
        done++;
        await onResult?.();
      },
    });
  } finally {
    cache.close();
  }
}

/** Records the folds that other hosts have trained into the folder. */
export async function recordPieces(folder: string): Promise<void> {
  const file = join(folder, CROSSVAL_FILE);
  const settings: CrossValidationRecord = JSON.parse(
    await Deno.readTextFile(file),
  );
  const { entries } = await readManifest(join(folder, FOLDS_FILE), {
    target: settings.config.target,
    missing: "kept",
  });
  await recordFolds(folder, entries, settings);
}

/**
 * Opens every image, so that one that cannot be read fails the job at its start.
 *
 * @throws {ImageError} With all that cannot be read.
 */
async function openAll(
  { entries }: Manifest,
  { isStarted: resume, memory, opening, ...options }:
    & Pick<TrainTask, "config" | "folder">
    & Pick<CrossValidateOptions, "memory" | "opening" | "signal">
    & { isStarted: boolean },
): Promise<void> {
  const cache = imageCache(memory, 0, opening);
  try {
    await setAside(entries, { ...options, resume, cache });
  } finally {
    cache.close();
  }
}

/** The results of the folds in a folder, as callers see them. */
export async function crossValidated(
  folder: string,
  name: string,
): Promise<CrossValidatedDocument> {
  const { folds, record } = await readCrossValidation(folder);
  const [first] = folds;
  const { classes } = first!.result.report; // two folds at least
  return {
    name,
    classes,
    protocols: record.summaries.map((summary) => {
      const { protocol } = summary;
      const own = folds.filter(({ result }) => result.protocol === protocol);
      return protocolDocument(summary, own, classes);
    }),
  };
}

function protocolDocument(
  summary: AnySummary,
  folds: CrossValidationFolder["folds"],
  classes: readonly string[],
): ProtocolDocument {
  const images = folds.flatMap(({ images }) => images);
  const { protocol } = summary;
  const isOfClasses = !isTargetSummary(summary);
  return {
    protocol,
    images: images.length,
    folds: folds.map(({ result }) => foldDocument(result)),
    means: Object.fromEntries(
      Object.entries(meansIn(summary)).filter(([, { count }]) => count > 0)
        .map(([name, mean]) => [name, meanDocument(mean)]),
    ),
    confusion: summedConfusion(
      folds.map(({ result }) => result.report.confusion ?? []),
    ),
    calibration: isOfClasses
      ? classes.map((name) =>
        calibrationCurve(scoredImages(images, name)).map((point) => [...point])
      )
      : [],
  };
}

/** The means over folds by name. */
function meansIn(summary: AnySummary): Record<string, MeanInterval> {
  if (isTargetSummary(summary)) return summary.metrics;
  const { protocol: _, ...means } = summary;
  return means;
}

function foldDocument({ fold, bestEpoch, seconds, report }: AnyFold) {
  const { images, metrics } = report;
  return { fold, images, bestEpoch, seconds, metrics };
}

function meanDocument(
  { mean, sd, interval, count }: MeanInterval,
): MeanDocument {
  return { mean, sd, interval, count };
}
