/**
 * Trains a model: epochs, validation, checkpoints, log. Every random number
 * follows from the seed, the epoch and the image, so a run that was cut off
 * continues as if it had not been.
 *
 * @module
 */
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { NothingToDrawError } from "../../kernels/sample/with_replacement.ts";
import { goalOf, type ManifestEntry } from "../data/manifest.ts";
import { CheckpointError, ImageError, TrainingError } from "../errors.ts";
import type { ImageCache } from "../image/image_cache.ts";
import type { ForegroundChoice } from "../image/foreground/tissue.ts";
import type { Memory } from "../memory.ts";
import {
  BEST,
  LAST,
  readCheckpoint,
  writeCheckpoint,
} from "../model/checkpoint.ts";
import type { Calibration } from "../model/calibration.ts";
import { type Config, isFrozen } from "../model/config.ts";
import { modelSpecs } from "../model/networks.ts";
import { disposeParameters, initialParameters } from "../model/parameters.ts";
import type { Model } from "../model/model.ts";
import type { StoredTensor } from "../model/safetensors.ts";
import {
  type Batch,
  Batches,
  type BatchImage,
  closeAll,
  inOrder,
} from "./batches.ts";
import { annotatedCount, type TrainingBoxes } from "./boxes.ts";
import { type Elapsed, startClock } from "./clock.ts";
import { measureNormalisation } from "./normalisation.ts";
import {
  type Choice,
  type ChoosingImages,
  openScored,
  scoredEpoch,
  stopsEarly,
  valueOf,
} from "./epoch_choice.ts";
import {
  type EpochDone,
  type EpochFigures,
  epochFigures,
  type Progress,
  progressOf,
  type SkippedImage,
} from "./epoch_metrics.ts";
import { withFrozen } from "./frozen_start.ts";
import { AdamW } from "./optimizer.ts";
import { LOG_FILE, RunLog } from "./run_log.ts";
import { rateFactor } from "./schedule.ts";
import { exploration } from "../sampling/evidence.ts";
import type { TargetFit } from "../model/targets/fit.ts";
import type { RowLosses } from "../model/targets/target.ts";
import { fittedTo, targetOf } from "../model/targets/targets.ts";
import type { LogitsTask } from "./parallel/protocol.ts";
import { type BackwardPass, disposeBackward } from "./step/backward.ts";
import type { StepOptions } from "./step/micro_batch.ts";
import {
  backwardPasses,
  imageLogits,
  lossesAt,
  lossesOf,
} from "./step/passes.ts";
import { stepBy, type StepReport } from "./step/step.ts";
import { Crew } from "./hosts/crew.ts";
import { ALONE, type Parallel, Team } from "./parallel/team.ts";
import { passOf, valuesOf } from "./parallel/values.ts";
import { saliencyWarmStart } from "./warm_start.ts";

/** The images of a run. */
export interface TrainingData extends ChoosingImages {
  /** Names of the classes, in the order of the logits. */
  classes: readonly string[];
  /** Images that are trained on. */
  train: readonly ManifestEntry[];
  /** Annotated objects of some training images; labels alone if omitted. */
  boxes?: TrainingBoxes;
}

/** Options of {@linkcode train}. */
export interface TrainOptions {
  /** Folder of the run: log and checkpoints. */
  folder: string;
  config: Config;
  seed: number;
  cache: ImageCache;
  /** Memory bound of the tensors. */
  memory: Memory;
  /** Foreground that is drawn from; the configuration's if omitted. */
  foreground?: ForegroundChoice | undefined;
  /** Continues from the folder's last checkpoint. */
  resume: boolean;
  /** First line of the log: the machine and engine of the run. */
  environment: Record<string, unknown>;
  onProgress?: (progress: Progress) => void;
  /** Awaited after each epoch, once it is logged. */
  onEpoch?: (done: EpochDone) => void | Promise<void>;
  /** Skips images for an epoch that cannot be read; they are errors if omitted. */
  skipBad?: boolean | undefined;
  /** Awaited before each step: more urgent work goes first. */
  turn?: () => Promise<void>;
  signal?: AbortSignal | undefined;
  /** Workers that share the images of a step; this process alone if omitted. */
  parallel?: Parallel | undefined;
}

