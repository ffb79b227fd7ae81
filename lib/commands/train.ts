/**
 * `deno task train`: train a network on a manifest, or cross-validate it.
 *
 * @module
 */
import { basename, join, resolve } from "node:path";
import { labelReader } from "../data/goals.ts";
import { MAX_FOLDS, SITE_CHOICES } from "../data/folds.ts";
import { count } from "../data/table.ts";
import type { TargetName } from "../target.ts";
import { UsageError } from "../errors.ts";
import { Memory, peakMemoryBytes, shareOf } from "../memory.ts";
import { BEST } from "../model/checkpoint.ts";
import { PROTOCOL_CHOICES, protocolsOf } from "../train/runs/fold_task.ts";
import { type TrainedRun, trainRun } from "../train/runs/run.ts";
import { boxesText, checkLearnsFromBoxes } from "../train/boxes.ts";
import {
  checkReference,
  CONFIG_FILE,
  DEFAULT_TEST,
} from "../train/runs/run_data.ts";
import { featureCache } from "../train/runs/training.ts";
import { EventFile } from "../train/event_file.ts";
import type { BackendChoice } from "../engine/select.ts";
import { startTrainingEngine } from "../train/engine_choice.ts";
import { assertShareable } from "../train/hosts/crew.ts";
import { runWorkers } from "../train/parallel/team.ts";
import type { NatsPlace } from "../serve/jobs/nats/place.ts";
import { MlflowRun } from "../train/mlflow.ts";
import type { TrainingData, TrainResult } from "../train/trainer.ts";
import { BOX_FLAGS, boxChoice, boxOptions } from "./shared/boxes.ts";
import {
  COMMON_FLAGS,
  parseForeground,
  SHARED_MEMORY,
  workers,
} from "./shared/common_flags.ts";
import { CONFIG_FLAGS, configFrom } from "./shared/config_flags.ts";
import { crossValidate, type HostedOptions } from "./cross_validate.ts";
import {
  type FlagValues,
  fraction,
  integer,
  oneOf,
  parseFlags,
  parsing,
  required,
  text,
  texts,
  toggle,
  type Usage,
} from "./shared/flags.ts";
import { JOBS_FLAGS, jobsPlace } from "./shared/jobs_flags.ts";
import { reportAtEnd } from "./shared/report.ts";
import {
  changedTraining,
  checkSameModel,
  runStarted,
  seedOf,
} from "./shared/run_folder.ts";
import {
  LABEL_FLAGS,
  readLabelled,
  SITE_FLAGS,
  TABLE_FLAGS,
} from "./shared/tables.ts";
import {
  announceEngine,
  figure,
  interruptSignal,
  megabytes,
  ProgressLine,
  warnOfDecoding,
} from "./shared/terminal.ts";
import {
  epochText,
  figuresText,
  imageCacheBytes,
  progressText,
  skippedText,
  type TrainArguments,
  type TrainSetup,
} from "./shared/train_setup.ts";

export const summary = "Train a network, or cross-validate it";

// Most classes that are listed.
const CLASSES_SHOWN = 12;

