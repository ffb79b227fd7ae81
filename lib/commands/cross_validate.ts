/**
 * `deno task train --folds`: the folds of a cross-validation in parallel.
 *
 * @module
 */
import { join } from "node:path";
import type { PathChoice } from "../data/folds.ts";
import { count } from "../data/table.ts";
import { environment } from "../engine/environment.ts";
import type { MeanInterval } from "../eval/bootstrap.ts";
import { exists } from "../files.ts";
import { imageCache } from "../image/image_cache.ts";
import { Memory, shareOf } from "../memory.ts";
import type { SkippedImage } from "../train/epoch_metrics.ts";
import {
  type AnyFold,
  type AnySummary,
  CROSSVAL_FILE,
  type FoldResult,
  foldsDone,
  foldsOfClasses,
  isTargetSummary,
  type ProtocolSummary,
  summariseFolds,
  tasksInTurn,
} from "../train/runs/crossval.ts";
import type { FoldTask } from "../train/runs/fold_task.ts";
import { checkPlan, planFolds } from "../train/runs/fold_plan.ts";
import { setAside, writeSkipped } from "../train/runs/set_aside.ts";
import {
  checkFolds,
  FEATURES_FOLDER,
  recordFolds,
  startFolds,
} from "../train/runs/folds_folder.ts";
import { runWorkers } from "../train/parallel/team.ts";
import type { NatsPlace } from "../serve/jobs/nats/place.ts";
import { foregroundFile } from "../train/run_log.ts";
import type { FoldNews, FoldOutcome, FoldSetup } from "./fold_worker.ts";
import { reportAtEnd } from "./shared/report.ts";
import { crossValidationStarted } from "./shared/run_folder.ts";
import {
  duration,
  figure,
  heading,
  ProgressLine,
  warnOfDecoding,
} from "./shared/terminal.ts";
import {
  imageCacheBytes,
  skippedText,
  type TrainSetup,
} from "./shared/train_setup.ts";
import { runTasks } from "../workers/pool.ts";
import type { MetricWithInterval } from "../eval/report.ts";
import { type AnyReport, isTargetReport } from "../eval/targets/report.ts";
import { metricName } from "./shared/target_text.ts";

/** A cross-validation of which other hosts do a part, or similar ones. */
export interface HostedOptions extends PathChoice {
  /** Where hosts share frozen features. */
  featuresShared?: NatsPlace | undefined;
}

/** Runs the requested folds and prints a table of them. */
export async function crossValidate(
  setup: TrainSetup & HostedOptions & { folds: number | "manifest" },
): Promise<number> {
  const { folder, config, seed, manifest, engine, absolutePaths, signal } =
    setup;
  const aside = manifest.entries.filter(({ split }) => split === "test");
  if (aside.length > 0) {
    console.error(
      `left out of the folds: ${count(aside.length, "test image")}`,
    );
  }
  const { folds, sites, protocols, onlyFolds } = setup;
  const plan = planFolds(manifest, {
    folds,
    sites,
    seed,
    protocols,
    onlyFolds,
  });
  const { entries, tasks } = plan;
  const inTurn = tasksInTurn(tasks, config);
  const { workers, coresEach } = workersFor(inTurn.length, setup);
  const line = new ProgressLine();
  const isStarted = await crossValidationStarted(folder, setup);
  await checkFolds(folder, plan, { target: config.target, isStarted });
  const skipped = await badImages(setup, line);
  const bad = new Set(skipped.map(({ path }) => path));
  const readable = entries.filter(({ path }) => !bad.has(path));
  const settings = {
    seed,
    config,
    environment: environment(engine),
    foreground: foregroundFile(setup.foreground),
    boxes: setup.boxes ?? null,
    ...(skipped.length > 0 && { skipped }),
  };
  await startFolds(folder, plan, { ...settings, absolutePaths });
  await writeSkipped(folder, skipped);
  checkPlan({ ...plan, entries: readable });
  const said = new Set<string>(); // every worker has the same to say
  const outcomes = await runTasks<
    FoldSetup,
    readonly FoldTask[],
    FoldOutcome,
    FoldNews
  >(
    inTurn,
    {
      module: new URL("./fold_worker.ts", import.meta.url),
      setup: {
        manifest,
        entries: readable,
        classes: manifest.classes,
        folder,
        config,
        seed,
        absolutePaths,
        backend: engine.backend,
        environment: environment(engine),
        workers: coresEach,
        cacheBytes: imageCacheBytes(setup) / workers,
        memoryBytes: shareOf(setup.memory?.bytes, workers * coresEach),
        foreground: setup.foreground,
        skipBad: setup.skipBad,
        boxes: setup.boxes,
        tensorboard: setup.tensorboard,
        featureFolder: config.training.dense
          ? setup.featureCache ?? join(folder, FEATURES_FOLDER)
          : undefined,
        featuresShared: setup.featuresShared,
      },
      workers,
      onProgress([task], { text, isEpoch }) { // of tasks run together the first one trains
        const { fold, protocol } = task!;
        const said = `fold ${fold} ${protocol}  ${text}`;
        if (isEpoch) line.note(said);
        else line.show(said);
      },
      async onResult({ results, remarks }) {
        line.clear();
        for (const remark of remarks) {
          if (!said.has(remark)) console.error(remark);
          said.add(remark);
        }
        for (const result of results) console.error(foldText(result));
        await recordFolds(folder, entries, settings);
      },
      signal,
    },
  ).finally(() => line.clear());
  await recordFolds(folder, entries, settings); // they end in any order
  const results = await foldsDone(folder, tasks); // in the order of the tasks
  warnOfDecoding(
    new Map(outcomes.flatMap(({ warnings }) => warnings)).values(),
  );
  const summaries = summariseFolds(results);
  const failures = results.flatMap(({ report }) => report.failures);
  for (const { image, error } of failures) console.error(`${image}: ${error}`);
  console.log(
    setup.json
      ? JSON.stringify({ run: folder, summaries, results, skipped })
      : crossValidationText(summaries, results),
  );
  await reportAtEnd(folder, signal);
  return failures.length > 0 ? 1 : 0;
}

