/**
 * The batches of an epoch: shuffled, augmented and prefetched.
 *
 * @module
 */
import { type Key, randomKey, RandomStream } from "../../kernels/random.ts";
import type { ManifestEntry } from "../data/manifest.ts";
import type { ImageCache } from "../image/image_cache.ts";
import type { Pyramid } from "../image/pyramid.ts";
import { openAtMpp } from "../image/resampled.ts";
import type { DensityMatrix } from "../image/stains/stains.ts";
import { stainsFor } from "../model/look/input.ts";
import type { Model } from "../model/model.ts";
import { augmentation } from "./augmentation.ts";
import type { TrainingImage } from "./step/micro_batch.ts";

// Words of the random keys, one for each purpose.
const DRAWS = 1, SHUFFLE = 102, AUGMENTATION = 103;

/** Options of {@linkcode Batches}. */
interface BatchOptions {
  seed: number;
  cache: ImageCache;
  signal?: AbortSignal | undefined;
}

/** The images of a run in batches; an epoch's follow from its number. */
export class Batches {
  readonly #model: Model;
  readonly #entries: readonly ManifestEntry[];
  readonly #options: BatchOptions;
  /** Computed once: an image's stains do not change. */
  readonly #stains = new Map<number, DensityMatrix | null>();

  constructor(
    model: Model,
    entries: readonly ManifestEntry[],
    options: BatchOptions,
  ) {
    this.#model = model;
    this.#entries = entries;
    this.#options = options;
  }

  /** Batches in an epoch. */
  get steps(): number {
    return Math.ceil(this.#entries.length / this.#batchSize);
  }

  /**
   * The batches of an epoch. The next one is prefetched while the caller uses
   * the last, whose images are closed when the next one is asked for.
   *
   * @throws {ImageError} If an image cannot be read.
   */
  async *ofEpoch(epoch: number): AsyncGenerator<TrainingImage[]> {
    const order = new RandomStream(
      randomKey(this.#options.seed, SHUFFLE, epoch),
    ).shuffle([...this.#entries.keys()]);
    const size = this.#batchSize;
    const batchAt = (step: number) =>
      order.slice(step * size, (step + 1) * size);
    let next = this.#openAhead(batchAt(0), epoch);
    try {
      for (let step = 0; step < this.steps; step++) {
        const images = await next;
        next = this.#openAhead(batchAt(step + 1), epoch);
        try {
          yield images;
        } finally {
          closeAll(images);
        }
      }
    } finally {
      // Prefetched, but not used if the caller has stopped.
      closeAll(await next.catch(() => []));
    }
  }

  get #batchSize(): number {
    return this.#model.config.training.batchSize;
  }

  /** Opens a batch; a failure is thrown where the promise is awaited. */
  #openAhead(
    batch: readonly number[],
    epoch: number,
  ): Promise<TrainingImage[]> {
    const opened = this.#open(batch, epoch);
    // A failure before anyone awaits the promise must not end the process.
    opened.catch(() => {});
    return opened;
  }

  /** Opens all images of a batch, or none. */
  async #open(
    batch: readonly number[],
    epoch: number,
  ): Promise<TrainingImage[]> {
    const opened = await Promise.allSettled(
      batch.map((index) => this.#openOne(index, epoch)),
    );
    const failed = opened.find(({ status }) => status === "rejected");
    const images = opened.flatMap((image) =>
      image.status === "fulfilled" ? [image.value] : []
    );
    if (!failed) return images;
    closeAll(images);
    throw (failed as PromiseRejectedResult).reason;
  }

  async #openOne(index: number, epoch: number): Promise<TrainingImage> {
    const { seed, cache, signal } = this.#options;
    const { mpp, training } = this.#model.config;
    const entry = this.#entries[index]!;
    const key = (purpose: number): Key =>
      randomKey(seed, purpose, epoch, index);
    const pyramid = await openAtMpp(cache, entry, mpp, signal);
    try {
      return {
        pyramid,
        classIndex: entry.classIndex,
        stains: await this.#stainsOf(index, pyramid),
        augmentation: augmentation(training.augmentation, key(AUGMENTATION)),
        key: key(DRAWS),
      };
    } catch (error) {
      pyramid.close();
      throw error;
    }
  }

  async #stainsOf(
    index: number,
    pyramid: Pyramid,
  ): Promise<DensityMatrix | null> {
    const known = this.#stains.get(index);
    if (known !== undefined) return known;
    const { signal } = this.#options;
    const stains = await stainsFor(this.#model, pyramid, signal);
    this.#stains.set(index, stains);
    return stains;
  }
}

function closeAll(images: readonly TrainingImage[]): void {
  for (const { pyramid } of images) pyramid.close();
}
