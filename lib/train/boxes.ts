/**
 * Annotated objects to train on: those of a few training images, and of no
 * other image.
 *
 * @module
 */
import { randomKey, RandomStream } from "../../kernels/random.ts";
import type { AnnotatedObject } from "../data/annotations/object.ts";
import { meets } from "../data/annotations/seen.ts";
import type { ManifestEntry } from "../data/manifest.ts";
import type { RoiSource } from "../data/rois.ts";
import { count } from "../data/table.ts";
import { ConfigError, DataError } from "../errors.ts";
import type { ImageCache } from "../image/image_cache.ts";
import type { AnnotatedCount } from "../model/checkpoint.ts";
import type { Config } from "../model/config.ts";

/** Which annotations are trained on. */
export interface BoxOptions {
  /** The annotations of the data set. */
  source: RoiSource;
  /** Where they come from, for messages and the log: "rois" or a file. */
  name: string;
  /** Takes only this many images, chosen by the seed; all if omitted. */
  images?: number | undefined;
}

/** The annotated objects that are trained on. */
export interface TrainingBoxes {
  /**
   * By the path of a training image: its objects, each of the image's own
   * class, in px of the image as it is stored (`objectsSeen` moves them). All
   * other places of such an image are background. At least one object an image.
   */
  objects: ReadonlyMap<string, readonly AnnotatedObject[]>;
  /** Where they come from: "rois" or a file. */
  name: string;
  /** Images that were asked for; null for all. */
  limit: number | null;
  /** Images for validation or test whose annotations are not used. */
  ignored: number;
}

/** The sides of a split, and what their labels mean. */
interface BoxSides {
  train: readonly ManifestEntry[];
  /** Images for validation and test: their annotations are not read. */
  others: readonly ManifestEntry[];
  /** The class without objects; null if there is none. */
  referenceClass: string | null;
  seed: number;
}

/**
 * The objects of the training images that count for their labels. Images of the
 * reference class have none, whatever is annotated in them.
 *
 * @throws {DataError} If there are none, or in fewer images than asked for.
 */
export async function trainingBoxes(
  { train, others, referenceClass, seed }: BoxSides,
  { source, name, images: most = Infinity }: BoxOptions,
): Promise<TrainingBoxes> {
  const allowed = onlyOf(source, train);
  const objects = new Map<string, readonly AnnotatedObject[]>();
  const candidates = train.filter(({ label }) => label !== referenceClass);
  const order = most === Infinity ? candidates : inTurn(candidates, seed);
  for (const entry of order) {
    if (objects.size >= most) break;
    const counted = (await allowed.of(entry))
      .filter((object) => allowed.relevant(entry, object));
    if (counted.length > 0) objects.set(entry.path, counted);
  }
  checkEnough(objects.size, { name, most, of: train.length });
  const annotated = await Promise.all(others.map((entry) => source.has(entry)));
  return {
    objects,
    name,
    limit: most === Infinity ? null : most,
    ignored: annotated.filter(Boolean).length,
  };
}

/**
 * `source` for the images in `train` alone: those of any other image must not
 * reach a training.
 */
export function onlyOf(
  source: RoiSource,
  train: readonly ManifestEntry[],
): Pick<RoiSource, "of" | "relevant"> {
  const paths = new Set(train.map(({ path }) => path));
  return {
    ...source,
    of(entry) {
      if (paths.has(entry.path)) return source.of(entry);
      throw new DataError(
        `Cannot train on the annotations of ${entry.image}: it is no training image`,
      );
    },
  };
}

/** The images class by class in turn, in a random order that ignores rows. */
function inTurn(
  entries: readonly ManifestEntry[],
  seed: number,
): ManifestEntry[] {
  const byName = entries.toSorted((a, b) => a.path < b.path ? -1 : 1);
  const shuffled = new RandomStream(randomKey(seed, BOXES)).shuffle(byName);
  const classes = [...Map.groupBy(shuffled, ({ classIndex }) => classIndex)]
    .sort(([a], [b]) => a - b).map(([, members]) => members);
  const rounds = Math.max(0, ...classes.map(({ length }) => length));
  return Array.from(
    { length: rounds },
    (_, round) =>
      classes.map((members) => members[round])
        .filter((entry) => entry !== undefined),
  ).flat();
}

