/**
 * Needle in a haystack: a textured image with clusters of small objects. The
 * image is positive if the objects of one cluster are needles; all other
 * objects are look-alikes.
 *
 * @module
 */
import { randomKey, RandomStream } from "../../../kernels/random.ts";
import { ConfigError } from "../../errors.ts";
import type { Point } from "../../image/geometry.ts";
import type { Split } from "../manifest.ts";
import type { AnnotatedObject } from "../rois.ts";
import {
  drawBackground,
  drawObject,
  type NeedleObject,
  within,
} from "./needle_pixels.ts";
import type { Drawing, SyntheticDataset } from "./writer.ts";

/** Options of a set: they control its difficulty. */
export interface NeedleOptions {
  /** Training images; half of them are positive. */
  images: number;
  /** Images to choose an epoch and to calibrate on; none if omitted. */
  validation?: number;
  test: number;
  /** Width and height of an image, px. */
  size: number;
  /** Maximum clusters of an image; some have one less, but at least two. */
  clusters: number;
  /** Average objects of a cluster; the actual number is within one. */
  objects: number;
  /** Diameter of the largest object, px; the smallest is 2 px less. */
  diameter: number;
  seed: number;
}

/** The set that the demo trains on. */
export const NEEDLE_DEFAULTS: NeedleOptions = {
  images: 240,
  test: 120,
  size: 512,
  clusters: 2,
  objects: 7,
  diameter: 22,
  seed: 0,
};

/** Options of the clusters of an image. */
export type ClusterOptions = Pick<NeedleOptions, "objects" | "diameter">;

// Version: raised when the pixels of a seed change.
const VERSION = 1;

// The method is for tiny objects: maximum shares of the image, of one and of
// all.
const MAX_OBJECT_SHARE = 0.005;
const MAX_TOTAL_SHARE = 0.06;

// Clusters have the same density, whatever their number of objects: radius of a
// cluster of one object, in diameters; and minimum gap of two objects, px.
const CLUSTER_SPREAD = 0.9;
const GAP = 2;

/** Words of the random keys of the sides of a split. */
export const SPLIT_WORDS: Record<Split, number> = {
  train: 0,
  validation: 1,
  test: 2,
};

/**
 * The needle data set of `options`.
 *
 * @throws {ConfigError} If the objects are too large or too many for the size.
 */
export function needleDataset(options: NeedleOptions): SyntheticDataset {
  checkShares(options);
  const { seed, ...rest } = options;
  const { images: train, validation, test } = options;
  return {
    recipe: { generator: "needle", version: VERSION, options: rest, seed },
    counts: { train, ...(validation !== undefined && { validation }), test },
    draw: (split, index) => drawNeedleImage(options, split, index),
  };
}

/** Draws one image; it depends on its split and index, not on their number. */
export function drawNeedleImage(
  options: NeedleOptions,
  split: Split,
  index: number,
): Drawing {
  const { size, seed } = options;
  const random = new RandomStream(randomKey(seed, SPLIT_WORDS[split], index));
  const positive = index % 2 === 1;

  const data = drawBackground(size, random);
  const objects = placeObjects(options, random, positive);
  for (const object of objects) {
    drawObject({ data, width: size, height: size }, object, random);
  }
  return {
    data,
    width: size,
    height: size,
    channels: 3,
    label: positive ? "positive" : "negative",
    objects: objects.map(annotate),
  };
}

/** @throws {ConfigError} If the objects are too large or too many for the size. */
export function checkShares(
  { size, clusters, objects, diameter }: Pick<
    NeedleOptions,
    "size" | "clusters" | "objects" | "diameter"
  >,
): void {
  const share = diameter ** 2 / size ** 2;
  const most = clusters * (objects + 1);
  if (share > MAX_OBJECT_SHARE || share * most > MAX_TOTAL_SHARE) {
    throw new ConfigError(
      `Cannot hide the objects because up to ${most} objects of ${diameter} px fill ${
        (share * most * 100).toFixed(1)
      } % of an image of ${size} px, the largest ${
        (share * 100).toFixed(2)
      } %: at most ${MAX_TOTAL_SHARE * 100} % and ${
        MAX_OBJECT_SHARE * 100
      } % are tiny; take a larger size or fewer objects`,
    );
  }
}

/**
 * Places clusters by the same draws in both classes: a positive image differs
 * only in the kind of the objects of its first cluster.
 */
function placeObjects(
  options: NeedleOptions,
  random: RandomStream,
  positive: boolean,
): NeedleObject[] {
  // Two at least, so that a positive image has look-alikes too.
  const number = Math.max(2, options.clusters - random.below(2));
  const radius = clusterRadius(options) + options.diameter / 2;
  const centres = placeApart(number, 2 * radius, () => ({
    x: within(random, radius, options.size - radius),
    y: within(random, radius, options.size - radius),
  }));
  return centres.flatMap((centre, c) => {
    const kind = positive && c === 0 ? "needle" : "lookalike";
    return placeCluster(centre, options, random)
      .map((object) => ({ ...object, kind }));
  });
}

/** Places the objects of one cluster side by side around `centre`. */
export function placeCluster(
  centre: Point,
  options: ClusterOptions,
  random: RandomStream,
): Omit<NeedleObject, "kind">[] {
  const { objects, diameter } = options;
  const number = Math.max(1, objects - 1 + random.below(3));
  const centres = placeApart(number, diameter + GAP, () => {
    const distance = clusterRadius(options) * Math.sqrt(random.uniform());
    const angle = 2 * Math.PI * random.uniform();
    return {
      x: centre.x + distance * Math.cos(angle),
      y: centre.y + distance * Math.sin(angle),
    };
  });
  return centres.map(({ x, y }) => {
    const own = diameter - random.below(3);
    return {
      left: Math.floor(x - own / 2),
      top: Math.floor(y - own / 2),
      diameter: own,
      turn: 2 * Math.PI * random.uniform(),
    };
  });
}

/** Maximum distance of objects' centres from the centre of their cluster, px. */
export function clusterRadius({ objects, diameter }: ClusterOptions): number {
  return CLUSTER_SPREAD * diameter * Math.sqrt(objects);
}

// Points tried per layout, and layouts tried, before giving up.
const ATTEMPTS = 200;
const LAYOUTS = 100;

/**
 * Draws points until `number` of them are at least `distance` px apart.
 *
 * @throws {ConfigError} If there is no room for them.
 */
export function placeApart(
  number: number,
  distance: number,
  draw: () => Point,
): Point[] {
  for (let layout = 0; layout < LAYOUTS; layout++) {
    const points: Point[] = [];
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const { x, y } = draw();
      if (points.every((p) => Math.hypot(p.x - x, p.y - y) >= distance)) {
        points.push({ x, y });
      }
      if (points.length === number) return points;
    }
  }
  throw new ConfigError(
    "Cannot place the objects side by side: take a larger size, or fewer objects or clusters",
  );
}

/** The object as a row of the table of regions. */
export function annotate(
  { left, top, diameter, kind }: NeedleObject,
): AnnotatedObject {
  return { x: left, y: top, width: diameter, height: diameter, type: kind };
}