/** Opens all images, and names those that the folds go without. */
async function badImages(
  { manifest, folder, config, skipBad, signal, memory = new Memory() }:
    TrainSetup,
  line: ProgressLine,
): Promise<SkippedImage[]> {
  const cache = imageCache(memory, 0);
  try {
    const skipped = await setAside(manifest.entries, {
      config,
      cache,
      folder,
      skipBad,
      resume: await exists(join(folder, CROSSVAL_FILE)),
      onOpened: (done, total) => line.count(done, total, "images opened"),
      signal,
    }).finally(() => line.clear());
    for (const image of skipped) console.error(skippedText(image));
    return skipped;
  } finally {
    cache.close();
  }
}

/**
 * Folds side by side, at most one a task, and the cores that each of them uses.
 * All share the memory bound.
 */
function workersFor(
  tasks: number,
  { workers: wanted, engine, config, manifest }: TrainSetup,
): { workers: number; coresEach: number } {
  const cores = wanted ??
    (engine.backend === "webgpu" ? 1 : navigator.hardwareConcurrency);
  const workers = Math.min(cores, tasks);
  const coresEach = runWorkers(config, {
    images: manifest.entries.length,
    wanted: Math.floor(cores / workers),
  });
  return { workers, coresEach };
}

function foldText({ fold, protocol, bestEpoch, seconds, report }: AnyFold) {
  const { annotated } = report;
  const boxes = annotated
    ? `, ${count(annotated.objects, "annotated object")} in ${
      count(annotated.images, "training image")
    }`
    : "";
  return `fold ${fold} ${protocol}: ${
    shownMetrics(report)
  }, epoch ${bestEpoch}, ${duration(seconds)}${boxes}`;
}

/** The metrics of a fold, in words. */
function shownMetrics(report: AnyReport): string {
  const { metrics } = report;
  const shown: [string, MetricWithInterval][] = isTargetReport(report)
    ? Object.entries(metrics)
    : [["accuracy", report.metrics.accuracy], ["auc", report.metrics.auc]];
  return shown.map(([key, { value }]) => `${metricName(key)} ${figure(value)}`)
    .join(", ");
}

function crossValidationText(
  summaries: readonly AnySummary[],
  results: readonly AnyFold[],
): string {
  const ofTargets = summaries.filter(isTargetSummary);
  if (ofTargets.length > 0) {
    return ofTargets.flatMap(({ protocol, metrics }) =>
      Object.entries(metrics).map(([key, mean]) =>
        `${protocol}: ${metricName(key)} ${meanText(mean)}`
      )
    ).join("\n");
  }
  return classesText(
    summaries.filter((one): one is ProtocolSummary => !isTargetSummary(one)),
    foldsOfClasses(results),
  );
}

function classesText(
  summaries: readonly ProtocolSummary[],
  results: readonly FoldResult[],
): string {
  const rows = results.map(({ protocol, fold, bestEpoch, report }) =>
    [
      protocol.padEnd(12),
      String(fold).padStart(4),
      String(bestEpoch).padStart(6),
      figure(report.metrics.accuracy.value).padStart(9),
      figure(report.metrics.auc.value).padStart(7),
      figure(report.attention?.drawn.value).padStart(7),
      figure(report.attention?.chance.value).padStart(7),
    ].join("")
  );
  const totals = summaries.flatMap(({ protocol, accuracy, auc, hitRate }) => [
    `${protocol}: accuracy ${meanText(accuracy)}`,
    `${protocol}: AUC ${meanText(auc)}`,
    `${protocol}: hit rate ${meanText(hitRate)}`,
  ]);
  return [
    heading("protocol    fold epoch accuracy    AUC    hit chance"),
    ...rows,
    "",
    ...totals,
  ].join("\n");
}

/** Mean, standard deviation and 95 % interval over the folds, as text. */
function meanText({ mean, sd, interval, count }: MeanInterval): string {
  if (mean === null) return "undefined in every fold";
  const range = interval
    ? `, 95 % interval ${figure(interval.low)} to ${figure(interval.high)}`
    : "";
  return `${figure(mean)} (deviation ${figure(sd)}${range}, ${count} folds)`;
}
