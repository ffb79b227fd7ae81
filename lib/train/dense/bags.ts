/**
 * Bags of projected features of all locations, for the teacher. Features are
 * read twice: for the projection, and to be projected. Those that fit are held in
 * between; the others come from a cache on disk, or are computed again.
 *
 * @module
 */
import { randomKey, RandomStream } from "../../../kernels/random.ts";
import { goalOf, type ManifestEntry } from "../../data/manifest.ts";
import { type Half, half } from "../../encoder/half.ts";
import { TrainingError } from "../../errors.ts";
import type { ImageLocations, Locations } from "./locations.ts";
import {
  fitProjection,
  projected,
  type Projection,
  PROJECTION_ROWS,
} from "./projection.ts";
import type { ReadImage } from "./readable_images.ts";
import type { Bag } from "./teacher.ts";

/** A bag, and the image that it is of. */
export interface ImageBag extends Bag {
  entry: ManifestEntry;
  image: ImageLocations;
}

/** Options of {@linkcode readBags}. */
export interface BagOptions {
  locations: Locations;
  /** K. */
  channels: number;
  /** Principal components that are kept; null: all features, standardised. */
  components: number | null;
  /** Copies of each training image, the one as it is included. */
  copies: number;
  seed: number;
  /** Bytes of features that may be held. */
  bytes: number;
  /** Awaited before each image. */
  beforeImage?: () => Promise<void>;
  /** Reads an image, or leaves it out. */
  readImage: ReadImage;
  /** Called after each image that was read, copies counted. */
  onImage?: (done: number, total: number) => void;
}

// Word of the random keys.
const ROWS = 109;

/** The bags of the training images, and the projection fitted on them. */
export async function readBags(
  entries: readonly ManifestEntry[],
  options: BagOptions,
): Promise<{ bags: ImageBag[]; projection: Projection }> {
  const { channels, components, copies } = options;
  const reader = new Reader(options, entries.length * copies);
  const found: { entry: ManifestEntry; image: ImageLocations }[] = [];
  const rows: Float32Array[] = [];
  const most = Math.ceil(PROJECTION_ROWS / (entries.length * copies));
  for (const [index, entry] of entries.entries()) {
    const read = await options.readImage(entry, async () => {
      const image = await options.locations.of(entry);
      const own: Float32Array[] = [];
      for (let copy = 0; copy < copies; copy++) {
        const features = await reader.read(entry, image, copy);
        const random = new RandomStream(
          randomKey(options.seed, ROWS, index, copy),
        );
        own.push(someRows(features, channels, most, random));
      }
      return { image, own };
    });
    if (!read) continue;
    found.push({ entry, image: read.image });
    rows.push(...read.own);
  }
  checkSome(found);
  const projection = await fitProjection(joined(rows), channels, components);
  const bags: ImageBag[] = [];
  for (const { entry, image } of found) {
    const bag = await options.readImage(entry, () =>
      bagOf(entry, image, {
        projection,
        copies,
        read: (copy) => reader.read(entry, image, copy),
      }));
    if (bag) bags.push(bag);
  }
  checkSome(bags);
  return { bags, projection };
}

/** @throws {TrainingError} If there are no images. */
function checkSome(images: readonly unknown[]): void {
  if (images.length > 0) return;
  throw new TrainingError(
    "Cannot continue training: no image could be read; --resume continues once they can be",
  );
}

/** Bags of images that are not trained on, as they are. */
export async function readScoredBags(
  entries: readonly ManifestEntry[],
  { projection, locations, readImage, beforeImage }:
    & Pick<BagOptions, "locations" | "readImage" | "beforeImage">
    & { projection: Projection },
): Promise<ImageBag[]> {
  const bags: ImageBag[] = [];
  for (const entry of entries) {
    await beforeImage?.();
    const bag = await readImage(entry, async () => {
      const image = await locations.of(entry);
      return await bagOf(entry, image, {
        projection,
        copies: 1,
        read: async () =>
          Float32Array.from(half(await locations.features(entry, image, 0))),
      });
    });
    if (bag) bags.push(bag);
  }
  return bags;
}

async function bagOf(
  entry: ManifestEntry,
  image: ImageLocations,
  { projection, copies, read }: {
    projection: Projection;
    copies: number;
    read: (copy: number) => Promise<Float32Array>;
  },
): Promise<ImageBag> {
  const features: Float32Array[] = [];
  for (let copy = 0; copy < copies; copy++) {
    features.push(await projected(await read(copy), projection));
  }
  return {
    entry,
    image,
    goal: goalOf(entry),
    locations: image.indices.length * image.places,
    total: image.total * image.places,
    copies: features,
    objects: image.objects,
  };
}

/** Reads features; keeps them for the next time as long as there is room. */
class Reader {
  readonly #options: BagOptions;
  readonly #total: number;
  readonly #held = new Map<string, Half>();
  #room: number;
  #done = 0;

  constructor(options: BagOptions, total: number) {
    this.#options = options;
    this.#total = total;
    this.#room = options.bytes;
  }

  async read(
    entry: ManifestEntry,
    image: ImageLocations,
    copy: number,
  ): Promise<Float32Array> {
    const { locations, beforeImage, onImage } = this.#options;
    const key = `${copy} ${entry.path}`;
    const held = this.#held.get(key);
    if (held) return Float32Array.from(held);
    await beforeImage?.();
    const features = half(await locations.features(entry, image, copy));
    if (features.byteLength <= this.#room) {
      this.#room -= features.byteLength;
      this.#held.set(key, features);
    }
    this.#done++;
    onImage?.(Math.min(this.#done, this.#total), this.#total);
    return Float32Array.from(features);
  }
}

/** Up to `most` random rows. */
function someRows(
  features: Float32Array,
  channels: number,
  most: number,
  random: RandomStream,
): Float32Array {
  const count = features.length / channels;
  const order = random.shuffle(Array.from({ length: count }, (_, i) => i));
  return joined(
    order.slice(0, most).map((row) =>
      features.subarray(row * channels, (row + 1) * channels)
    ),
  );
}

function joined(parts: readonly Float32Array[]): Float32Array {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const all = new Float32Array(length);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
