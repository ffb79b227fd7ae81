/**
 * Images with clusters of small objects of three kinds, for targets other than
 * classes. What an image is labelled by:
 *
 *     labels    needle and bowtie: a cluster of each is there or not, independently
 *     value     the number of needles
 *     ordinal   the number of clusters of needles, 0 to 3
 *     survival  a time whose hazard grows with that number, often censored
 *
 * All other clusters are of look-alikes, which say nothing.
 *
 * @module
 */
import { randomKey, RandomStream } from "../../../kernels/random.ts";
import { LABEL_SEPARATOR } from "../../target.ts";
import type { Split } from "../manifest.ts";
import {
  annotate,
  checkShares,
  clusterRadius,
  placeApart,
  placeCluster,
  SPLIT_WORDS,
} from "./needle.ts";
import {
  drawBackground,
  drawObject,
  type Kind,
  type NeedleObject,
  within,
} from "./needle_pixels.ts";
import type { Drawing, SyntheticDataset } from "./writer.ts";

/** What images may be labelled by. */
export const OBJECT_TARGETS = [
  "labels",
  "value",
  "ordinal",
  "survival",
] as const;

/** Options of a set. */
export interface ObjectsOptions {
  target: (typeof OBJECT_TARGETS)[number];
  /** Training images. */
  images: number;
  /** Images to choose an epoch and thresholds on. */
  validation: number;
  test: number;
  /** Width and height of an image, px. */
  size: number;
  /** Average objects of a cluster; the actual number is within one. */
  objects: number;
  /** Diameter of the largest object, px; the smallest is 2 px less. */
  diameter: number;
  seed: number;
}

/** The set that the documentation trains on. */
export const OBJECTS_DEFAULTS: ObjectsOptions = {
  target: "labels",
  images: 160,
  validation: 40,
  test: 80,
  size: 256,
  objects: 3,
  diameter: 14,
  seed: 0,
};

const CLUSTERS = 4;
const GRADES = 4; // 0 to 3 clusters of needles
// Version: raised when the pixels or labels of a seed change.
const VERSION = 1;

// Times, in months: the mean without needles, the factor by which each cluster of
// them raises the hazard, and the mean after which an image is lost from sight.
const MEAN_TIME = 48, HAZARD_RATIO = 3, MEAN_CENSORED = 36;
const DIGITS = 1; // so that some times are tied

/**
 * The data set of `options`.
 *
 * @throws {ConfigError} If the objects are too large or too many for the size.
 */
export function objectsDataset(options: ObjectsOptions): SyntheticDataset {
  checkShares({ ...options, clusters: CLUSTERS });
  const { seed, ...rest } = options;
  const { images: train, validation, test } = options;
  return {
    recipe: { generator: "objects", version: VERSION, options: rest, seed },
    counts: { train, validation, test },
    draw: (split, index) => drawObjectsImage(options, split, index),
  };
}

/** Draws one image; it depends on its split and index, not on their number. */
export function drawObjectsImage(
  options: ObjectsOptions,
  split: Split,
  index: number,
): Drawing {
  const { size, seed, target } = options;
  const random = new RandomStream(randomKey(seed, SPLIT_WORDS[split], index));
  const kinds = kindsOf(target, index);
  const data = drawBackground(size, random);
  const objects = placeObjects(options, kinds, random);
  for (const object of objects) {
    drawObject({ data, width: size, height: size }, object, random);
  }
  return {
    data,
    width: size,
    height: size,
    channels: 3,
    label: labelOf(target, { kinds, objects, random }),
    objects: objects.map(annotate),
  };
}

/** Kind of each cluster: all combinations are as frequent. */
function kindsOf(target: ObjectsOptions["target"], index: number): Kind[] {
  const of = (kind: Kind, count: number): Kind[] =>
    new Array<Kind>(count).fill(kind);
  const shown: Kind[] = target === "labels"
    ? [...of("needle", index & 1), ...of("bowtie", index >> 1 & 1)]
    : of("needle", index % GRADES);
  return [...shown, ...of("lookalike", CLUSTERS - shown.length)];
}

function placeObjects(
  options: ObjectsOptions,
  kinds: readonly Kind[],
  random: RandomStream,
): NeedleObject[] {
  const radius = clusterRadius(options) + options.diameter / 2;
  const centres = placeApart(kinds.length, 2 * radius, () => ({
    x: within(random, radius, options.size - radius),
    y: within(random, radius, options.size - radius),
  }));
  return centres.flatMap((centre, i) =>
    placeCluster(centre, options, random)
      .map((object) => ({ ...object, kind: kinds[i]! }))
  );
}

function labelOf(
  target: ObjectsOptions["target"],
  { kinds, objects, random }: {
    kinds: readonly Kind[];
    objects: readonly NeedleObject[];
    random: RandomStream;
  },
): string {
  const clusters = kinds.filter((kind) => kind === "needle").length;
  switch (target) {
    case "labels":
      return kinds.filter((kind) => kind !== "lookalike").sort()
        .join(LABEL_SEPARATOR);
    case "value":
      return String(objects.filter(({ kind }) => kind === "needle").length);
    case "ordinal":
      return String(clusters);
    case "survival": {
      const event = MEAN_TIME * exponential(random) / HAZARD_RATIO ** clusters;
      const lost = MEAN_CENSORED * exponential(random);
      return event <= lost ? event.toFixed(DIGITS) : `${lost.toFixed(DIGITS)}+`;
    }
    default:
      throw new TypeError(`Unknown target ${target satisfies never}`);
  }
}

/** An exponential time of mean 1. */
function exponential(random: RandomStream): number {
  return -Math.log(1 - random.uniform());
}
