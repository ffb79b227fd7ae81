/**
 * `deno task train`: train a network on a manifest, or cross-validate it.
 *
 * @module
 */
import { join } from "node:path";
import {
  checkLeaks,
  type Manifest,
  type ManifestEntry,
  readManifest,
} from "../data/manifest.ts";
import { foldSplit, makeFolds, writeSplits } from "../data/folds.ts";
import { count } from "../data/table.ts";
import type { BackendChoice, Engine } from "../engine/select.ts";
import { DataError, UsageError } from "../errors.ts";
import { writeJson } from "../files.ts";
import type { MeanInterval } from "../eval/bootstrap.ts";
import { imageCache } from "../image/cache.ts";
import type { ForegroundChoice } from "../image/tissue.ts";
import { Memory } from "../memory.ts";
import { BEST } from "../model/checkpoint.ts";
import type { Config } from "../model/config.ts";
import {
  type FoldResult,
  type FoldTask,
  foldTasks,
  type Protocol,
  PROTOCOLS,
  type ProtocolSummary,
  summariseFolds,
} from "../train/crossval.ts";
import {
  checkReference,
  checkSameEntries,
  CONFIG_FILE,
  DEFAULT_TEST,
  runData,
} from "../train/run_data.ts";
import { type Progress, train, type TrainResult } from "../train/trainer.ts";
import { CONFIG_FLAGS, CONFIG_USAGE, configFrom } from "./config.ts";
import { environment } from "../engine/environment.ts";
import { megabytes, peakMemoryBytes } from "./process_memory.ts";
import { Flags, LOOK_FLAGS, LOOK_USAGE } from "./flags.ts";
import type { FoldOutcome, FoldSetup } from "./fold_worker.ts";
import {
  checkSameModel,
  CROSSVAL_FILE,
  crossValidationStarted,
  FOLDS_FILE,
  runStarted,
  seedOf,
} from "./run_folder.ts";
import {
  announceEngine,
  duration,
  figure,
  interruptSignal,
  ProgressLine,
  warnOfDecoding,
} from "./terminal.ts";
import { runTasks } from "./worker_pool.ts";

export const summary = "Train a network, or cross-validate it";

export const usage = `deno task train --data MANIFEST --out RUN

  --data MANIFEST    CSV: image,label[,split][,fold][,group][,mpp][,rois]
  --out RUN          folder of the run: log, configuration, checkpoints
${CONFIG_USAGE}
  --seed N           seed of everything random (0)
  --test SHARE       share of test images where the manifest has no split (0.2)
  --folds N|manifest cross-validate: N folds made here, or the manifest's
  --fold N           only this fold; may be repeated
  --protocol NAME    best-epoch, held-out or both (both)
  --workers N        folds side by side (one a core)
${LOOK_USAGE}
  --backend NAME     auto, webgpu or wasm (auto)
  --resume           go on from RUN's last checkpoint
  --json             print the result as JSON`;

// Decoded images kept between epochs where no bound is given.
const CACHE_BYTES = 2 ** 30;
const MAX_FOLDS = 1000;

/** What the command line asks for. */
interface Request {
  data: string;
  folder: string;
  config: Config;
  seed: number;
  /** Share of test images where the manifest has no split. */
  test: number;
  /** Cross-validate: so many folds, or the manifest's. */
  folds: number | "manifest" | undefined;
  onlyFolds: number[] | undefined;
  protocols: readonly Protocol[];
  workers: number;
  foreground: ForegroundChoice | undefined;
  /** The bound on tensors and caches; the default's, and a large cache of images. */
  memory: Memory | undefined;
  backend: BackendChoice;
  resume: boolean;
  json: boolean;
}

/** What all kinds of runs need. */
interface Setup extends Request {
  engine: Engine;
  manifest: Manifest;
  signal: AbortSignal;
}

/**
 * Trains; prints where the run is and what it came to.
 *
 * @throws {UsageError} If a flag is wrong.
 */
export async function run(argv: string[]): Promise<number> {
  const request = await readRequest(argv);
  const { data, config, folds } = request;
  const manifest = await readManifest(data);
  checkReference(config, manifest);
  const engine = await announceEngine(request.backend);
  const signal = interruptSignal(
    folds === undefined
      ? "Stopped: --resume goes on from the last whole epoch"
      : "Stopped: the same command goes on",
  );
  const setup: Setup = { ...request, engine, manifest, signal };
  const code =
    await (folds === undefined ? trainOnce(setup) : crossValidate(setup));
  console.error(`peak memory: ${megabytes(peakMemoryBytes())}`);
  return code;
}

