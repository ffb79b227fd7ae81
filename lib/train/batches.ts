/**
 * The batches of an epoch: shuffled, augmented and prefetched.
 *
 * @module
 */
import { type Key, randomKey, RandomStream } from "../../kernels/random.ts";
import { goalOf, type ManifestEntry } from "../data/manifest.ts";
import { ImageError } from "../errors.ts";
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

/** Options of {@linkcode TrainingImages}. */
interface OpenOptions {
  seed: number;
  cache: ImageCache;
  signal?: AbortSignal | undefined;
}

/** One batch of an epoch, shared out among workers. */
export interface Batch {
  /** Places among the entries of the images that each worker computes. */
  shares: readonly (readonly number[])[];
  /** Places among the entries, in the order of the batch. */
  order: readonly number[];
  /** The images of the first share; none if one cannot be opened. */
  images: readonly TrainingImage[];
  /** Why one of them cannot be opened. */
  failure?: ImageError;
  /** Shares of the next batch; empty ones after the last. */
  next: readonly (readonly number[])[];
}

/** An image of a batch, with its row of the manifest. */
export interface BatchImage extends TrainingImage {
  entry: ManifestEntry;
}

/** Takes note of an image that is left out. */
export type OnSkipped = (entry: ManifestEntry, error: ImageError) => void;

/** The images of a run in batches; an epoch's follow from its number. */
export class Batches {
  readonly #model: Model;
  readonly #entries: readonly ManifestEntry[];
  readonly #seed: number;
  readonly #images: TrainingImages;

  constructor(
    model: Model,
    entries: readonly ManifestEntry[],
    options: OpenOptions,
  ) {
    this.#model = model;
    this.#entries = entries;
    this.#seed = options.seed;
    this.#images = new TrainingImages(model, entries, options);
  }

  /** Batches in an epoch. */
  get steps(): number {
    return Math.ceil(this.#entries.length / this.#batchSize);
  }

  /**
   * The batches of an epoch. The images of the first share of the next one are
   * prefetched while the caller uses the last, whose images are closed when the
   * next one is asked for.
   *
   * An image that cannot be opened is told by the batch: the caller may go on.
   *
   * @param workers that share a batch; 0 if others compute all of it.
   */
  async *ofEpoch(epoch: number, workers = 1): AsyncGenerator<Batch> {
    const order = new RandomStream(
      randomKey(this.#seed, SHUFFLE, epoch),
    ).shuffle([...this.#entries.keys()]);
    const size = this.#batchSize;
    const orderAt = (step: number) =>
      order.slice(step * size, (step + 1) * size);
    let shares = sharesOf(orderAt(0), workers);
    try {
      for (let step = 0; step < this.steps; step++) {
        const { images, failure } = await this.#images.open(
          epoch,
          shares[0] ?? [],
        )
          .then((images) => ({ images, failure: undefined }), asFailure);
        const next = sharesOf(orderAt(step + 1), workers);
        this.#images.prefetch(epoch, next[0] ?? []);
        try {
          yield {
            shares,
            order: orderAt(step),
            images,
            next,
            ...(failure && { failure }),
          };
        } finally {
          closeAll(images);
        }
        shares = next;
      }
    } finally {
      await this.#images.close(); // the caller may have stopped
    }
  }

  /** Opens those images of a batch that can be opened. Close them. */
  async readable(
    epoch: number,
    places: readonly number[],
    onSkipped: OnSkipped,
  ): Promise<BatchImage[]> {
    return await this.#images.readable(epoch, places, onSkipped);
  }

  get #batchSize(): number {
    return this.#model.config.training.batchSize;
  }
}

/**
 * A batch shared out, as evenly as it can be; the first worker, which also moves
 * the parameters, has the smallest share. Each has neighbours among the entries,
 * so that over the epochs it reads, and keeps, mostly the same images.
 */
export function sharesOf(
  batch: readonly number[],
  workers: number,
): number[][] {
  const sorted = batch.toSorted((a, b) => a - b);
  const startOf = (worker: number) =>
    Math.floor(worker * sorted.length / workers);
  return Array.from({ length: workers }, (_, worker) => {
    const own = new Set(sorted.slice(startOf(worker), startOf(worker + 1)));
    return batch.filter((place) => own.has(place));
  });
}

/** What was made of each image, by worker after worker, in the batch's order. */
export function inOrder<T>(
  batch: readonly number[],
  shares: readonly (readonly number[])[],
  made: readonly T[],
): T[] {
  const byPlace = new Map(
    shares.flat().map((place, i) => [place, made[i]!] as const),
  );
  return batch.map((place) => byPlace.get(place)!);
}

/** Opens the images of a run, each augmented as its epoch has it. */
export class TrainingImages {
  readonly #model: Model;
  readonly #entries: readonly ManifestEntry[];
  readonly #options: OpenOptions;
  /** Computed once: an image's stains do not change. */
  readonly #stains = new Map<number, DensityMatrix | null>();
  #ahead: { key: string; images: Promise<TrainingImage[]> } | undefined;

  constructor(
    model: Model,
    entries: readonly ManifestEntry[],
    options: OpenOptions,
  ) {
    this.#model = model;
    this.#entries = entries;
    this.#options = options;
  }

  /**
   * Opens all images at `places` among the entries, or none. Close them.
   *
   * @throws {ImageError} If an image cannot be read.
   */
  async open(
    epoch: number,
    places: readonly number[],
  ): Promise<TrainingImage[]> {
    if (this.#ahead?.key === keyOf(epoch, places)) {
      const { images } = this.#ahead;
      this.#ahead = undefined;
      return await images;
    }
    await this.close();
    return await this.#open(places, epoch);
  }

  /** As {@linkcode open}, but for images that cannot be read. */
  async readable(
    epoch: number,
    places: readonly number[],
    onSkipped: OnSkipped,
  ): Promise<BatchImage[]> {
    const images: BatchImage[] = [];
    for (const place of places) {
      const entry = this.#entries[place]!;
      try {
        images.push({ ...await this.#openOne(place, epoch), entry });
      } catch (error) {
        if (!(error instanceof ImageError)) throw error;
        onSkipped(entry, error);
      }
    }
    return images;
  }

  /** Opens images that will be asked for next; a failure is thrown there. */
  prefetch(epoch: number, places: readonly number[]): void {
    const images = this.#open(places, epoch);
    // A failure before anyone awaits the promise must not end the process.
    images.catch(() => {});
    this.#ahead = { key: keyOf(epoch, places), images };
  }

  /** Closes what was prefetched and not asked for. */
  async close(): Promise<void> {
    const ahead = this.#ahead;
    this.#ahead = undefined;
    closeAll(await ahead?.images.catch(() => []) ?? []);
  }

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
        goal: goalOf(entry),
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

/** A batch without images; other errors than of images are thrown. */
function asFailure(
  error: unknown,
): { images: TrainingImage[]; failure: ImageError } {
  if (error instanceof ImageError) return { images: [], failure: error };
  throw error;
}

function keyOf(epoch: number, places: readonly number[]): string {
  return `${epoch}:${places}`;
}

/** Closes images. */
export function closeAll(images: readonly TrainingImage[]): void {
  for (const { pyramid } of images) pyramid.close();
}
