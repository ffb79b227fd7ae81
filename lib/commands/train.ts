/**
 * `deno task train`: train a network on a manifest, or cross-validate it.
 *
 * @module
 */
import { join } from "node:path";
import { readManifest } from "../data/manifest.ts";
import { count } from "../data/table.ts";
import { environment } from "../engine/environment.ts";
import { UsageError } from "../errors.ts";
import { imageCache } from "../image/cache.ts";
import { Memory, peakMemoryBytes } from "../memory.ts";
import { BEST } from "../model/checkpoint.ts";
import { type Protocol, PROTOCOLS } from "../train/crossval.ts";
import {
  checkReference,
  CONFIG_FILE,
  DEFAULT_TEST,
  runData,
} from "../train/run_data.ts";
import {
  train,
  type TrainingData,
  type TrainResult,
} from "../train/trainer.ts";
import { CONFIG_FLAGS, CONFIG_USAGE, configFrom } from "./config.ts";
import { crossValidate } from "./cross_validate.ts";
import { Flags, LOOK_FLAGS, LOOK_USAGE } from "./flags.ts";
import {
  changedTraining,
  checkSameModel,
  foregroundFile,
  runStarted,
  seedOf,
} from "./run_folder.ts";
import {
  announceEngine,
  figure,
  interruptSignal,
  megabytes,
  ProgressLine,
  warnOfDecoding,
} from "./terminal.ts";
import {
  imageCacheBytes,
  progressText,
  type TrainRequest,
  type TrainSetup,
} from "./train_setup.ts";

export const summary = "Train a network, or cross-validate it";

export const usage = `deno task train --data MANIFEST --out RUN

  --data MANIFEST    CSV: image,label[,split][,fold][,group][,mpp][,rois]
  --out RUN          folder of the run: log, configuration, checkpoints
${CONFIG_USAGE}
  --seed N           seed of everything random (0)
  --test SHARE       share of test images where the manifest has no split (0.2)
  --folds N|manifest cross-validate: N folds made here, or the manifest's, of
                     all images but those of the split test
  --fold N           only this fold; may be repeated
  --protocol NAME    best-epoch, held-out or both (both)
  --workers N        folds side by side (one a core; one on webgpu)
${LOOK_USAGE};
                     without it training keeps 1 GiB of decoded images, too
  --backend NAME     auto, webgpu or wasm (auto)
  --resume           go on from RUN's last checkpoint
  --json             print the result as JSON`;

const MAX_FOLDS = 1000;
// Of more classes the first ones are told.
const CLASSES_SHOWN = 12;

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
  const setup: TrainSetup = { ...request, engine, manifest, signal };
  const code =
    await (folds === undefined ? trainOnce(setup) : crossValidate(setup));
  console.error(`peak memory: ${megabytes(peakMemoryBytes())}`);
  return code;
}

/** Reads and checks all flags, before anything is started. */
async function readRequest(argv: string[]): Promise<TrainRequest> {
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
    workers: flags.workers(),
    foreground: await flags.foreground(),
    memory: flags.memory(),
    backend: flags.backend(),
    resume: flags.has("resume"),
    json: flags.has("json"),
  };
  checkTogether(flags);
  // A cross-validation goes on by itself.
  if (folds === undefined && await runStarted(folder, request.resume)) {
    const config = await configFrom(flags, join(folder, CONFIG_FILE));
    await checkSameModel(folder, config);
    return {
      ...request,
      config,
      seed: await seedOf(folder, { ...request, seed }),
    };
  }
  return { ...request, config: await configFrom(flags), seed: seed ?? 0 };
}

async function trainOnce(setup: TrainSetup): Promise<number> {
  const { folder, config, seed, engine, resume, signal } = setup;
  const changed = resume ? await changedTraining(folder, config) : [];
  const data = await runData(setup);
  const line = new ProgressLine();
  console.error(
    `${data.train.length} images to train on (${
      classCounts(data)
    }), ${data.validation.length} for validation; preset ${config.preset}, ${
      count(config.training.epochs, "epoch")
    }, seed ${seed}`,
  );
  if (changed.length > 0) console.error(`changed: ${changed.join(", ")}`);
  const { memory = new Memory() } = setup;
  const cache = imageCache(memory, imageCacheBytes(setup));
  try {
    const result = await engine.whileAlive(() =>
      train(data, {
        folder,
        config,
        seed,
        cache,
        memory,
        foreground: setup.foreground,
        resume,
        environment: {
          ...environment(engine),
          foreground: foregroundFile(setup.foreground),
        },
        onProgress(progress) {
          engine.assertAlive(); // before weights of a failed engine are saved
          line.show(progressText(progress));
        },
        signal,
      })
    );
    line.clear();
    warnOfDecoding(cache.warnings.values());
    printResult(setup, result);
    return 0;
  } finally {
    line.clear();
    cache.close();
  }
}

/** Training images of each class, so that a label with a typo shows. */
function classCounts({ classes, train }: TrainingData): string {
  const counts = classes.slice(0, CLASSES_SHOWN).map((name, index) =>
    `${name} ${train.filter(({ classIndex }) => classIndex === index).length}`
  );
  const more = classes.length - counts.length;
  return [...counts, ...(more > 0 ? [`${more} more`] : [])].join(", ");
}

function printResult({ folder, json }: TrainSetup, result: TrainResult): void {
  const peakBytes = peakMemoryBytes();
  if (json) {
    console.log(JSON.stringify({ run: folder, ...result, peakBytes }));
    return;
  }
  const { epochs, last = {} } = result;
  const { loss, accuracy, ...others } = last;
  const done = count(epochs, "epoch");
  console.log(`${folder}: ${done} done, ${bestText(result)}`);
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

/** What the checkpoint is that is for use. */
function bestText({ epochs, bestEpoch, last }: TrainResult): string {
  if (epochs === 0) return `the start is kept as ${BEST}`;
  return last?.validationLoss === undefined
    ? `the last is kept as ${BEST}: no validation images choose one`
    : `the best is ${bestEpoch} (${BEST})`;
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

/** Refuses what would do nothing beside --folds, or without it. */
function checkTogether(flags: Flags): void {
  if (!flags.has("folds")) {
    const unused = ["fold", "protocol", "workers"]
      .find((name) => flags.has(name));
    if (unused === undefined) return;
    throw new UsageError(`Cannot take --${unused} without --folds`);
  }
  if (flags.has("test")) {
    throw new UsageError(
      "Cannot take --test with --folds: every fold is tested in its turn; leave it out",
    );
  }
  if (flags.has("resume")) {
    throw new UsageError(
      "Cannot take --resume with --folds: the same command goes on by itself; leave it out",
    );
  }
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
