/**
 * The Worker's end of a team: computes shares of a training run.
 *
 * @module
 */
import type * as tf from "@tensorflow/tfjs-core";
import { FeatureCache } from "../../encoder/cache.ts";
import type { CachePlace } from "../../encoder/shared_cache.ts";
import type { Encoder } from "../../encoder/encoder.ts";
import { startEngine } from "../../engine/select.ts";
import { type ImageCache, imageCache } from "../../image/image_cache.ts";
import type { OpenOptions } from "../../image/open.ts";
import { Memory } from "../../memory.ts";
import { openFrozen } from "../../model/frozen.ts";
import type { Model } from "../../model/model.ts";
import { answerCalls } from "../../workers/calls.ts";
import { closeAll, TrainingImages } from "../batches.ts";
import { encoderFeatures } from "../dense/encoder_features.ts";
import { Locations } from "../dense/locations.ts";
import {
  disposeStudent,
  studentGradients,
  type StudentTarget,
} from "../dense/student_gradients.ts";
import { StudentViews } from "../dense/student_views.ts";
import { classified } from "../epoch_choice.ts";
import { disposeBackward } from "../step/backward.ts";
import { backwardPasses, imageLogits } from "../step/passes.ts";
import type {
  GradientTask,
  KeepTask,
  LogitsTask,
  PassValues,
  ScoreTask,
  ShareMethods,
  StudentTask,
  StudentValues,
  TensorValues,
  WorkerSetup,
} from "./protocol.ts";
import { assignValues, passValues, valuesOf } from "./values.ts";

/**
 * Answers the calls to this Worker.
 *
 * @param openingOf options of opening images, from the data that the run gives.
 * @param openFeatures opens the cache of frozen features.
 */
export function serveShares<Opening>(
  openingOf: (opening: Opening) => Pick<OpenOptions, "fetch" | "maxPixels">,
  openFeatures: OpenFeatures = openFolder,
): void {
  let share: Share;
  answerCalls<ShareMethods, never>({
    async start(setup) {
      await startEngine("wasm");
      const opening = openingOf(setup.opening as Opening);
      share = new Share(setup, { opening, openFeatures });
    },
    gradients: (task, signal) => share.gradients(task, signal),
    logits: (task, signal) => share.logits(task, signal),
    score: (task, signal) => share.score(task, signal),
    learn: (images) => share.learn(images),
    student: (task, signal) => share.student(task, signal),
    keep: (task, signal) => share.keep(task, signal),
    release: () => share.release(),
  });
}

/** Opens a cache. */
type OpenFeatures = (place: CachePlace) => Promise<FeatureCache | undefined>;

/** One that is not shared with other hosts. */
function openFolder(
  { folder, maxBytes }: CachePlace,
): ReturnType<OpenFeatures> {
  return Promise.resolve(new FeatureCache(folder, maxBytes));
}

/** The images of a Worker, and the model under the weights that it was sent. */
class Share {
  readonly #setup: WorkerSetup;
  readonly #memory: Memory;
  readonly #cache: ImageCache;
  readonly #parameters = new Map<string, tf.Variable>();
  readonly #model: Model;
  readonly #images: TrainingImages;
  readonly #views: StudentViews;
  #targets: readonly StudentTarget[] = [];
  #encoder: Promise<Encoder | undefined> | undefined;
  readonly #openFeatures: OpenFeatures;
  #features: Promise<FeatureCache | undefined> | undefined;

  constructor(
    setup: WorkerSetup,
    { opening, openFeatures }: {
      opening: Pick<OpenOptions, "fetch" | "maxPixels">;
      openFeatures: OpenFeatures;
    },
  ) {
    const { memoryBytes, imageBytes, seed, train } = setup;
    this.#openFeatures = openFeatures;
    this.#setup = setup;
    this.#memory = new Memory(memoryBytes);
    const memory = this.#memory;
    const cache = imageCache(memory, imageBytes, opening);
    this.#cache = cache;
    this.#model = {
      ...setup.model,
      calibration: null,
      parameters: this.#parameters,
    };
    this.#images = new TrainingImages(this.#model, train, { seed, cache });
    this.#views = new StudentViews(this.#model, { memory, cache });
  }

  async gradients(
    { weights, epoch, images: places, next, ...options }: GradientTask,
    signal: AbortSignal,
  ): Promise<PassValues[]> {
    const model = this.#under(weights);
    const images = await this.#images.open(epoch, places);
    try {
      this.#images.prefetch(epoch, next);
      const { foreground } = this.#setup;
      const memory = this.#memory;
      const how = { ...options, foreground, memory, signal };
      const passes = await backwardPasses(model, images, how);
      try {
        return await Promise.all(passes.map(passValues));
      } finally {
        passes.forEach(disposeBackward);
      }
    } finally {
      closeAll(images);
    }
  }

  async logits(
    { weights, epoch, images: places, ...options }: LogitsTask,
    signal: AbortSignal,
  ): Promise<number[][]> {
    const model = this.#under(weights);
    const images = await this.#images.open(epoch, places);
    try {
      const { foreground } = this.#setup;
      const memory = this.#memory;
      const how = { ...options, foreground, memory, signal };
      return await imageLogits(model, images, how);
    } finally {
      closeAll(images);
    }
  }

  async score(
    { weights, entries, evaluationSeed: seed }: ScoreTask,
    signal: AbortSignal,
  ) {
    const { foreground } = this.#setup;
    const memory = this.#memory, cache = this.#cache;
    const how = { cache, memory, foreground, seed, signal };
    return await classified(this.#under(weights), entries, how);
  }

  learn(images: readonly StudentTarget[]): void {
    this.#targets = images;
  }

  async student(
    { weights, images, ...order }: StudentTask,
    signal: AbortSignal,
  ): Promise<StudentValues[]> {
    const model = this.#under(weights);
    const targets = images.map((place) => {
      const { entry, grid, ...target } = this.#targets[place]!;
      const views = () => this.#views.of(entry, grid);
      return { ...target, grid, place, views };
    });
    const memory = this.#memory;
    const how = { ...order, memory, signal };
    const done = await studentGradients(model, targets, how);
    try {
      return await Promise.all(done.map(async ({ loss, gradients }) => ({
        loss: (await loss.data())[0]!,
        gradients: await valuesOf(gradients),
      })));
    } finally {
      done.forEach(disposeStudent);
    }
  }

  async keep(
    { entry, place }: KeepTask,
    signal: AbortSignal,
  ): Promise<void> {
    const { foreground, model } = this.#setup;
    const { config: { network, view } } = model;
    // On one core: the other workers have the others.
    this.#encoder ??= openFrozen(network, this.#parameters, 1);
    this.#features ??= this.#openFeatures(place);
    const locations = new Locations({
      ...model,
      foreground,
      signal,
      cache: this.#cache,
      memory: this.#memory,
      features: encoderFeatures((await this.#encoder)!, {
        cache: await this.#features,
        windowSize: view.subTileSize,
      }),
      side: network.places,
    });
    await locations.read(entry);
  }

  async release(): Promise<void> {
    await (await this.#encoder)?.dispose();
    this.#encoder = undefined;
  }

  /** The model with these weights. */
  #under(weights: TensorValues): Model {
    assignValues(this.#parameters, weights);
    return this.#model;
  }
}
