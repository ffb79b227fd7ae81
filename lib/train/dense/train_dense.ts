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
import { CheckpointError, ConfigError, TrainingError } from "../../errors.ts";
import {
  BEST,
  LAST,
  readCheckpoint,
  writeCheckpoint,
} from "../../model/checkpoint.ts";
import type { Calibration } from "../../model/calibration.ts";
import type { Config } from "../../model/config.ts";
import {
  componentCount,
  CORRECTION,
  HIDDEN,
  RARE_BIAS,
} from "../../model/head.ts";
import type { Model } from "../../model/model.ts";
import { OVERVIEW } from "../../model/networks.ts";
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
import { encoderFeatures, modelFeatures } from "./encoder_features.ts";
import { CLOSE_UP } from "../../model/close_up/parameters.ts";
import { fitCloseUp } from "./close_up/fit_close_up.ts";
import { fitLookalikes } from "./close_up/lookalikes.ts";
import { fitDrawCorrection } from "./draw_correction.ts";
import { gridView } from "../../model/look/location_grid.ts";
import { copyCount, type LocationFeatures, Locations } from "./locations.ts";
import {
  assign,
  freshHead,
  type HeadArrays,
  readHead,
  writeHead,
} from "./head/head_arrays.ts";
import { meanHead, memberSeed } from "./head/ensemble.ts";
import { type Projection, readProjection } from "./projection.ts";
import { fitOverview } from "./overview_student.ts";
import { distil, STUDENT_STEPS } from "./student.ts";
import { StudentViews } from "./student_views.ts";
import { type TeacherEpoch, teacherEpochs } from "./teacher.ts";
import {
  strongestPlaces,
  teacherFigures,
  teacherShares,
} from "./teacher_scores.ts";
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