/** Reads and checks all flags, before anything is started. */
async function readRequest(argv: string[]): Promise<Request> {
  const flags = new Flags(argv, {
    ...CONFIG_FLAGS,
    data: { type: "string" },
    out: { type: "string" },
    seed: { type: "string" },
    test: { type: "string" },
    folds: { type: "string" },
    fold: { type: "string", multiple: true },
    protocol: { type: "string" },
    workers: { type: "string" },
    ...LOOK_FLAGS,
    backend: { type: "string" },
    resume: { type: "boolean" },
    json: { type: "boolean" },
  });
  const data = flags.required("data", "MANIFEST");
  const folder = flags.required("out", "RUN");
  const seed = flags.integer("seed");
  const folds = foldsOf(flags);
  const request = {
    data,
    folder,
    test: flags.fraction("test") ?? DEFAULT_TEST,
    folds,
    onlyFolds: onlyFolds(flags),
    protocols: protocolsOf(flags),
    workers: flags.workers() ?? navigator.hardwareConcurrency,
    foreground: await flags.foreground(),
    memory: flags.memory(),
    backend: flags.backend(),
    resume: flags.has("resume"),
    json: flags.has("json"),
  };
  for (const name of ["fold", "protocol", "workers"]) {
    if (folds === undefined && flags.has(name)) {
      throw new UsageError(`Cannot take --${name} without --folds`);
    }
  }
  // A cross-validation goes on by itself.
  if (folds === undefined && await runStarted(folder, request.resume)) {
    const config = await configFrom(flags, join(folder, CONFIG_FILE));
    await checkSameModel(folder, config);
    return { ...request, config, seed: await seedOf(folder, seed) };
  }
  return { ...request, config: await configFrom(flags), seed: seed ?? 0 };
}

async function trainOnce(setup: Setup): Promise<number> {
  const { folder, config, seed, engine, resume, signal } = setup;
  const data = await runData(setup);
  const line = new ProgressLine();
  console.error(
    `${data.train.length} images to train on, ${data.validation.length} for validation; preset ${config.preset}, ${
      count(config.training.epochs, "epoch")
    }, seed ${seed}`,
  );
  await writeJson(join(folder, CONFIG_FILE), config);
  const { memory = new Memory() } = setup;
  const cache = imageCache(memory, imageCacheBytes(setup));
  try {
    const result = await train(data, {
      folder,
      config,
      seed,
      cache,
      memory,
      foreground: setup.foreground,
      resume,
      environment: environment(engine),
      onProgress(progress) {
        engine.assertAlive(); // before weights of a failed engine are saved
        line.show(progressText(progress));
      },
      signal,
    });
    line.clear();
    engine.assertAlive();
    warnOfDecoding(cache.warnings.values());
    printResult(setup, result);
    return 0;
  } finally {
    line.clear();
    cache.close();
  }
}

/** Bytes of decoded images that are kept between epochs. */
function imageCacheBytes({ memory }: Setup): number {
  return memory?.imageCacheBytes ?? CACHE_BYTES;
}

function progressText(p: Progress): string {
  return `epoch ${p.epoch}/${p.epochs} step ${p.step}/${p.steps}  loss ${
    figure(p.loss)
  }  accuracy ${figure(p.accuracy)}  ${
    p.imagesPerSecond.toFixed(1)
  } images/s  ${duration(p.secondsLeft)} left`;
}

function printResult({ folder, json }: Setup, result: TrainResult): void {
  const peakBytes = peakMemoryBytes();
  if (json) {
    console.log(JSON.stringify({ run: folder, ...result, peakBytes }));
    return;
  }
  const { epochs, bestEpoch, last = {} } = result;
  const { loss, accuracy, ...others } = last;
  const done = count(epochs, "epoch");
  console.log(`${folder}: ${done} done, the best is ${bestEpoch} (${BEST})`);
  if (loss === undefined) return; // no epoch
  const figures = [`loss ${figure(loss)}`, `accuracy ${figure(accuracy)}`];
  if (others.validationLoss !== undefined) {
    figures.push(
      `validation loss ${figure(others.validationLoss)}`,
      `accuracy ${figure(others.validationAccuracy)}`,
      `AUC ${figure(others.validationAuc)}`,
    );
  }
  console.log(`  last epoch: ${figures.join(", ")}`);
}

