/**
 * Learns the close-up: finding and placing from annotated boxes, reading from the
 * labels of all training images, each by the object that the model finds in it.
 *
 * @module
 */
import { randomKey, RandomStream } from "../../../../kernels/random.ts";
import { objectsSeen } from "../../../data/annotations/seen.ts";
import type { ManifestEntry } from "../../../data/manifest.ts";
import { DataError } from "../../../errors.ts";
import type { Point } from "../../../image/geometry.ts";
import type { ImageCache } from "../../../image/image_cache.ts";
import type { Pyramid } from "../../../image/pyramid.ts";
import { openAtMpp } from "../../../image/resampled.ts";
import { type AffineValues, mapOf } from "../../../model/close_up/affine.ts";
import { foundObject } from "../../../model/close_up/close_up.ts";
import { type CropFeatures, cropsOf } from "../../../model/close_up/crops.ts";
import {
  candidates,
  type Square,
  squareAbout,
  tight,
} from "../../../model/close_up/squares.ts";
import type { Model } from "../../../model/model.ts";
import type { TrainingBoxes } from "../../boxes.ts";
import { fitClasses, fitRidge, wideRows } from "../../regression/wide_rows.ts";
import {
  firstExample,
  jittered,
  nearExample,
  type PlacementExample,
} from "./object_examples.ts";

/** What a close-up learns. */
export interface FittedCloseUp {
  find: AffineValues;
  place: AffineValues;
  read: AffineValues;
}

/** A training image. */
export interface CloseUpImage {
  entry: ManifestEntry;
  /** Its locations, level-0 px, by their shares in the evidence, largest first. */
  strongest: readonly Point[];
}

/** Options of {@linkcode fitCloseUp}. */
export interface CloseUpOptions {
  boxes: TrainingBoxes;
  /** Weight of each class in the loss. */
  classWeights: readonly number[];
  cache: ImageCache;
  seed: number;
  signal?: AbortSignal | undefined;
  /** Awaited before each image. */
  beforeImage?: () => Promise<void>;
  /** Called after each image. */
  onImage?: (done: number, total: number) => void;
}

// Examples of an object, and of all: their products with each other are computed.
const EXAMPLES = 80, MOST_EXAMPLES = 800;
// Copies of the object of an image, and rows of all.
const COPIES = 6, MOST_ROWS = 1200;
// Of road signs, on training frames: ten times less or more of the first changes
// nothing; of the second less is better until there is hardly any.
const RIDGE = 0.003, PENALTY_A_ROW = 6e-5;
const CLOSE_UP = 114; // word of the random keys

/**
 * Fits a model's close-up from its training images.
 *
 * @throws {DataError} If an object is a point.
 * @throws {ImageError} If an image cannot be read.
 */
export async function fitCloseUp(
  model: Model,
  images: readonly CloseUpImage[],
  options: CloseUpOptions,
): Promise<FittedCloseUp> {
  const placers = await fitPlacers(model, images, options);
  return { ...placers, read: await fitReader(model, images, placers, options) };
}

async function fitPlacers(
  model: Model,
  images: readonly CloseUpImage[],
  options: CloseUpOptions,
): Promise<Omit<FittedCloseUp, "read">> {
  const { boxes, seed } = options;
  const { subTileSize } = model.config.view;
  const random = new RandomStream(randomKey(seed, CLOSE_UP));
  const annotated = images.map(({ entry }) => entry)
    .filter(({ path }) => boxes.objects.has(path));
  const total = annotated.reduce(
    (sum, { path }) => sum + boxes.objects.get(path)!.length,
    0,
  );
  const each = Math.min(EXAMPLES, Math.ceil(MOST_EXAMPLES / total));
  const first = new Examples(), near = new Examples();
  for (const entry of annotated) {
    await options.beforeImage?.();
    if (near.count >= MOST_EXAMPLES) break;
    await opened(model, entry, options, async (pyramid, crops) => {
      for (const object of objectsOf(entry, pyramid, boxes)) {
        for (let i = 0; i < each; i++) {
          await first.add(firstExample(object, subTileSize, random), crops);
          await near.add(nearExample(object, random), crops);
        }
      }
    });
  }
  return { find: first.fit(), place: near.fit() };
}