/** Result of a training. */
export interface TrainResult {
  /** Epochs done; fewer than asked for if training stopped early. */
  epochs: number;
  /** The epoch of the best checkpoint. */
  bestEpoch: number;
  /** Figures of the last epoch, as logged. */
  last: EpochFigures | undefined;
}

/** Time after which files that could not be read are read again. */
export const RETRY_MS = 1000;

const ADVICE = "lower training.learningRate, then resume from the last epoch";

/**
 * Trains until the configured number of epochs, an early stop, or `signal`.
 *
 * @throws {TrainingError} If the loss is no longer a number.
 * @throws {ImageError} If an image cannot be read.
 */
export async function train(
  data: TrainingData,
  options: TrainOptions,
): Promise<TrainResult> {
  if (!options.skipBad) await openScored(data, options);
  const run = await Run.start(data, options);
  try {
    return await run.train();
  } finally {
    run.dispose();
  }
}

class Run {
  readonly #data: TrainingData;
  readonly #options: TrainOptions;
  readonly #model: Model;
  readonly #optimizer = new AdamW();
  readonly #log: RunLog;
  readonly #classWeights: readonly number[];
  readonly #batches: Batches;
  readonly #skipped = new Map<string, SkippedImage>(); // in this epoch, by path
  #team: Team | undefined;
  #crew: Crew | undefined; // with hosts; the team is this process alone then
  #epoch = 0;
  #choice: Choice = { bestEpoch: 0, bestValue: null };
  #figures: EpochFigures | undefined;
  #calibration: Calibration | null = null; // of the epoch just done
  #fitted: TargetFit | undefined; // on its validation images

  private constructor(data: TrainingData, options: TrainOptions, model: Model) {
    this.#data = data;
    this.#options = options;
    this.#model = model;
    this.#log = new RunLog(join(options.folder, LOG_FILE));
    this.#classWeights = classWeights(data, options.config);
    this.#batches = new Batches(model, data.train, options);
  }

