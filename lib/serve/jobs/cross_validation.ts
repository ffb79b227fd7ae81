/**
 * Cross-validates in the training Worker, fold after fold. Those that are done
 * stay in the job's folder, from which another attempt continues.
 *
 * @module
 */
import { join } from "node:path";
import type { Manifest } from "../../data/manifest.ts";
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
  isTargetSummary,
  tasksInTurn,
} from "../../train/runs/crossval.ts";
import { type Parallel, runWorkers } from "../../train/parallel/team.ts";
import { type FoldChoice, planFolds } from "../../train/runs/fold_plan.ts";
import {
  checkFolds,
  FEATURES_FOLDER,
  recordFolds,
  runFolds,
  startFolds,
} from "../../train/runs/folds_folder.ts";
import { setAside } from "../../train/runs/set_aside.ts";
import { featureCache } from "../../train/runs/training.ts";
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
  { config, seed, folder }: TrainTask,
  { engine, manifest, choice, opening, workerModule, onProgress, ...options }:
    CrossValidateOptions,
): Promise<void> {
  const { boxes, memory, signal } = options;
  const plan = planFolds(manifest, choice);
  const { entries } = plan;
  const settings = {
    seed,
    config,
    environment: environment(engine),
    foreground: null,
    boxes: boxes ? { name: boxes.name, limit: null } : null,
  };
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
  await startFolds(folder, plan, settings);
  const tasks = tasksInTurn(plan.tasks, config).flat();
  const folds = new Set(tasks.map(({ fold }) => fold)).size;
  const features = join(folder, FEATURES_FOLDER);
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
      classes: manifest.classes,
      foreground: undefined,
      rois: boxes?.source,
      boxes,
      featureCache: config.training.dense ? featureCache(features) : undefined,
      cache,
      parallel,
      onProgress({ fold }, progress) {
        onProgress({ ...progress, fold, folds, done, total: tasks.length });
      },
      async onResult() {
        done++;
        await recordFolds(folder, entries, settings);
      },
    });
  } finally {
    cache.close();
  }
  await Deno.remove(features, { recursive: true }).catch(() => {}); // none
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
