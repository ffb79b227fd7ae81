/**
 * Trains on all locations of the images: frozen features of each are read, a
 * teacher learns from all of them, and a and b learn to find what it found. What
 * comes out is an ordinary checkpoint, which classifies by a few draws.
 *
 * Each phase ends with a checkpoint, from which a run continues. Features are kept
 * by their own cache.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { CheckpointError, ConfigError } from "../../errors.ts";
import {
  BEST,
  LAST,
  readCheckpoint,
  writeCheckpoint,
} from "../../model/checkpoint.ts";
import type { Calibration } from "../../model/calibration.ts";
import type { Config } from "../../model/config.ts";
import { componentCount } from "../../model/head.ts";
import type { Model } from "../../model/model.ts";
import type { TargetFit } from "../../model/targets/fit.ts";
import { targetOf } from "../../model/targets/targets.ts";
import { disposeModel } from "../../model/frozen.ts";
import type { FeatureCache } from "../../encoder/cache.ts";
import { openScored, scoredEpoch } from "../epoch_choice.ts";
import type { EpochFigures } from "../epoch_metrics.ts";
import { type Elapsed, startClock } from "../clock.ts";
import { annotatedCount } from "../boxes.ts";
import { LOG_FILE, RunLog } from "../run_log.ts";
import {
  classWeights,
  freshModel,
  type TrainingData,
  type TrainOptions,
  type TrainResult,
} from "../trainer.ts";
import {
  type BagOptions,
  type ImageBag,
  readBags,
  readScoredBags,
} from "./bags.ts";
import { modelFeatures } from "./encoder_features.ts";
import { keepFeatures } from "./kept_features.ts";
import { gridView } from "../../model/look/location_grid.ts";
import { copyCount, type LocationFeatures, Locations } from "./locations.ts";
import {
  assign,
  type HeadArrays,
  readHead,
  writeHead,
} from "./head/head_arrays.ts";
import { valuesOf } from "../parallel/values.ts";
import { fitStudent } from "./fit_student.ts";
import { type Projection, readProjection } from "./projection.ts";
import { teacherFigures } from "./teacher_scores.ts";
import { meanHead } from "./head/ensemble.ts";
import { freshTeachers, teachTogether } from "./teachers.ts";
import { ReadableImages } from "./readable_images.ts";
import { checkUnused } from "./unused_settings.ts";

/** Options of {@linkcode trainDense}. */
export interface DenseOptions extends TrainOptions {
  /** Keeps frozen features on disk; computed in each run if omitted. */
  featureCache?: FeatureCache | undefined;
  /** Reads the frozen features; by the model's encoder if omitted. */
  features?: LocationFeatures;
  /** Scores the student; by its draws, as any model, if omitted. */
  score?: typeof scoredEpoch;
}

/** The phases of a run, in order; the checkpoint names the last one done. */
type Phase = "start" | "teacher" | "student";

// Share of the memory bound for features between two readings.
const FEATURE_SHARE = 1 / 2;

/**
 * Checks that a configuration can be trained on all locations.
 *
 * @throws {ConfigError} Naming what to set.
 */
export function checkDense(config: Config): void {
  const { view, network } = config;
  gridView(view);
  checkUnused(config);
  if (network.head !== "evidence") {
    throw new ConfigError(
      `Cannot train on all locations with network.head=${network.head}: set network.head=evidence, or training.dense=null`,
    );
  }
}

/**
 * Checks that there are boxes, if close-ups are to be learned.
 *
 * @throws {ConfigError} If there are none.
 */
function checkCloseUp({ network }: Config, { boxes }: TrainingData): void {
  if (network.closeUp === null || boxes) return;
  throw new ConfigError(
    "Cannot learn network.closeUp without annotated boxes: give --boxes, or set network.closeUp=null",
  );
}

/**
 * Trains a teacher and its student.
 *
 * @throws {ConfigError} If the locations are no grid, or too many.
 * @throws {TrainingError} If the loss is no longer a number.
 * @throws {ImageError} If an image cannot be read.
 */
export async function trainDense(
  data: TrainingData,
  options: DenseOptions,
): Promise<TrainResult> {
  checkDense(options.config);
  checkCloseUp(options.config, data);
  if (!options.skipBad) await openScored(data, options);
  const run = await DenseRun.start(data, options);
  try {
    return await run.train();
  } finally {
    await run.dispose();
  }
}

class DenseRun {
  readonly #data: TrainingData;
  readonly #options: DenseOptions;
  readonly #model: Model;
  readonly #log: RunLog;
  readonly #locations: Locations;
  readonly #features: LocationFeatures;
  readonly #images: ReadableImages;
  #phase: Phase = "start";
  #figures: EpochFigures = {};
  #calibration: Calibration | null = null;
  #fitted: TargetFit | undefined; // on validation images
  #elapsed = startClock();

