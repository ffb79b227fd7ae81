/**
 * The folder of a cross-validation: its images with their folds, its settings,
 * and its results as its folds end. The command line and the server both fill it.
 *
 * @module
 */
import { join } from "node:path";
import { type PathChoice, writeSplits } from "../../data/folds.ts";
import { checkLeaks } from "../../data/leaks.ts";
import type { ManifestEntry } from "../../data/manifest.ts";
import type { Engine } from "../../engine/select.ts";
import { writeJson } from "../../files.ts";
import type { EpochDone, Progress } from "../epoch_metrics.ts";
import {
  type AnyFold,
  CROSSVAL_FILE,
  type CrossValidationOptions,
  type CrossValidationRecord,
  FOLDS_FILE,
  foldsDone,
  runFold,
  summariseFolds,
} from "./crossval.ts";
import { checkPlan, type FoldPlan } from "./fold_plan.ts";
import { type FoldTask, foldTasks, PROTOCOLS } from "./fold_task.ts";
import type { TargetName } from "../../target.ts";
import { checkSameEntries, CONFIG_FILE } from "./run_data.ts";

/** Features of frozen networks, which folds share. */
export const FEATURES_FOLDER = "features";

/**
 * Checks the images of a cross-validation in `folder`. It opens none of them.
 *
 * @param isStarted it continues, with the images that it was started with.
 * @throws {DataError} If a picture or a patient is in two folds, or a fold leaves
 *   nothing to learn.
 * @throws {UsageError} If it would continue with other images.
 */
export async function checkFolds(
  folder: string,
  plan: FoldPlan,
  { target, isStarted }: { target: TargetName; isStarted: boolean },
): Promise<void> {
  const { entries, aside } = plan;
  await checkLeaks([...entries, ...aside]);
  checkPlan(plan);
  if (isStarted) {
    await checkSameEntries(join(folder, FOLDS_FILE), entries, target);
  }
}

/** Writes the images and settings of a cross-validation into its folder. */
export async function startFolds(
  folder: string,
  { entries }: FoldPlan,
  settings: FoldSettings & PathChoice,
): Promise<void> {
  await Deno.mkdir(folder, { recursive: true });
  await writeSplits(join(folder, FOLDS_FILE), entries, settings);
  await writeJson(join(folder, CONFIG_FILE), settings.config);
  await recordFolds(folder, entries, settings);
}

/** The settings that a cross-validation is recorded with. */
export type FoldSettings = Omit<CrossValidationRecord, "summaries" | "results">;

/** Records the folds that are done, those of earlier calls, too. */
export async function recordFolds(
  folder: string,
  entries: readonly ManifestEntry[],
  settings: FoldSettings,
): Promise<void> {
  const everything = foldTasks(entries, { protocols: PROTOCOLS });
  const results = await foldsDone(folder, everything);
  const summaries = summariseFolds(results);
  const { seed, config, environment, foreground, boxes, skipped } = settings;
  const record: CrossValidationRecord = {
    seed,
    config,
    environment,
    foreground,
    boxes,
    ...(skipped && { skipped }),
    summaries,
    results,
  };
  await writeJson(join(folder, CROSSVAL_FILE), record);
}

/** Options of {@linkcode runFolds}. */
export interface RunFoldsOptions
  extends Omit<CrossValidationOptions, "onProgress" | "onEpoch"> {
  onProgress?: (task: FoldTask, progress: Progress) => void;
  onEpoch?: (task: FoldTask, done: EpochDone) => void | Promise<void>;
  /** Awaited after each fold. */
  onResult?: (result: AnyFold) => void | Promise<void>;
}

/**
 * Trains and tests folds one after the other.
 *
 * @throws {EngineError} If the engine was lost.
 */
export async function runFolds(
  engine: Engine,
  entries: readonly ManifestEntry[],
  tasks: readonly FoldTask[],
  { onProgress, onEpoch, onResult, ...options }: RunFoldsOptions,
): Promise<AnyFold[]> {
  const results: AnyFold[] = [];
  for (const task of tasks) {
    const result = await engine.whileAlive(() =>
      runFold(entries, task, {
        ...options,
        onProgress(progress) {
          engine.assertAlive(); // before weights of a failed engine are saved
          onProgress?.(task, progress);
        },
        onEpoch: (done) => onEpoch?.(task, done),
      })
    );
    results.push(result);
    await onResult?.(result);
  }
  return results;
}