async function crossValidate(setup: Setup): Promise<number> {
  const { folder, config, seed, manifest, engine, signal } = setup;
  const entries = foldEntries(setup);
  await checkLeaks(entries);
  const tasks = foldTasks(entries, {
    protocols: setup.protocols,
    folds: setup.onlyFolds,
  });
  if (tasks.length === 0) {
    throw new DataError(
      `Cannot take the folds of ${manifest.path}: it has no column "fold"`,
    );
  }
  for (const { fold } of tasks) foldSplit(entries, fold); // is there
  const file = join(folder, FOLDS_FILE);
  if (await crossValidationStarted(folder, { config, seed })) {
    await checkSameEntries(file, entries);
  }
  await Deno.mkdir(folder, { recursive: true });
  await writeSplits(file, entries);
  await writeJson(join(folder, CONFIG_FILE), config);
  const results: FoldResult[] = [];
  const save = () => {
    const summaries = summariseFolds(results);
    const record = { seed, config, summaries, results };
    return writeJson(join(folder, CROSSVAL_FILE), record);
  };
  await save();
  const line = new ProgressLine();
  const ordered = await runTasks<FoldSetup, FoldTask, FoldOutcome, Progress>(
    tasks,
    {
      module: new URL("./fold_worker.ts", import.meta.url),
      setup: {
        manifest: manifest.path,
        entries,
        classes: manifest.classes,
        folder,
        config,
        seed,
        backend: engine.backend,
        environment: environment(engine),
        cacheBytes: imageCacheBytes(setup) / setup.workers,
        memoryBytes: (setup.memory ?? new Memory()).bytes / setup.workers,
        foreground: setup.foreground,
      },
      workers: setup.workers,
      onProgress: ({ fold, protocol }, progress) =>
        line.show(`fold ${fold} ${protocol}  ${progressText(progress)}`),
      async onResult({ result }) {
        line.clear();
        console.error(foldText(result));
        results.push(result);
        await save();
      },
      signal,
    },
  ).finally(() => line.clear());
  results.splice(0, results.length, ...ordered.map(({ result }) => result));
  warnOfDecoding(
    new Map(ordered.flatMap(({ warnings }) => warnings)).values(),
  );
  await save();
  const summaries = summariseFolds(results);
  const failures = results.flatMap(({ report }) => report.failures);
  for (const { image, error } of failures) console.error(`${image}: ${error}`);
  console.log(
    setup.json
      ? JSON.stringify({
        run: folder,
        summaries,
        results,
        peakBytes: peakMemoryBytes(),
      })
      : crossValidationText(summaries, results),
  );
  return failures.length > 0 ? 1 : 0;
}

function foldEntries({ manifest, folds, seed }: Setup): ManifestEntry[] {
  return typeof folds === "number"
    ? makeFolds(manifest.entries, { folds, seed })
    : manifest.entries;
}

function foldsOf(flags: Flags): number | "manifest" | undefined {
  const text = flags.text("folds");
  if (text === undefined || text === "manifest") return text;
  const count = Number(text);
  if (/^\d+$/.test(text) && count >= 2 && count <= MAX_FOLDS) return count;
  throw new UsageError(
    `Cannot take --folds as it must be "manifest" or an integer in [2, ${MAX_FOLDS}]: current value is "${text}"`,
  );
}

function protocolsOf(flags: Flags): readonly Protocol[] {
  const wanted = flags.oneOf("protocol", [...PROTOCOLS, "both"] as const);
  return wanted === undefined || wanted === "both" ? PROTOCOLS : [wanted];
}

function onlyFolds(flags: Flags): number[] | undefined {
  const folds = flags.texts("fold").map((text) => {
    if (/^\d+$/.test(text)) return Number(text);
    throw new UsageError(
      `Cannot take --fold as it must be a number: current value is "${text}"`,
    );
  });
  return folds.length > 0 ? [...new Set(folds)] : undefined;
}

function foldText({ fold, protocol, bestEpoch, seconds, report }: FoldResult) {
  const { accuracy, auc } = report.metrics;
  return `fold ${fold} ${protocol}: accuracy ${figure(accuracy.value)}, AUC ${
    figure(auc.value)
  }, epoch ${bestEpoch}, ${duration(seconds)}`;
}

function crossValidationText(
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
    "protocol    fold epoch accuracy    AUC    hit chance",
    ...rows,
    "",
    ...totals,
  ].join("\n");
}

/** Mean, deviation and 95 % interval over the folds. */
function meanText({ mean, sd, interval, count }: MeanInterval): string {
  if (mean === null) return "undefined in every fold";
  const range = interval
    ? `, 95 % interval ${figure(interval.low)} to ${figure(interval.high)}`
    : "";
  return `${figure(mean)} (deviation ${figure(sd)}${range}, ${count} folds)`;
}