/** Examples of placements with their features. */
class Examples {
  readonly #rows: Float32Array[] = [];
  readonly #placements: number[][] = [];

  get count(): number {
    return this.#rows.length;
  }

  async add(
    { square, placement }: PlacementExample,
    crops: CropFeatures,
  ): Promise<void> {
    this.#rows.push(await crops(square));
    this.#placements.push(placement);
  }

  fit(): AffineValues {
    return fitRidge(wideRows(this.#rows), this.#placements, RIDGE);
  }
}

async function fitReader(
  model: Model,
  images: readonly CloseUpImage[],
  { find, place }: Omit<FittedCloseUp, "read">,
  options: CloseUpOptions,
): Promise<AffineValues> {
  const { seed, classWeights } = options;
  const { subTileSize } = model.config.view;
  const random = new RandomStream(randomKey(seed, CLOSE_UP, 1));
  const train = random.shuffle([...images]).slice(0, MOST_ROWS);
  const room = Math.floor(MOST_ROWS / train.length);
  const copies = Math.min(COPIES, room);
  const finders = { find: mapOf(find), place: mapOf(place) };
  /** In an image of a class its object; of the background all that look like one. */
  const foundIn = async (
    { label }: ManifestEntry,
    strongest: readonly Point[],
    crops: CropFeatures,
  ) => {
    const places = candidates(strongest, subTileSize);
    const isBackground = label === model.config.referenceClass;
    const objects: Square[] = [];
    for (const middle of isBackground ? places : places.slice(0, 1)) {
      objects.push(await foundObject(finders, crops, { middle, subTileSize }));
    }
    return objects;
  };
  const rows: Float32Array[] = [], labels: number[] = [];
  for (const [index, { entry, strongest }] of train.entries()) {
    await options.beforeImage?.();
    await opened(model, entry, options, async (pyramid, crops) => {
      const objects = options.boxes.objects.has(entry.path)
        ? objectsOf(entry, pyramid, options.boxes)
        : await foundIn(entry, strongest, crops);
      const shown = Math.max(copies, objects.length);
      for (let copy = 0; copy < shown; copy++) {
        const object = objects[copy % objects.length]!;
        const square = copy < objects.length
          ? object
          : jittered(object, random);
        rows.push(await crops(tight(square)));
        labels.push(entry.classIndex);
      }
    });
    options.onImage?.(index + 1, train.length);
  }
  return fitClasses(wideRows(rows), labels, {
    classes: model.classes.length,
    strength: PENALTY_A_ROW * rows.length,
    weights: labels.map((label) => classWeights[label]!),
  });
}

/** The annotated objects of an image. */
function objectsOf(
  { path, image }: ManifestEntry,
  pyramid: Pyramid,
  { objects, name }: TrainingBoxes,
): Square[] {
  const { width, height, stored = { width, height } } = pyramid;
  const seen = objectsSeen(objects.get(path)!, {
    stored,
    size: { width, height },
  });
  const point = seen.find(({ width, height }) => width === 0 && height === 0);
  if (point) {
    throw new DataError(
      `Cannot learn close-ups from the objects of ${image} in ${name}: one at x ${point.x}, y ${point.y} is a point; draw boxes, or set network.closeUp=null`,
    );
  }
  return seen.map(squareAbout);
}

async function opened(
  { closeUp: encoder, config }: Model,
  entry: ManifestEntry,
  { cache, signal }: CloseUpOptions,
  use: (pyramid: Pyramid, crops: CropFeatures) => Promise<void>,
): Promise<void> {
  const { inputSize } = config.network.closeUp!;
  const pyramid = await openAtMpp(cache, entry, config.mpp, signal);
  try {
    await use(pyramid, cropsOf(encoder!, pyramid, { inputSize, signal }));
  } finally {
    pyramid.close();
  }
}