  static async start(data: TrainingData, options: TrainOptions): Promise<Run> {
    const { folder, config, seed, resume, environment } = options;
    if (resume) {
      const checkpoint = await readCheckpoint(join(folder, LAST));
      const { training } = config; // a run may continue with other settings
      const run = new Run(data, options, {
        ...checkpoint.model,
        config: { ...checkpoint.model.config, training },
        calibration: null, // of the saved epoch only
      });
      return await run.#orDispose(async () => {
        run.#restore(checkpoint);
        await run.#log.resume(run.#epoch, { type: "run", ...environment });
      });
    }
    await Deno.mkdir(folder, { recursive: true });
    const model = await freshModel(data, options);
    const run = new Run(data, options, model);
    return await run.#orDispose(async () => {
      await run.#log.start({ type: "run", seed, config, ...environment });
      if (config.training.saliencyWarmStart) {
        const { steps } = config.training.saliencyWarmStart;
        await saliencyWarmStart(model, data.train, { ...options, steps });
      }
      await run.#save(LAST);
      if (config.training.epochs === 0) await run.#save(BEST);
    });
  }

  /** This run once `prepare` is done; its tensors are freed if that fails. */
  async #orDispose(prepare: () => Promise<void>): Promise<this> {
    try {
      await prepare();
      return this;
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  async train(): Promise<TrainResult> {
    const { epochs, patience } = this.#options.config.training;
    await this.#startWorkers();
    while (
      this.#epoch < epochs && !stopsEarly(this.#choice, this.#epoch, patience)
    ) {
      await this.#trainEpoch(this.#epoch + 1).catch((cause) => {
        // Attention has become NaN; a Worker's error comes without its class.
        if (cause?.name !== NothingToDrawError.NAME) throw cause;
        throw new TrainingError(
          `Cannot continue training in epoch ${
            this.#epoch + 1
          }: ${cause.message}; ${ADVICE}`,
          { cause },
        );
      });
    }
    return {
      epochs: this.#epoch,
      bestEpoch: this.#choice.bestEpoch,
      last: this.#figures,
    };
  }

  async #startWorkers(): Promise<void> {
    const { config, seed, foreground, memory, parallel = ALONE, signal } =
      this.#options;
    const { classes, normalisation, fitted } = this.#model;
    const setup = {
      model: { config, classes, normalisation, fitted },
      seed,
      train: this.#data.train,
      foreground,
      memoryBytes: memory.bytes,
    };
    const { hosts } = parallel;
    this.#team = await Team.start(hosts ? ALONE : parallel, setup, signal);
    if (!hosts) return;
    this.#crew = await Crew.start(parallel, setup, { ...hosts, signal });
  }

  dispose(): void {
    this.#team?.close();
    this.#crew?.close();
    this.#optimizer.dispose();
    disposeParameters(this.#model.parameters);
  }

  async #trainEpoch(epoch: number): Promise<void> {
    const clock = startClock();
    this.#skipped.clear();
    const reports = await this.#runSteps(epoch, clock);
    if (reports.length === 0) {
      throw new TrainingError(
        `Cannot continue training: no image could be read in epoch ${epoch}; --resume continues once they can be`,
      );
    }
    const { seconds: trainSeconds } = clock();
    const { figures, calibration, fitted } = await scoredEpoch(
      this.#model,
      this.#data,
      {
        ...this.#options,
        team: this.#team,
        crew: this.#crew,
        onSkipped: this.#options.skipBad ? this.#skip : undefined,
      },
    );
    this.#epoch = epoch;
    this.#calibration = calibration;
    this.#fitted = fitted;
    this.#figures = { ...epochFigures(reports), ...figures };
    const best = this.#choose(epoch);
    const elapsed = clock();
    const skipped = [...this.#skipped.values()];
    await this.#log.append({
      type: "epoch",
      epoch,
      ...this.#figures,
      trainSeconds,
      ...elapsed,
      ...(skipped.length > 0 && { skipped }),
    });
    const { config, onEpoch } = this.#options;
    await onEpoch?.({
      epoch,
      epochs: config.training.epochs,
      figures: this.#figures,
      seconds: elapsed.seconds,
      skipped,
    });
    if (best) await this.#save(BEST);
    await this.#save(LAST);
  }

  /** Notes an image that could not be read in this epoch. */
  #skip = ({ image, path, line }: ManifestEntry, { message }: ImageError) => {
    this.#skipped.set(path, { image, path, line, error: message });
  };

  async #runSteps(
    epoch: number,
    clock: () => Elapsed,
  ): Promise<StepReport[]> {
    const { config, onProgress, turn, signal } = this.#options;
    const { epochs } = config.training;
    const { steps } = this.#batches;
    const options = this.#stepOptions(epoch);
    const reports: StepReport[] = [];
    // Of the step before: what a step reads of its draws brings it along.
    let pending: (() => Promise<StepReport>) | undefined;
    const settle = async () => {
      const report = await pending?.();
      pending = undefined;
      if (!report) return;
      reports.push(report);
      assertFinite(report, { epoch, step: reports.length });
      const elapsedMs = clock().seconds * 1000;
      onProgress?.(progressOf(reports, { epoch, epochs, steps, elapsedMs }));
    };
    try {
      const workers = this.#crew ? 0 : this.#team!.workers;
      for await (const batch of this.#batches.ofEpoch(epoch, workers)) {
        await setTimeout(0); // wasm blocks the event loop: let signals and messages in
        await turn?.();
        signal?.throwIfAborted();
        const passes = await this.#passesOrSkip(batch, epoch, options);
        if (passes.length === 0) continue;
        const report = stepBy(this.#model, this.#optimizer, passes, options);
        await settle();
        pending = report;
      }
    } finally {
      await settle(); // a loss that is no number is why the next step failed
    }
    await this.#assertFinite(epoch);
    return reports;
  }

  /** The gradients of a batch; of those images that can be read, if wanted. */
  async #passesOrSkip(
    batch: Batch,
    epoch: number,
    options: StepOptions,
  ): Promise<BackwardPass[]> {
    try {
      return await this.#passes(batch, epoch, options);
    } catch (error) {
      if (!this.#options.skipBad || !(error instanceof ImageError)) throw error;
      await setTimeout(RETRY_MS);
      return await this.#readablePasses(batch, epoch, options);
    }
  }

  async #readablePasses(
    { order }: Batch,
    epoch: number,
    options: StepOptions,
  ): Promise<BackwardPass[]> {
    const images = await this.#batches.readable(epoch, order, this.#skip);
    try {
      let left = images;
      while (left.length > 0) {
        const of = left.length;
        try {
          return await backwardPasses(this.#model, left, { ...options, of });
        } catch (error) {
          const bad = error instanceof ImageError && namedBy(error, left);
          if (!bad) throw error;
          this.#skip(bad.entry, error);
          left = left.filter((image) => image !== bad);
        }
      }
      return [];
    } finally {
      closeAll(images);
    }
  }

  /** The gradients of a batch, in the order of its images. */
  async #passes(
    batch: Batch,
    epoch: number,
    options: StepOptions,
  ): Promise<BackwardPass[]> {
    const { order, shares, images, failure, next } = batch;
    if (failure) throw failure;
    const { length: of } = order;
    const team = this.#team!;
    if (team.workers === 1 && !this.#crew) {
      return await backwardPasses(this.#model, images, { ...options, of });
    }
    const weights = await valuesOf(this.#model.parameters);
    const { contrastive, freezeAttention, classWeights, exploration } = options;
    const task = {
      weights,
      epoch,
      contrastive,
      freezeAttention,
      classWeights,
      exploration,
    };
    if (this.#crew) {
      return await this.#passesBy(this.#crew, order, task, options.signal);
    }
    const losses = await this.#jointLosses(batch, task, options);
    const ofShare = (share: readonly number[]) =>
      losses && lossesAt(losses, share.map((place) => order.indexOf(place)));
    const theirs = team.ask(
      "gradients",
      shares.slice(1).map((images, i) => ({
        ...task,
        images,
        next: next[i + 1]!,
        of,
        given: ofShare(images),
      })),
      options.signal,
    );
    const own = await backwardPasses(this.#model, images, {
      ...options,
      of,
      given: ofShare(shares[0]!),
    });
    try {
      const others = (await theirs).flat().map(passOf);
      return inOrder(order, shares, [...own, ...others]);
    } catch (error) {
      own.forEach(disposeBackward);
      throw error;
    }
  }

  /** As {@linkcode #passes}, with all images computed by others. */
  async #passesBy(
    crew: Crew,
    order: readonly number[],
    task: Omit<LogitsTask, "images">,
    signal: AbortSignal | undefined,
  ): Promise<BackwardPass[]> {
    const all = { homes: order, signal };
    const isJoint = targetOf(this.#model).loss === null;
    const rows = isJoint &&
      await crew.each(
        "logits",
        order.map((place) => ({ ...task, images: [place] })),
        all,
      );
    const losses = rows && this.#lossesOf(order, rows.flat());
    const passes = await crew.each(
      "gradients",
      order.map((place, i) => ({
        ...task,
        images: [place],
        next: [],
        of: order.length,
        given: losses ? lossesAt(losses, [i]) : undefined,
      })),
      all,
    );
    return passes.flat().map(passOf);
  }

  /** The losses of a batch that several workers look at, as far as they are joint. */
  async #jointLosses(
    { order, shares, images }: Batch,
    task: Omit<LogitsTask, "images">,
    options: StepOptions,
  ): Promise<RowLosses | undefined> {
    if (targetOf(this.#model).loss !== null) return undefined;
    const theirs = this.#team!.ask(
      "logits",
      shares.slice(1).map((images) => ({ ...task, images })),
      options.signal,
    );
    const own = await imageLogits(this.#model, images, options);
    const rows = inOrder(order, shares, [...own, ...(await theirs).flat()]);
    return this.#lossesOf(order, rows);
  }

  /** The joint losses of a batch, from the logits of its images. */
  #lossesOf(order: readonly number[], rows: readonly number[][]): RowLosses {
    const goals = order.map((place) => goalOf(this.#data.train[place]!));
    return lossesOf(this.#model, rows, goals);
  }

  #stepOptions(epoch: number): StepOptions {
    const { config, foreground, memory, signal } = this.#options;
    const { schedule, epochs, contrastiveFrom, saliencyWarmStart: warm } =
      config.training;
    return {
      rate: rateFactor(schedule, epoch, epochs),
      contrastive: contrastiveFrom !== null && epoch >= contrastiveFrom,
      freezeAttention: warm !== null && epoch <= warm.frozenEpochs,
      classWeights: this.#classWeights,
      exploration: exploration((epoch - 1) / epochs),
      foreground,
      memory,
      signal,
    };
  }

  /** Fails if the last step has made a weight non-finite: it is not saved. */
  async #assertFinite(epoch: number): Promise<void> {
    const all = [...this.#model.parameters];
    const values = await Promise.all(
      all.map(([, variable]) => variable.data()),
    );
    for (const [i, [name]] of all.entries()) {
      if (values[i]!.every(Number.isFinite)) continue;
      throw new TrainingError(
        `Cannot continue training: "${name}" is not finite after epoch ${epoch}; ${ADVICE}`,
      );
    }
  }

  /** Notes the epoch just done if it is the best so far, and tells if it is. */
  #choose(epoch: number): boolean {
    const value = valueOf(this.#data, epoch, this.#figures!);
    const { bestValue } = this.#choice;
    if (bestValue !== null && value >= bestValue) return false;
    this.#choice = { bestEpoch: epoch, bestValue: value };
    return true;
  }

  async #save(name: string): Promise<void> {
    const { steps, moments } = await this.#optimizer.save();
    const shapeOf = (moment: string) =>
      this.#model.parameters.get(moment.slice(0, moment.lastIndexOf("/")))!
        .shape;
    await writeCheckpoint(join(this.#options.folder, name), {
      model: {
        ...this.#model,
        calibration: this.#calibration,
        fitted: this.#fitted ?? this.#model.fitted,
      },
      epoch: this.#epoch,
      seed: this.#options.seed,
      metrics: this.#figures ?? {},
      annotated: annotatedCount(this.#data.boxes),
      trainer: { steps, choice: this.#choice },
      // The best checkpoint is for use, not for resuming.
      trainerTensors: new Map<string, StoredTensor>(
        name === LAST
          ? [...moments].map((
            [key, data],
          ) => [key, { shape: shapeOf(key), data }])
          : [],
      ),
    });
  }

  #restore(
    { epoch, seed, metrics, trainer, trainerTensors }: Awaited<
      ReturnType<typeof readCheckpoint>
    >,
  ): void {
    if (seed !== this.#options.seed) {
      throw new CheckpointError(
        `Cannot resume ${this.#options.folder} with seed ${this.#options.seed}: it was started with seed ${seed}; give that one, or another folder`,
      );
    }
    const { steps, choice } = trainer as {
      steps: Record<string, number>;
      choice: Choice;
    };
    this.#epoch = epoch;
    this.#choice = choice;
    this.#figures = metrics;
    this.#optimizer.restore({
      steps,
      moments: new Map(
        [...trainerTensors].map(([name, { data }]) => [name, data]),
      ),
    });
  }
}