const FLAGS = {
  data: required(
    text(
      "MANIFEST",
      "table: image,label[,split][,fold][,group][,site][,mpp][,rois]; CSV, TSV or XLSX",
      { paths: "files" },
    ),
  ),
  ...TABLE_FLAGS,
  ...SITE_FLAGS,
  ...LABEL_FLAGS,
  out: required(
    text("RUN", "folder of the run: log, configuration, checkpoints", {
      paths: "folders",
    }),
  ),
  ...CONFIG_FLAGS,
  seed: integer("N", "seed of everything random (0)"),
  test: fraction(
    "SHARE",
    "share of test images if the manifest has no split (0.2)",
  ),
  folds: {
    ...parsing(
      "N|manifest",
      "cross-validate: N new folds, or those of the manifest, of all images except the split test",
      `"manifest" or an integer in [2, ${MAX_FOLDS}]`,
      foldsOf,
    ),
    words: ["manifest"],
  },
  sites: oneOf(
    SITE_CHOICES,
    "HOW",
    "in new folds: held-out, each site in one fold as a whole, or balanced, each spread over all folds (not looked at)",
  ),
  fold: texts("N", "only this fold"),
  protocol: oneOf(
    PROTOCOL_CHOICES,
    "NAME",
    "best-epoch, held-out or both (both)",
  ),
  workers: workers(
    "cores to use: for folds in parallel, or for the images of a step (all if that pays; one on webgpu)",
  ),
  ...JOBS_FLAGS,
  jobs: {
    ...JOBS_FLAGS.jobs,
    about:
      "share the images of each step with hosts that run `work --kinds share`, by NATS: nats://HOST:PORT[,HOST:PORT...][/PREFIX], tls:// with TLS",
  },
  foreground: COMMON_FLAGS.foreground,
  ...BOX_FLAGS,
  "feature-cache": text(
    "DIR",
    "keep features of frozen networks here, 10 GB at most (a cross-validation: in its own folder)",
    { paths: "folders" },
  ),
  tensorboard: text(
    "DIR",
    "write the figures of each epoch for TensorBoard (a fold: DIR/PROTOCOL/fold-NN)",
    { paths: "folders" },
  ),
  mlflow: parsing(
    "URI",
    "send settings and figures to this MLflow server, as a run named RUN of the experiment zoomin (no folds)",
    "an http or https URL",
    (text) =>
      /^https?:$/.test(URL.parse(text)?.protocol ?? "") ? text : undefined,
  ),
  memory: {
    ...SHARED_MEMORY,
    about:
      `${SHARED_MEMORY.about}; without it training also keeps 1 GiB of decoded images`,
  },
  backend: COMMON_FLAGS.backend,
  "skip-bad": toggle(
    "go on without images that cannot be read, and name them (all are opened first, and stop the training otherwise)",
  ),
  resume: toggle("continue from RUN's last checkpoint"),
  json: toggle("print the result as JSON"),
};

export const usage: Usage = {
  synopsis: ["deno task train --data MANIFEST --out RUN"],
  groups: [{ flags: FLAGS }],
};

/**
 * Trains, then prints the run's folder and results.
 *
 * @throws {UsageError} If a flag is wrong.
 */
export function run(argv: string[]): Promise<number> {
  return train(argv);
}

/**
 * As {@linkcode run}; `hosted` is of a cross-validation.
 *
 * @throws {UsageError} If a flag is wrong.
 */
export async function train(
  argv: readonly string[],
  hosted: HostedOptions = {},
): Promise<number> {
  const request = await readRequest(argv);
  const { data, tables, config, folds } = request;
  if (request.boxes) checkLearnsFromBoxes(config);
  if (request.jobs) assertShareable(config);
  const manifest = await readLabelled(data, tables, config.target);
  checkReference(config, manifest);
  const boxes = await boxOptions(request.boxes, manifest);
  const signal = interruptSignal(
    folds === undefined
      ? "Stopped: --resume continues from the last complete epoch"
      : "Stopped: run the same command to continue",
  );
  const engine = await announceEngine(
    request.backend,
    () =>
      startTrainingEngine({
        images: manifest.entries,
        config,
        classes: manifest.classes,
        workers: request.workers,
        signal,
      }),
  );
  const setup: TrainSetup = {
    ...request,
    engine,
    manifest,
    boxOptions: boxes,
    signal,
  };
  const code =
    await (folds === undefined
      ? trainOnce(setup)
      : crossValidate({ ...setup, ...hosted, folds }));
  console.error(`peak memory: ${megabytes(peakMemoryBytes())}`);
  return code;
}

/** Reads and checks all flags before any work. */
async function readRequest(argv: readonly string[]): Promise<TrainArguments> {
  const { values: flags } = parseFlags(argv, FLAGS);
  checkTogether(flags);
  const { out: folder, seed, folds, resume } = flags;
  const request = {
    data: flags.data,
    tables: flags,
    folder,
    test: flags.test ?? DEFAULT_TEST,
    folds,
    sites: flags.sites,
    onlyFolds: onlyFolds(flags.fold),
    protocols: protocolsOf(flags.protocol),
    workers: flags.workers,
    foreground: await parseForeground(flags.foreground),
    boxes: boxChoice(flags),
    featureCache: flags["feature-cache"],
    tensorboard: flags.tensorboard,
    mlflow: flags.mlflow,
    memory: flags.memory,
    jobs: jobsPlace(flags),
    backend: backendOf(flags),
    skipBad: flags["skip-bad"],
    resume,
    json: flags.json,
  };
  const boxes = request.boxes !== undefined;
  // A cross-validation continues by itself.
  if (folds === undefined && await runStarted(folder, resume)) {
    const config = await configFrom(flags, {
      resumed: join(folder, CONFIG_FILE),
      boxes,
    });
    await checkSameModel(folder, config);
    return {
      ...request,
      config,
      seed: await seedOf(folder, { ...request, seed }),
    };
  }
  const config = await configFrom(flags, { boxes });
  return { ...request, config, seed: seed ?? 0 };
}

