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
import {
  type CloseUpMaps,
  foundObject,
} from "../../../model/close_up/close_up.ts";
import { type CropFeatures, cropsOf } from "../../../model/close_up/crops.ts";
import {
  candidates,
  type Square,
  squareAbout,
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
  /** Of background: its locations that look most like an object, by the boxes. */
  lookalikes: readonly Point[];
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
// Squares of an image, and of all.
const SHOWN = 12, MOST_ROWS = 1200;
// Of road signs, on training frames: ten times less or more of the first changes
// nothing; of the second less is better until there is hardly any.
const RIDGE = 0.003, PENALTY_A_ROW = 6e-5;
const CLOSE_UP = 115; // word of the random keys

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

/** Squares that are read, with the index of the class of their image. */
interface ReadSquares {
  rows: Float32Array[];
  labels: number[];
}

async function fitReader(
  model: Model,
  images: readonly CloseUpImage[],
  placers: Omit<FittedCloseUp, "read">,
  options: CloseUpOptions,
): Promise<AffineValues> {
  const { classes, config } = model;
  const { rows, labels } = await squaresToRead(model, images, placers, options);
  const background = classes.indexOf(config.referenceClass ?? "");
  const empty = labels.filter((label) => label === background).length;
  // One of several squares decides on an image, the one that is least background;
  // so there is more background to know than its share of the images.
  const balance = empty > 0 ? (labels.length - empty) / empty : 1;
  return fitClasses(wideRows(rows), labels, {
    classes: classes.length,
    strength: PENALTY_A_ROW * rows.length,
    weights: labels.map((label) =>
      options.classWeights[label]! * (label === background ? balance : 1)
    ),
  });
}

async function squaresToRead(
  model: Model,
  images: readonly CloseUpImage[],
  { find, place }: Omit<FittedCloseUp, "read">,
  options: CloseUpOptions,
): Promise<ReadSquares> {
  const { boxes, seed } = options;
  const random = new RandomStream(randomKey(seed, CLOSE_UP, 1));
  const train = random.shuffle([...images]).slice(0, MOST_ROWS);
  const shown = Math.min(SHOWN, Math.floor(MOST_ROWS / train.length));
  const finders = { find: mapOf(find), place: mapOf(place) };
  const rows: Float32Array[] = [], labels: number[] = [];
  for (const [index, image] of train.entries()) {
    const { entry } = image;
    await options.beforeImage?.();
    await opened(model, entry, options, async (pyramid, crops) => {
      const objects = boxes.objects.has(entry.path)
        ? objectsOf(entry, pyramid, boxes)
        : await objectsFound(model, image, { finders, crops });
      for (let i = 0; i < Math.max(shown, objects.length); i++) {
        const object = objects[i % objects.length]!;
        const square = i < objects.length ? object : jittered(object, random);
        rows.push(await crops(square));
        labels.push(entry.classIndex);
      }
    });
    options.onImage?.(index + 1, train.length);
  }
  return { rows, labels };
}

/** In an image of a class its object; of the background all that look like one. */
async function objectsFound(
  { config }: Model,
  { entry, strongest, lookalikes }: CloseUpImage,
  { finders, crops }: {
    finders: Pick<CloseUpMaps, "find" | "place">;
    crops: CropFeatures;
  },
): Promise<Square[]> {
  const { subTileSize } = config.view;
  const places = candidates(strongest, subTileSize);
  const middles = entry.label === config.referenceClass
    ? [...places, ...candidates(lookalikes, subTileSize)]
    : places.slice(0, 1);
  const objects: Square[] = [];
  for (const middle of middles) {
    objects.push(await foundObject(finders, crops, { middle, subTileSize }));
  }
  return objects;
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