  private constructor(data: TrainingData, options: DenseOptions, model: Model) {
    this.#data = data;
    this.#options = options;
    this.#model = model;
    this.#log = new RunLog(join(options.folder, LOG_FILE));
    this.#images = new ReadableImages(options.skipBad ?? false);
    const features = options.features ??
      modelFeatures(model, options.featureCache);
    this.#features = features;
    this.#locations = new Locations({
      ...options,
      features,
      side: options.config.network.places,
      normalisation: model.normalisation,
      boxes: data.boxes,
    });
  }

  static async start(
    data: TrainingData,
    options: DenseOptions,
  ): Promise<DenseRun> {
    const { folder, config, seed, resume, environment } = options;
    if (resume) return await DenseRun.#continued(data, options);
    await Deno.mkdir(folder, { recursive: true });
    const model = await freshModel(data, options);
    const run = new DenseRun(data, options, model);
    await run.#log.start({ type: "run", seed, config, ...environment });
    await run.#save(LAST);
    return run;
  }

  static async #continued(
    data: TrainingData,
    options: DenseOptions,
  ): Promise<DenseRun> {
    const { folder, seed, environment, config: { training } } = options;
    const { model, trainer, metrics, ...checkpoint } = await readCheckpoint(
      join(folder, LAST),
    );
    if (checkpoint.seed !== seed) {
      await disposeModel(model);
      throw new CheckpointError(
        `Cannot resume ${folder} with seed ${seed}: it was started with seed ${checkpoint.seed}; give that one, or another folder`,
      );
    }
    const { phase } = trainer as { phase: Phase };
    if (
      phase !== "start" && !isDeepStrictEqual(model.config.training, training)
    ) {
      await disposeModel(model);
      throw new CheckpointError(
        `Cannot resume ${folder} with other settings of training: its head is trained; give another --out`,
      );
    }
    const run = new DenseRun(data, options, {
      ...model,
      config: { ...model.config, training },
      calibration: null, // of the student that is yet to come
    });
    run.#phase = phase;
    run.#figures = metrics;
    // A run that is done keeps its log, with its result.
    if (phase === "student") return run;
    await run.#log.resume(checkpoint.epoch, { type: "run", ...environment });
    return run;
  }

  async train(): Promise<TrainResult> {
    if (this.#phase !== "student") {
      const { bags, scored, projection } = await this.#read();
      const head = this.#phase === "teacher"
        ? await readHead(this.#model.parameters)
        : await this.#teach(bags, scored, projection);
      await this.#distil(bags, head);
    }
    const { epochs } = this.#options.config.training;
    return { epochs, bestEpoch: epochs, last: this.#figures };
  }

  async dispose(): Promise<void> {
    await disposeModel(this.#model);
  }

  /** The bags of all images; their projection is that of the checkpoint, if any. */
  async #read() {
    const { config, memory, seed } = this.#options;
    const features = this.#features;
    const { parameters } = this.#model;
    const options: BagOptions = {
      locations: this.#locations,
      channels: features.channels,
      components: config.network.components &&
        componentCount(config.network, features.channels),
      copies: copyCount(config),
      seed,
      bytes: memory.bytes * FEATURE_SHARE,
      readImage: this.#images.read,
      beforeImage: () => this.#breathe(),
      onImage: (done, total) =>
        this.#tell({ epoch: 1, step: done, steps: total }),
    };
    const fitted = this.#phase === "start"
      ? undefined
      : await readProjection(parameters);
    if (!fitted) await this.#fillCache();
    const { bags, projection } = fitted
      ? {
        bags: await readScoredBags(this.#data.train, {
          ...options,
          projection: fitted,
        }),
        projection: fitted,
      }
      : await readBags(this.#data.train, options);
    const { validation, chosenOnTest = [] } = this.#data;
    const scored = {
      validation: await readScoredBags(validation, { ...options, projection }),
      test: await readScoredBags(chosenOnTest, { ...options, projection }),
    };
    return { bags, scored, projection };
  }

  /**
   * Fills the cache on disk, each run from another image on: folds side by side
   * then share the work, which is most of their time, instead of doing it twice.
   */
  async #fillCache(): Promise<void> {
    const { config, folder, featureCache } = this.#options;
    if (!featureCache || config.network.features === "dictionary") return;
    const { train } = this.#data;
    const first = createHash("sha256").update(folder).digest().readUInt32LE() %
      train.length;
    const inOrder = [...train.slice(first), ...train.slice(0, first)];
    await keepFeatures(this.#model, inOrder, {
      ...this.#options,
      featureCache,
      readImage: this.#images.read,
      beforeImage: () => this.#breathe(),
      keep: (entry) => this.#locations.read(entry),
      onImage: (step) => this.#tell({ epoch: 1, step, steps: train.length }),
    });
  }

  async #teach(
    bags: readonly ImageBag[],
    scored: Record<"validation" | "test", readonly ImageBag[]>,
    projection: Projection,
  ): Promise<HeadArrays> {
    const { parameters } = this.#model;
    const { config, seed, onEpoch } = this.#options;
    const { epochs } = config.training;
    const teachers = freshTeachers(projection, {
      config,
      outputs: parameters.get("g/bias")!.size,
      seed,
    });
    const taught = teachTogether(teachers, bags, {
      ...this.#task(),
      training: config.training,
      ...config.training.dense!,
      classWeights: classWeights(this.#data, config),
      beforeStep: () => this.#breathe(),
      onStep: (progress) => this.#tell(progress),
    });
    for await (const { epoch, mean, figures } of taught) {
      this.#figures = { ...figures, ...this.#teacherFigures(mean, scored) };
      const { seconds } = await this.#append("epoch", {
        epoch,
        ...this.#figures,
      });
      await onEpoch?.({
        epoch,
        epochs,
        figures: this.#figures,
        seconds,
        skipped: this.#images.skipped,
      });
    }
    assign(parameters, "g/project/weight", projection.weight);
    assign(parameters, "g/project/bias", projection.bias);
    writeHead(parameters, meanHead(teachers.map(({ head }) => head)));
    // The best figure is the student's; the teacher's have names of their own.
    this.#figures = Object.fromEntries(
      Object.entries(this.#figures).map(([name, value]) => [
        /^(validation|test)/.test(name)
          ? `teacher${name[0]!.toUpperCase()}${name.slice(1)}`
          : name,
        value,
      ]),
    );
    this.#phase = "teacher";
    await this.#save(LAST);
    return await readHead(parameters); // rounded, as a run that continues has it
  }

  /** Figures of the teacher on images that it is scored on. */
  #teacherFigures(
    head: HeadArrays,
    scored: Record<"validation" | "test", readonly ImageBag[]>,
  ): EpochFigures {
    return Object.assign(
      {},
      ...(["validation", "test"] as const).map((name) =>
        teacherFigures(head, scored[name], { name, ...this.#task() })
      ),
    );
  }

  async #distil(bags: readonly ImageBag[], head: HeadArrays): Promise<void> {
    const { score = scoredEpoch } = this.#options;
    const { parameters } = this.#model;
    const before = await valuesOf(parameters);
    const fitted = await this.#images.workOn(
      bags,
      (bags) =>
        fitStudent(this.#model, bags, head, {
          ...this.#options,
          task: this.#task(),
          boxes: this.#data.boxes,
          classWeights: classWeights(this.#data, this.#options.config),
          breathe: () => this.#breathe(),
          onStep: (progress) => this.#tellLast(progress),
        }),
      () => {
        for (const [name, { data }] of before) assign(parameters, name, data);
      },
    );
    Object.assign(this.#figures, fitted);
    const scored = await score(this.#model, this.#data, {
      ...this.#options,
      onSkipped: this.#images.onSkipped,
    });
    Object.assign(this.#figures, scored.figures);
    this.#calibration = scored.calibration;
    this.#fitted = scored.fitted;
    this.#phase = "student";
    await this.#append("result", this.#figures);
    await this.#save(BEST);
    await this.#save(LAST);
  }

  /** What the teacher learns to say. */
  #task() {
    const { classes, config } = this.#model;
    return {
      target: targetOf(this.#model),
      classes,
      evidence: config.network.evidence,
    };
  }

  /** Adds a line with the time since the last one. */
  async #append(
    type: "epoch" | "result",
    figures: Record<string, unknown>,
  ): Promise<Elapsed> {
    const elapsed = this.#elapsed();
    this.#elapsed = startClock();
    const { skipped } = this.#images;
    await this.#log.append({
      type,
      ...figures,
      ...elapsed,
      ...(skipped.length > 0 && { skipped }),
    });
    return elapsed;
  }

  /** Lets signals, messages and more urgent work in: plain loops block them. */
  async #breathe(): Promise<void> {
    await setTimeout(0);
    await this.#options.turn?.();
    this.#options.signal?.throwIfAborted();
  }

  #tell(
    { loss, accuracy, ...place }: {
      epoch: number;
      step: number;
      steps: number;
      loss?: number;
      accuracy?: number;
    },
  ): void {
    const { epochs } = this.#options.config.training;
    const seconds = this.#elapsed().seconds;
    this.#options.onProgress?.({
      ...place,
      epochs,
      loss: loss ?? NaN,
      accuracy: accuracy ?? this.#figures.accuracy ?? NaN,
      imagesPerSecond: place.step / seconds,
      secondsLeft: (place.steps - place.step) * seconds / place.step,
    });
  }

  /** Progress of what follows the last epoch. */
  #tellLast(progress: { step: number; steps: number; loss?: number }): void {
    this.#tell({ epoch: this.#options.config.training.epochs, ...progress });
  }

  async #save(name: string): Promise<void> {
    const { folder, seed, config } = this.#options;
    await writeCheckpoint(join(folder, name), {
      model: {
        ...this.#model,
        calibration: this.#calibration,
        fitted: this.#fitted ?? this.#model.fitted,
      },
      annotated: annotatedCount(this.#data.boxes),
      epoch: this.#phase === "start" ? 0 : config.training.epochs,
      seed,
      metrics: this.#figures,
      trainer: { phase: this.#phase },
      trainerTensors: new Map(),
    });
  }
}
