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
import { predict, type PredictedSubTile } from "../../../eval/predict.ts";
import type { ForegroundChoice } from "../../../image/foreground/tissue.ts";
import type { ImageCache } from "../../../image/image_cache.ts";
import type { Pyramid } from "../../../image/pyramid.ts";
import { openAtMpp } from "../../../image/resampled.ts";
import type { Memory } from "../../../memory.ts";
import { type AffineValues, mapOf } from "../../../model/close_up/affine.ts";
import { foundObject } from "../../../model/close_up/close_up.ts";
import { type CropFeatures, cropsOf } from "../../../model/close_up/crops.ts";
import {
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

/** Options of {@linkcode fitCloseUp}. */
export interface CloseUpOptions {
  train: readonly ManifestEntry[];
  boxes: TrainingBoxes;
  /** Weight of each class in the loss. */
  classWeights: readonly number[];
  cache: ImageCache;
  memory: Memory;
  seed: number;
  foreground?: ForegroundChoice | undefined;
  signal?: AbortSignal | undefined;
  /** Awaited before each image. */
  beforeImage?: () => Promise<void>;
  /** Called after each image. */
  onImage?: (done: number, total: number) => void;
}

// Examples of an object, and of all: their products with each other are computed.
const EXAMPLES = 40, MOST_EXAMPLES = 640;
// Copies of the object of an image, and rows of all.
const COPIES = 6, MOST_ROWS = 1200;
// Of road signs, on training frames: ten times less or more of the first changes
// nothing; of the second less is better until there is hardly any.
const RIDGE = 0.003, PENALTY_A_ROW = 6e-5;
const CLOSE_UP = 114; // word of the random keys

/**
 * Fits a model's close-up.
 *
 * @param model whose attention and head are trained.
 * @throws {DataError} If an object is a point.
 * @throws {ImageError} If an image cannot be read.
 */
export async function fitCloseUp(
  model: Model,
  options: CloseUpOptions,
): Promise<FittedCloseUp> {
  const placers = await fitPlacers(model, options);
  return { ...placers, read: await fitReader(model, placers, options) };
}

async function fitPlacers(
  model: Model,
  options: CloseUpOptions,
): Promise<Omit<FittedCloseUp, "read">> {
  const { train, boxes, seed } = options;
  const { subTileSize } = model.config.view;
  const random = new RandomStream(randomKey(seed, CLOSE_UP));
  const annotated = train.filter(({ path }) => boxes.objects.has(path));
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
  { find, place }: Omit<FittedCloseUp, "read">,
  options: CloseUpOptions,
): Promise<AffineValues> {
  const { seed, classWeights } = options;
  const random = new RandomStream(randomKey(seed, CLOSE_UP, 1));
  const train = random.shuffle([...options.train]).slice(0, MOST_ROWS);
  const room = Math.floor(MOST_ROWS / train.length);
  const copies = Math.min(COPIES, room);
  const finders = { find: mapOf(find), place: mapOf(place) };
  const rows: Float32Array[] = [], labels: number[] = [];
  for (const [index, entry] of train.entries()) {
    await options.beforeImage?.();
    await opened(model, entry, options, async (pyramid, crops) => {
      const objects = options.boxes.objects.has(entry.path)
        ? objectsOf(entry, pyramid, options.boxes)
        : [
          await foundObject(finders, crops, {
            middle: squareAbout(await heaviest(model, pyramid, options)).middle,
            subTileSize: model.config.view.subTileSize,
          }),
        ];
      for (let copy = 0; copy < copies; copy++) {
        const object = objects[copy % objects.length]!;
        const shown = copy < objects.length ? object : jittered(object, random);
        rows.push(await crops(tight(shown)));
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

/** The sub-tile with most weight, by the draws that classify. */
async function heaviest(
  model: Model,
  pyramid: Pyramid,
  { memory, seed, foreground, signal }: CloseUpOptions,
): Promise<PredictedSubTile> {
  const { predictions: [prediction] } = await predict(
    { ...model, closeUp: undefined },
    [pyramid],
    { memory, seed, foreground, signal },
  );
  return prediction!.subTiles.reduce((a, b) => b.weight > a.weight ? b : a);
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