/** An untrained model, with its frozen f if it has one. */
export async function freshModel(
  { classes, train }: TrainingData,
  { config, seed, cache, skipBad, signal }: Pick<
    TrainOptions,
    "config" | "seed" | "cache" | "skipBad" | "signal"
  >,
): Promise<Model> {
  const { initialisation, normaliseInput } = config.network;
  const model: Model = {
    config,
    classes,
    normalisation: normaliseInput
      ? await measureNormalisation(train, cache, {
        mpp: config.mpp,
        normaliseStains: config.network.normaliseStains,
        skipBad,
        signal,
      })
      : null,
    calibration: null,
    fitted: fittedTo(config.target, train.map(goalOf)),
    parameters: initialParameters(
      modelSpecs(config, classes),
      { initialisation, seed },
    ),
  };
  if (!isFrozen(config.network.features)) return model;
  return await withFrozen(model, train, { cache, seed, signal });
}

/** 1 for every class, or N / (classes x images of the class). */
export function classWeights(
  { classes, train }: TrainingData,
  { training }: Config,
): number[] {
  return classes.map((_, classIndex) => {
    if (training.classWeights === "none") return 1;
    const count = train.filter((entry) => entry.classIndex === classIndex)
      .length;
    return count === 0 ? 0 : train.length / (classes.length * count);
  });
}

/** The image that an error names: of several the one with the longest name. */
function namedBy(
  { message }: ImageError,
  images: readonly BatchImage[],
): BatchImage | undefined {
  return images.filter(({ pyramid }) => message.includes(pyramid.source))
    .sort((a, b) => b.pyramid.source.length - a.pyramid.source.length)[0];
}

function assertFinite(
  { loss, gradientNorms }: StepReport,
  { epoch, step }: { epoch: number; step: number },
): void {
  const values = [loss, ...Object.values(gradientNorms)];
  if (values.every(Number.isFinite)) return;
  throw new TrainingError(
    `Cannot continue training: the loss is ${loss} in step ${step} of epoch ${epoch}; ${ADVICE}`,
  );
}