const ADVICE = "lower training.learningRate, then start anew";
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
  await openScored(data, options);
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
  #phase: Phase = "start";
  #figures: EpochFigures = {};
  #calibration: Calibration | null = null;
  #elapsed = startClock();

  private constructor(data: TrainingData, options: DenseOptions, model: Model) {
    this.#data = data;
    this.#options = options;
    this.#model = model;
    this.#log = new RunLog(join(options.folder, LOG_FILE));
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
    const copies = copyCount(config);
    const first = createHash("sha256").update(folder).digest().readUInt32LE();
    for (let i = 0; i < train.length; i++) {
      await this.#breathe();
      const entry = train[(first + i) % train.length]!;
      const image = await this.#locations.of(entry);
      for (let copy = 0; copy < copies; copy++) {
        await this.#locations.features(entry, image, copy);
      }
      this.#tell({ epoch: 1, step: i + 1, steps: train.length });
    }
  }

  async #teach(
    bags: readonly ImageBag[],
    scored: Record<"validation" | "test", readonly ImageBag[]>,
    projection: Projection,
  ): Promise<HeadArrays> {
    const { parameters } = this.#model;
    const heads = this.#freshHeads(projection);
    const members = heads.map(({ head, seed }) =>
      this.#epochsOf(head, bags, seed)
    );
    for (
      let epoch = 1;
      epoch <= this.#options.config.training.epochs;
      epoch++
    ) {
      const found = await eachNext(members);
      found.forEach(assertFinite);
      this.#figures = {
        loss: meanOf(found.map(({ loss }) => loss)),
        accuracy: meanOf(found.map(({ accuracy }) => accuracy)),
        gradientNorm_g: meanOf(found.map((one) => one.gradientNorm)),
        ...this.#teacherFigures(
          meanHead(heads.map(({ head }) => head)),
          scored,
        ),
      };
      const { seconds } = await this.#append("epoch", {
        epoch,
        ...this.#figures,
      });
      const { config, onEpoch } = this.#options;
      const { epochs } = config.training;
      await onEpoch?.({ epoch, epochs, figures: this.#figures, seconds });
    }
    const head = meanHead(heads.map(({ head }) => head));
    assign(parameters, "g/project/weight", projection.weight);
    assign(parameters, "g/project/bias", projection.bias);
    writeHead(parameters, head);
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

  /** The heads as they start, each with its seed. */
  #freshHeads(
    { bias }: Projection,
  ): { head: HeadArrays; seed: number }[] {
    const { config: { network }, seed } = this.#options;
    const outputs = this.#model.parameters.get("g/bias")!.size;
    const shape = { components: bias.length, hidden: HIDDEN, outputs };
    return Array.from({ length: network.heads }, (_, member) => {
      const own = memberSeed(seed, member);
      const head = freshHead(shape, {
        seed: own,
        bias: network.evidence.objects === null ? undefined : RARE_BIAS,
      });
      return { head, seed: own };
    });
  }

  #epochsOf(
    head: HeadArrays,
    bags: readonly ImageBag[],
    seed: number,
  ): AsyncGenerator<TeacherEpoch> {
    const { config } = this.#options;
    return teacherEpochs(head, bags, {
      ...this.#task(),
      training: config.training,
      ...config.training.dense!,
      classWeights: classWeights(this.#data, config),
      seed,
      beforeStep: () => this.#breathe(),
      onStep: (progress) => this.#tell(progress),
    });
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
    const { config, seed, memory, score = scoredEpoch } = this.#options;
    if (this.#model.overview) {
      this.#figures.studentLoss = await this.#fitOverview(bags, head);
    } else if (config.network.attention === "learned") {
      const views = new StudentViews(this.#model, this.#options);
      const images = bags.map((bag) => ({
        grid: bag.image.grid,
        allowed: bag.image.allowed,
        shares: teacherShares(head, bag, this.#task()),
        views: () => views.of(bag.entry, bag.image.grid),
      }));
      this.#figures.studentLoss = await distil(this.#model, images, {
        seed,
        memory,
        beforeStep: () => this.#breathe(),
        onStep: ({ step, loss }) =>
          this.#tell({
            epoch: config.training.epochs,
            step,
            steps: STUDENT_STEPS,
            loss,
          }),
      });
    }
    await this.#correct(bags, head);
    if (this.#model.closeUp) await this.#learnCloseUp(bags, head);
    const scored = await score(this.#model, this.#data, this.#options);
    Object.assign(this.#figures, scored.figures);
    this.#calibration = scored.calibration;
    this.#phase = "student";
    await this.#append("result", this.#figures);
    await this.#save(BEST);
    await this.#save(LAST);
  }

  /** Fits attention by the encoder; returns its loss. */
  async #fitOverview(
    bags: readonly ImageBag[],
    head: HeadArrays,
  ): Promise<number> {
    const { config, seed, featureCache: cache } = this.#options;
    const { overview, normalisation, parameters } = this.#model;
    const features = encoderFeatures(overview!, {
      cache,
      windowSize: config.view.subTileSize,
    });
    const locations = new Locations({
      ...this.#options,
      features,
      side: 1,
      normalisation,
    });
    const images = bags.map((bag) => {
      const shares = teacherShares(head, bag, this.#task());
      return {
        shares: Float64Array.from(bag.image.indices, (i) => shares[i]!),
        features: () => locations.features(bag.entry, bag.image, 0),
      };
    });
    const { weight, loss } = await fitOverview(images, {
      channels: features.channels,
      seed,
      beforeStep: () => this.#breathe(),
      onStep: (progress) =>
        this.#tell({ epoch: config.training.epochs, ...progress }),
    });
    assign(parameters, OVERVIEW, weight);
    return loss;
  }

  /** Corrects the evidence of draws by what they lose on the training images. */
  async #correct(bags: readonly ImageBag[], head: HeadArrays): Promise<void> {
    const { slope, offset } = await fitDrawCorrection(this.#model, head, bags, {
      ...this.#options,
      beforeImage: () => this.#breathe(),
    });
    assign(this.#model.parameters, CORRECTION.slope, Float32Array.of(slope));
    assign(this.#model.parameters, CORRECTION.offset, Float32Array.of(offset));
    Object.assign(this.#figures, {
      correctionSlope: slope,
      correctionOffset: offset,
    });
  }

  /** Learns to find, place and read the object in the heaviest sub-tile. */
  async #learnCloseUp(
    bags: readonly ImageBag[],
    head: HeadArrays,
  ): Promise<void> {
    const { config, seed } = this.#options;
    const lookalikes = fitLookalikes(bags, seed);
    const images = bags.map((bag) => ({
      entry: bag.entry,
      strongest: strongestPlaces(head, bag, this.#task()),
      lookalikes: bag.entry.label === config.referenceClass
        ? lookalikes(bag)
        : [],
    }));
    const fitted = await fitCloseUp(this.#model, images, {
      ...this.#options,
      boxes: this.#data.boxes!,
      classWeights: classWeights(this.#data, config),
      beforeImage: () => this.#breathe(),
      onImage: (step, steps) =>
        this.#tell({ epoch: config.training.epochs, step, steps }),
    });
    for (const [name, { weight, bias }] of Object.entries(fitted)) {
      const own = CLOSE_UP[name as keyof typeof CLOSE_UP];
      assign(this.#model.parameters, `${own}/weight`, weight);
      assign(this.#model.parameters, `${own}/bias`, bias);
    }
  }

  /** What the teacher decides between. */
  #task() {
    const { config } = this.#options;
    const { classes } = this.#model;
    const index = classes.indexOf(config.referenceClass ?? "");
    return {
      classes: classes.length,
      reference: index < 0 ? null : index,
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
    await this.#log.append({ type, ...figures, ...elapsed });
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

  async #save(name: string): Promise<void> {
    const { folder, seed, config } = this.#options;
    await writeCheckpoint(join(folder, name), {
      model: { ...this.#model, calibration: this.#calibration },
      annotated: annotatedCount(this.#data.boxes),
      epoch: this.#phase === "start" ? 0 : config.training.epochs,
      seed,
      metrics: this.#figures,
      trainer: { phase: this.#phase },
      trainerTensors: new Map(),
    });
  }
}

/** The next epoch of each head, one after the other. */
async function eachNext(
  members: readonly AsyncGenerator<TeacherEpoch>[],
): Promise<TeacherEpoch[]> {
  const found: TeacherEpoch[] = [];
  for (const member of members) {
    const next = await member.next();
    if (!next.done) found.push(next.value);
  }
  return found;
}

function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function assertFinite({ epoch, loss, gradientNorm }: TeacherEpoch): void {
  if (Number.isFinite(loss) && Number.isFinite(gradientNorm)) return;
  throw new TrainingError(
    `Cannot continue training: the loss of the teacher is ${loss} in epoch ${epoch}; ${ADVICE}`,
  );
}