// Word of the random keys: which annotated images are used.
const BOXES = 301;

function checkEnough(
  found: number,
  { name, most, of }: { name: string; most: number; of: number },
): void {
  if (found > 0 && (most === Infinity || found === most)) return;
  const where = name === "rois" ? "the manifest" : name;
  throw new DataError(
    found === 0
      ? `Cannot train with boxes: ${where} has no object that counts in any of ${
        count(of, "training image")
      }; annotate some, or leave out --boxes`
      : `Cannot train with the boxes of ${most} images: ${where} has objects in only ${found} training images; annotate more, or ask for fewer with --boxes-images`,
  );
}

// Px beyond an image where an object may still begin: a point on the right edge
// has the width as its x, and some tools count px from 1.
const EDGE = 1;

/**
 * Checks that a configuration learns from annotated objects.
 *
 * @throws {ConfigError} If it does not.
 */
export function checkLearnsFromBoxes({ target, training }: Config): void {
  if (target !== "classes") {
    throw new ConfigError(
      `Cannot train on annotated objects under target = ${target}: they are of one class each; leave out --boxes`,
    );
  }
  if (training.dense !== null) return;
  throw new ConfigError(
    "Cannot train on annotated objects with training.dense=null, which learns from labels alone: train on frozen features (--encoder FILE.onnx, or --features scattering), or leave out --boxes",
  );
}

/**
 * Checks that the objects lie in their images. Those that reach over an edge
 * do: annotation tools allow it.
 *
 * @throws {DataError} Naming the first that lies outside.
 * @throws {ImageError} If an image cannot be read.
 */
export async function checkBoxes(
  { objects, name }: TrainingBoxes,
  entries: readonly ManifestEntry[],
  { cache, signal }: { cache: ImageCache; signal?: AbortSignal | undefined },
): Promise<void> {
  for (const { path, image, rois } of entries) {
    const own = objects.get(path);
    if (!own) continue;
    const pyramid = await cache.open(path, signal);
    const { width, height } = pyramid;
    pyramid.close();
    const outside = own.find((object) =>
      !meets(object, {
        x: -EDGE,
        y: -EDGE,
        width: width + 2 * EDGE,
        height: height + 2 * EDGE,
      })
    );
    if (!outside) continue;
    const file = name === "rois" ? rois ?? name : name;
    throw new DataError(
      `Cannot train on the objects of ${image} in ${file}: one at x ${outside.x}, y ${outside.y} lies outside of its ${width} x ${height} px; annotations are in px of the full image, from its upper left corner`,
    );
  }
}

/** How many images and objects are trained on; null if none. */
export function annotatedCount(
  boxes: TrainingBoxes | undefined,
): AnnotatedCount | null {
  if (!boxes) return null;
  const objects = [...boxes.objects.values()]
    .reduce((sum, { length }) => sum + length, 0);
  return { images: boxes.objects.size, objects };
}

/** What the log of a run records of its boxes. */
export function boxesRecord(
  boxes: TrainingBoxes | undefined,
): Record<string, unknown> {
  if (!boxes) return {};
  const { name, limit, ignored } = boxes;
  return { boxes: { name, limit, ...annotatedCount(boxes), ignored } };
}

/** The boxes of a training in words. */
export function boxesText(boxes: TrainingBoxes): string {
  const { images, objects } = annotatedCount(boxes)!;
  const aside = boxes.ignored === 0
    ? ""
    : `; the annotations of ${
      count(boxes.ignored, "validation or test image")
    } are not used`;
  return `${count(objects, "annotated object")} in ${
    count(images, "image")
  }${aside}`;
}