async function trainOnce(setup: TrainSetup): Promise<number> {
  const { mlflow: uri, folder, config, seed, data, resume, signal } = setup;
  const record = uri === undefined ? undefined : await MlflowRun.start({
    uri,
    folder,
    resume,
    experiment: "zoomin",
    name: basename(resolve(folder)),
    params: { ...config, seed, data },
  });
  try {
    await trainRecorded(setup, record);
  } catch (error) {
    await record?.end(signal.aborted ? "KILLED" : "FAILED")
      .catch(() => {}); // the error says more
    throw error;
  }
  await record?.end("FINISHED")
    .catch(({ message }) => console.error(`not recorded: ${message}`));
  return 0;
}

async function trainRecorded(
  setup: TrainSetup,
  record: MlflowRun | undefined,
): Promise<void> {
  const { folder, config, resume, engine, manifest, jobs } = setup;
  const workers = runWorkers(config, {
    images: manifest.entries.length,
    // A run that needs hosts repays the start of Workers.
    wanted: setup.workers ?? (jobs && navigator.hardwareConcurrency),
  });
  const memory = new Memory(shareOf(setup.memory?.bytes, workers));
  const changed = resume ? await changedTraining(folder, config) : [];
  const events = setup.tensorboard === undefined
    ? undefined
    : new EventFile(setup.tensorboard);
  const line = new ProgressLine();
  const hosts = jobs && await hostsAt(jobs);
  const result = await trainRun(engine, {
    ...setup,
    hosts: hosts && { ...hosts, onRemark: (text) => line.note(text) },
    boxes: setup.boxOptions,
    featureCache: featureCache(setup.featureCache, (text) => {
      line.clear();
      console.error(text);
    }),
    memory,
    workers,
    imageBytes: imageCacheBytes(setup),
    onOpened: (done, total) => line.count(done, total, "images opened"),
    onStart(data, skipped) {
      line.clear();
      for (const image of skipped) console.error(skippedText(image));
      console.error(startText(data, { ...setup, workers }));
      if (data.boxes) console.error(`boxes: ${boxesText(data.boxes)}`);
      if (changed.length > 0) console.error(`changed: ${changed.join(", ")}`);
    },
    onProgress: (progress) => line.show(progressText(progress)),
    async onEpoch(done) {
      line.note(epochText(done));
      await events?.add(done.epoch, done.figures);
      // Hours of training need no server.
      await record?.add(done.epoch, done.figures)
        .catch(({ message }) => line.note(`not recorded: ${message}`));
    },
  }).finally(async () => {
    line.clear();
    await hosts?.connection.drain().catch(() => {}); // it was closed
  });
  warnOfDecoding(result.warnings.values());
  printResult(setup, result);
  await reportAtEnd(folder, setup.signal);
}

/** The connection by which hosts share a run. @throws {DataError} */
async function hostsAt(jobs: NatsPlace) {
  const { connectNats } = await import("../serve/jobs/nats/connection.ts");
  return await connectNats(jobs);
}

/**
 * The engine that was asked for: with --jobs the CPU's, where all hosts have the
 * same bits.
 */
function backendOf(
  { jobs, backend }: FlagValues<typeof FLAGS>,
): BackendChoice {
  if (jobs === undefined) return backend;
  if (backend !== "webgpu") return "wasm";
  throw new UsageError(
    "--jobs shares steps that are computed on the CPU: leave it out with --backend webgpu",
  );
}

/** Images and settings of a run, in one line. */
function startText(
  data: TrainingData,
  { config: { preset, target, training }, seed, workers = 1 }: TrainSetup,
): string {
  const { train, validation } = data;
  const counts = classCounts(data, target);
  return `${train.length} images to train on${
    counts && ` (${counts})`
  }, ${validation.length} for validation; preset ${preset}, ${
    count(training.epochs, "epoch")
  }, seed ${seed}${workers > 1 ? `, ${workers} workers` : ""}`;
}

