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
import {
  makeFolds,
  splitEntries,
  validationPart,
  writeSplits,
} from "../data/folds.ts";
import { readRegions } from "../data/regions.ts";
import type { Engine } from "../engine/select.ts";
import { DataError, UsageError } from "../errors.ts";
import { writeFileAtomically } from "../files.ts";
import type { MeanInterval } from "../eval/bootstrap.ts";
import { ImageCache } from "../image/cache.ts";
import { BEST, LAST } from "../model/checkpoint.ts";
import type { Config } from "../model/config.ts";
import {
  type CrossValidationOptions,
  type FoldResult,
  foldTasks,
  type Protocol,
  PROTOCOLS,
  type ProtocolSummary,
  runFold,
  summariseFolds,
} from "../train/crossval.ts";
import {
  type Progress,
  train,
  type TrainingData,
  type TrainResult,
} from "../train/trainer.ts";
import { CONFIG_FLAGS, CONFIG_USAGE, configFrom } from "./config.ts";
import { environment, megabytes, peakMemoryBytes } from "./environment.ts";
import { Flags } from "./flags.ts";
import {
  announceEngine,
  duration,
  figure,
  interruptSignal,
  ProgressLine,
} from "./terminal.ts";

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
  --backend NAME     auto, webgpu or wasm (auto)
  --resume           go on from RUN's last checkpoint
  --json             print the result as JSON`;

// Decoded images kept between epochs.
const CACHE_BYTES = 2 ** 30;
const DEFAULT_TEST = 0.2;

/** What all kinds of runs need. */
interface Setup {
  folder: string;
  config: Config;
  seed: number;
  engine: Engine;
  manifest: Manifest;
  flags: Flags;
  signal: AbortSignal;
}

/**
 * Trains; prints where the run is and what it came to.
 *
 * @throws {UsageError} If a flag is wrong.
 */
export async function run(argv: string[]): Promise<number> {
  const flags = new Flags(argv, {
    ...CONFIG_FLAGS,
    data: { type: "string" },
    out: { type: "string" },
    seed: { type: "string" },
    test: { type: "string" },
    folds: { type: "string" },
    fold: { type: "string", multiple: true },
    protocol: { type: "string" },
    backend: { type: "string" },
    resume: { type: "boolean" },
    json: { type: "boolean" },
  });
  const data = flags.required("data", "MANIFEST");
  const folder = flags.required("out", "RUN");
  const resume = flags.has("resume");
  const folds = flags.text("folds");
  const config = await configFrom(flags);
  if (folds === undefined) await checkFolder(folder, resume);
  const manifest = await readManifest(data);
  checkReference(config, manifest);
  const engine = await announceEngine(flags.backend());
  const setup: Setup = {
    folder,
    config,
    seed: flags.integer("seed") ?? 0,
    engine,
    manifest,
    flags,
    signal: interruptSignal(),
  };
  await (folds === undefined ? trainOnce(setup) : crossValidate(setup, folds));
  console.error(`peak memory: ${megabytes(peakMemoryBytes())}`);
  return 0;
}

/** A run is never overwritten, and only a run can be resumed. */
async function checkFolder(folder: string, resume: boolean): Promise<void> {
  const started = await Deno.stat(join(folder, LAST))
    .then(() => true, () => false);
  if (started && !resume) {
    throw new UsageError(
      `Cannot start in ${folder} as it holds a run: add --resume to go on with it, or give another --out`,
    );
  }
  if (!started && resume) {
    throw new UsageError(
      `Cannot resume ${folder}: it holds no ${LAST}`,
    );
  }
}

function checkReference(
  { referenceClass }: Config,
  { classes, path }: Manifest,
) {
  if (classes.length < 2) {
    throw new DataError(
      `Cannot train on ${path}: all its images have the label "${classes[0]}"`,
    );
  }
  if (referenceClass === null || classes.includes(referenceClass)) return;
  throw new UsageError(
    `Cannot use the reference class "${referenceClass}" of the configuration: the labels of ${path} are ${
      classes.join(", ")
    }; name one of them with --set referenceClass=NAME, or none with --set referenceClass=null`,
  );
}

async function trainOnce(setup: Setup): Promise<void> {
  const { folder, config, seed, engine, flags, signal } = setup;
  const data = await splitData(setup);
  const line = new ProgressLine();
  console.error(
    `${data.train.length} images to train on, ${data.validation.length} for validation`,
  );
  await Deno.mkdir(folder, { recursive: true });
  await writeFileAtomically(
    join(folder, "config.json"),
    `${JSON.stringify(config, null, 2)}\n`,
  );
  const cache = new ImageCache(CACHE_BYTES);
  try {
    const result = await train(data, {
      folder,
      config,
      seed,
      cache,
      resume: flags.has("resume"),
      environment: environment(engine),
      onProgress: (progress) => line.show(progressText(progress)),
      signal,
    });
    line.clear();
    engine.assertAlive();
    printResult(setup, result);
  } finally {
    line.clear();
    cache.close();
  }
}

/** The manifest's own split, or one made here and written into the run. */
async function splitData(
  { manifest, config, seed, folder, flags }: Setup,
): Promise<TrainingData> {
  const { classes } = manifest;
  const { validation: fraction } = config.training;
  const hasSplit = manifest.entries.some(({ split }) => split !== undefined);
  const entries = hasSplit ? manifest.entries : splitEntries(manifest.entries, {
    seed,
    validation: fraction,
    test: flags.fraction("test") ?? DEFAULT_TEST,
  });
  await checkLeaks(entries);
  let sides = {
    train: entries.filter(({ split }) => split === "train"),
    validation: entries.filter(({ split }) => split === "validation"),
  };
  if (sides.train.length === 0) {
    throw new DataError(
      `Cannot train on ${manifest.path}: no image has the split "train"`,
    );
  }
  if (sides.validation.length === 0 && fraction > 0) {
    sides = validationPart(sides.train, { fraction, seed });
  }
  const used: ManifestEntry[] = [
    ...sides.train.map((entry) => ({ ...entry, split: "train" as const })),
    ...sides.validation.map((entry) => ({
      ...entry,
      split: "validation" as const,
    })),
    ...entries.filter(({ split }) => split === "test"),
  ];
  await Deno.mkdir(folder, { recursive: true });
  await writeSplits(join(folder, "splits.csv"), used);
  return { classes, ...sides };
}

function progressText(p: Progress): string {
  return `epoch ${p.epoch}/${p.epochs} step ${p.step}/${p.steps}  loss ${
    figure(p.loss)
  }  accuracy ${figure(p.accuracy)}  ${
    p.imagesPerSecond.toFixed(1)
  } images/s  ${duration(p.secondsLeft)} left`;
}

function printResult({ folder, flags }: Setup, result: TrainResult): void {
  const peakBytes = peakMemoryBytes();
  if (flags.has("json")) {
    console.log(JSON.stringify({ run: folder, ...result, peakBytes }));
    return;
  }
  console.log(
    `${folder}: ${result.epochs} epochs done, the best is ${result.bestEpoch} (${BEST})`,
  );
}

async function crossValidate(setup: Setup, folds: string): Promise<void> {
  const { folder, config, seed, manifest, engine, flags, signal } = setup;
  const entries = foldEntries(setup, folds);
  await checkLeaks(entries);
  await Deno.mkdir(folder, { recursive: true });
  await writeSplits(join(folder, "folds.csv"), entries);
  await writeFileAtomically(
    join(folder, "config.json"),
    `${JSON.stringify(config, null, 2)}\n`,
  );
  const tasks = foldTasks(entries, {
    protocols: protocolsOf(flags),
    folds: onlyFolds(flags),
  });
  const line = new ProgressLine();
  const cache = new ImageCache(CACHE_BYTES);
  const results: FoldResult[] = [];
  try {
    for (const task of tasks) {
      const options: CrossValidationOptions = {
        folder,
        classes: manifest.classes,
        regions: await readRegions(manifest),
        config,
        seed,
        cache,
        environment: environment(engine),
        onProgress: (progress) =>
          line.show(
            `fold ${task.fold} ${task.protocol}  ${progressText(progress)}`,
          ),
        signal,
      };
      results.push(await runFold(entries, task, options));
      engine.assertAlive();
      line.clear();
      console.error(foldText(results.at(-1)!));
    }
  } finally {
    line.clear();
    cache.close();
  }
  const summaries = summariseFolds(results);
  await writeFileAtomically(
    join(folder, "crossval.json"),
    `${JSON.stringify({ seed, config, summaries, results }, null, 2)}\n`,
  );
  console.log(
    flags.has("json")
      ? JSON.stringify({ run: folder, summaries, results })
      : crossValidationText(summaries, results),
  );
}

function foldEntries(
  { manifest, seed }: Setup,
  folds: string,
): ManifestEntry[] {
  if (folds === "manifest") return manifest.entries;
  const count = Number(folds);
  if (!/^\d+$/.test(folds) || count < 2) {
    throw new UsageError(
      `Cannot take --folds as it must be "manifest" or an integer from 2 on: current value is "${folds}"`,
    );
  }
  return makeFolds(manifest.entries, { folds: count, seed });
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
  return folds.length > 0 ? folds : undefined;
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
