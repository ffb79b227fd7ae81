/**
 * Needle in a haystack: a textured image with clusters of small objects. The
 * image is positive if the objects of one cluster are needles; all other
 * objects are look-alikes.
 *
 * Both kinds paint half of the disc of radius R with ink of the same colours:
 *
 *     needle      two rings, from R cos 72 to R cos 54 and R cos 36 to R cos 18
 *     look-alike  a wheel of four blades, 45 degrees each
 *
 * With these radii the ink has the same mean 2nd, 4th and 6th power of the
 * distance from the centre as the wheel's, and a wheel of four blades has no
 * angular moment below the 4th: an object 2 px wide is the same blob in both
 * cases. (A ring around a dot, which matches the 2nd power only, is told apart
 * there by its dark centre.) Neither flips nor turns make one of the other.
 *
 * @module
 */
import { randomKey, RandomStream } from "../../../kernels/random.ts";
import { ConfigError } from "../../errors.ts";
import type { Point, Size } from "../../image/geometry.ts";
import type { Split } from "../manifest.ts";
import type { AnnotatedObject } from "../rois.ts";
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

/** Kind of an object. */
export type Kind = "needle" | "lookalike";

/** An object to be drawn. */
export interface NeedleObject {
  left: number; // px
  top: number; // px
  diameter: number; // px
  turn: number; // radians
  kind: Kind;
}

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

// Background: a mix of two stains of H&E (RGB), each image's own tone and
// brightness, waves of two lengths (px) and grain, as shares of brightness.
const STAINS = [[236, 205, 220], [206, 178, 214]] as const;
const TONE_SPREAD = 10; // RGB
const BRIGHTNESS = { lowest: 0.86, highest: 1.02 };
const WAVES = [{ length: 96, depth: 0.08 }, { length: 20, depth: 0.06 }];
const GRAIN = 0.05;

// Ink of the objects (RGB), the range of its brightness, and its opacity.
const INK = [104, 62, 140] as const;
const INK_BRIGHTNESS = { lowest: 0.8, highest: 1.2 };
const OPACITY = 0.9;

// Sub-pixels per side, to smooth edges.
const SUPERSAMPLING = 4;

const SPLIT_WORDS: Record<Split, number> = { train: 0, validation: 1, test: 2 };

/**
 * The needle data set of `options`.
 *
 * @throws {ConfigError} If the objects are too large or too many for the size.
 */