/** Training images by class or label, which reveals a misspelt one. */
function classCounts(
  { classes, train }: TrainingData,
  target: TargetName,
): string {
  const { fixed, namesIn } = labelReader(target);
  if (fixed) return ""; // numbers
  const used = Map.groupBy(
    train.flatMap(({ label }) => namesIn(label)),
    (name) => name,
  );
  const counts = classes.slice(0, CLASSES_SHOWN).map((name) =>
    `${name} ${used.get(name)?.length ?? 0}`
  );
  const more = classes.length - counts.length;
  return [...counts, ...(more > 0 ? [`${more} more`] : [])].join(", ");
}

function printResult(
  { folder, json }: TrainSetup,
  { warnings: _, ...result }: TrainedRun,
): void {
  const peakBytes = peakMemoryBytes();
  if (json) {
    console.log(JSON.stringify({ run: folder, ...result, peakBytes }));
    return;
  }
  const { epochs, last = {} } = result;
  const { loss, accuracy, ...others } = last;
  const done = count(epochs, "epoch");
  console.log(`${folder}: ${done} done, ${bestText(result)}`);
  if (result.skipped.length > 0) {
    console.log(
      `  without ${count(result.skipped.length, "unreadable image")}`,
    );
  }
  if (loss === undefined) return; // no epoch
  const figures = [
    `loss ${figure(loss)}`,
    ...(accuracy === undefined ? [] : [`accuracy ${figure(accuracy)}`]),
    ...(others.validationLoss === undefined
      ? []
      : [figuresText(others, "validation")]),
  ];
  console.log(`  last epoch: ${figures.join(", ")}`);
  if (others.teacherValidationLoss === undefined) return;
  console.log(
    `  teacher, from all locations: ${
      figuresText(others, "teacherValidation")
    }`,
  );
}

/** Description of the checkpoint to use. */
function bestText({ epochs, bestEpoch, last }: TrainResult): string {
  if (epochs === 0) {
    return `no epoch was run: ${BEST} holds the initial weights`;
  }
  return last?.validationLoss === undefined
    ? `${BEST} holds the last epoch, because there are no validation images`
    : `the best epoch is ${bestEpoch} (${BEST})`;
}

function foldsOf(text: string): number | "manifest" | undefined {
  if (text === "manifest") return text;
  const count = Number(text);
  const isCount = /^\d+$/.test(text) && count >= 2 && count <= MAX_FOLDS;
  return isCount ? count : undefined;
}

/** Refuses flags that have no effect with --folds, or without it. */
function checkTogether(flags: FlagValues<typeof FLAGS>): void {
  if (flags.sites !== undefined && typeof flags.folds !== "number") {
    throw new UsageError(
      "--sites needs new folds: add --folds N, or leave out --sites",
    );
  }
  if (flags.folds === undefined) {
    const unused = flags.fold.length > 0
      ? "fold"
      : flags.protocol === undefined
      ? undefined
      : "protocol";
    if (unused === undefined) return;
    throw new UsageError(
      `--${unused} needs --folds: add it, or leave out --${unused}`,
    );
  }
  if (flags.jobs !== undefined) {
    throw new UsageError(
      "--jobs shares the images of one run, no folds: leave out one of the two",
    );
  }
  if (flags.test !== undefined) {
    throw new UsageError(
      "--test has no effect with --folds, because every fold is tested in turn: leave it out",
    );
  }
  if (flags.mlflow !== undefined) {
    throw new UsageError(
      "--mlflow records one run, no folds: leave it out, or use --tensorboard",
    );
  }
  if (flags.resume) {
    throw new UsageError(
      "--resume has no effect with --folds, because the same command continues by itself: leave it out",
    );
  }
}

function onlyFolds(texts: readonly string[]): number[] | undefined {
  const folds = texts.map((text) => {
    if (/^\d+$/.test(text)) return Number(text);
    throw new UsageError(
      `--fold must be a number, not "${text}"`,
    );
  });
  return folds.length > 0 ? [...new Set(folds)] : undefined;
}