export function needleDataset(options: NeedleOptions): SyntheticDataset {
  checkOptions(options);
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

/** Shares of ink of an object's pixels, row-major `[diameter, diameter]`. */
export function objectCoverage(
  { diameter, turn, kind }: Pick<NeedleObject, "diameter" | "turn" | "kind">,
): Float32Array {
  const coverage = new Float32Array(diameter * diameter);
  const radius = diameter / 2;
  const step = 1 / SUPERSAMPLING;
  for (let y = step / 2; y < diameter; y += step) {
    for (let x = step / 2; x < diameter; x += step) {
      const u = (x - radius) / radius, v = (y - radius) / radius;
      if (isInk(u, v, { turn, kind })) {
        coverage[Math.floor(y) * diameter + Math.floor(x)]! += step * step;
      }
    }
  }
  return coverage;
}

// Squared radii of the rings of a needle, in R: see the head of this file.
const RINGS = [[72, 54], [36, 18]].map((degrees) =>
  degrees.map((degree) => Math.cos(degree * Math.PI / 180) ** 2)
) as [number, number][];

/** The point (u, v) of the unit disc is painted. */
function isInk(
  u: number,
  v: number,
  { turn, kind }: Pick<NeedleObject, "turn" | "kind">,
): boolean {
  const r2 = u * u + v * v;
  if (r2 > 1) return false;
  if (kind === "needle") {
    return RINGS.some(([inner, outer]) => r2 >= inner && r2 <= outer);
  }
  return Math.sin(4 * (Math.atan2(v, u) + turn)) > 0; // half of each quarter
}

function checkOptions(
  { size, clusters, objects, diameter }: NeedleOptions,
): void {
  const share = diameter ** 2 / size ** 2;
  const most = clusters * (objects + 1);
  if (share > MAX_OBJECT_SHARE || share * most > MAX_TOTAL_SHARE) {
    throw new ConfigError(
      `Cannot hide needles because up to ${most} objects of ${diameter} px fill ${
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

/** Draws the tissue of a square of `size` px. */
export function drawBackground(
  size: number,
  random: RandomStream,
): Uint8ClampedArray {
  const shade = within(random, BRIGHTNESS.lowest, BRIGHTNESS.highest);
  const tones = STAINS.map((stain) =>
    stain.map((value) => value + within(random, -TONE_SPREAD, TONE_SPREAD))
  );
  const stains = smoothNoise(size, WAVES[0]!.length, random);
  const waves = WAVES.map(({ length, depth }) => ({
    depth,
    noise: smoothNoise(size, length, random),
  }));
  const data = new Uint8ClampedArray(size * size * 3); // rounds, and clamps
  for (let i = 0, o = 0; i < size * size; i++) {
    let brightness = shade + GRAIN * (2 * random.uniform() - 1);
    for (const { depth, noise } of waves) {
      brightness += depth * (2 * noise[i]! - 1);
    }
    for (let c = 0; c < 3; c++) {
      const a = tones[0]![c]!, b = tones[1]![c]!;
      data[o++] = (a + (b - a) * stains[i]!) * brightness;
    }
  }
  return data;
}

/** Noise in [0, 1] that varies over `length` px: a lattice, interpolated. */
function smoothNoise(
  size: number,
  length: number,
  random: RandomStream,
): Float32Array {
  const nodes = Math.ceil(size / length) + 1;
  const lattice = Float32Array.from(
    { length: nodes * nodes },
    () => random.uniform(),
  );
  const cells = Int32Array.from({ length: size }, (_, i) => i / length);
  const weights = Float32Array.from(
    { length: size },
    (_, i) => ease(i / length % 1),
  );
  const noise = new Float32Array(size * size);
  for (let y = 0, o = 0; y < size; y++) {
    const v = weights[y]!;
    for (let x = 0; x < size; x++) {
      const u = weights[x]!;
      const at = cells[y]! * nodes + cells[x]!, below = at + nodes;
      const top = lattice[at]! * (1 - u) + lattice[at + 1]! * u;
      const bottom = lattice[below]! * (1 - u) + lattice[below + 1]! * u;
      noise[o++] = top * (1 - v) + bottom * v;
    }
  }
  return noise;
}

/** Draws the part of `object` that lies inside the image. */
export function drawObject(
  { data, width, height }: Size & { data: Uint8ClampedArray },
  object: NeedleObject,
  random: RandomStream,
): void {
  const { left, top, diameter } = object;
  const brightness = within(
    random,
    INK_BRIGHTNESS.lowest,
    INK_BRIGHTNESS.highest,
  );
  const coverage = objectCoverage(object);
  for (let i = 0; i < coverage.length; i++) {
    const opacity = coverage[i]! * OPACITY;
    const x = left + i % diameter, y = top + Math.floor(i / diameter);
    if (x < 0 || y < 0 || x >= width || y >= height) continue;
    for (let c = 0, o = (y * width + x) * 3; c < 3; c++, o++) {
      data[o] = data[o]! * (1 - opacity) + INK[c]! * brightness * opacity;
    }
  }
}

/** The object as a row of the table of regions. */
export function annotate(
  { left, top, diameter, kind }: NeedleObject,
): AnnotatedObject {
  return { x: left, y: top, width: diameter, height: diameter, type: kind };
}

function within(random: RandomStream, lowest: number, highest: number): number {
  return lowest + (highest - lowest) * random.uniform();
}

function ease(t: number): number {
  return t * t * (3 - 2 * t);
}
