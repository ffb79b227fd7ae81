/**
 * Learns a dictionary from patches of the training images: whitening, then
 * k-means, both of the patches in all their turns. See dictionary.ts.
 *
 * All of it runs in main memory, in the same order, so that a seed gives the
 * same dictionary on every engine.
 *
 * @module
 */
import { randomKey, RandomStream } from "../../kernels/random.ts";
import { EncoderError } from "../errors.ts";
import { inverseOf, turnedValues, TURNS } from "./turns.ts";
import {
  CENTROIDS,
  type Dictionary,
  type DictionaryScale,
  DIRECTIONS,
  PATCH_NOISE,
  type PlainTensor,
  SCALES,
} from "./dictionary.ts";
import { leadingEigen } from "./eigen.ts";
import type { Pictures } from "./encoder.ts";
import { halved, type Maps, someMaps } from "./maps.ts";

/** How a dictionary is learned. */
export interface DictionaryOptions {
  /** Of the patches, and of where k-means begins. */
  seed: number;
  /** Pictures that will be given: each gives as many patches. */
  images: number;
  /** Patches of a scale, about. */
  patches?: number;
  /** K; 64 unless said. */
  centroids?: number;
  signal?: AbortSignal;
}

// 80 for each centroid, each in eight turns.
const PATCHES = 5_000;
const ITERATIONS = 8; // of k-means: more, or more patches, change no accuracy
// Added to the variances before whitening: directions with less are noise.
const WHITENING_NOISE = 0.1;
const LEARNING = 107; // word of the random keys
const PLACE = 0, START = 1;

/**
 * Learns a dictionary of `pictures` of the training images, or of parts of them:
 * whole, in px of level 0.
 *
 * @throws {EncoderError} If there is no picture, or one is smaller than a patch.
 */
export async function learnDictionary(
  pictures: Iterable<Pictures> | AsyncIterable<Pictures>,
  { seed, images, patches = PATCHES, centroids = CENTROIDS, signal }:
    DictionaryOptions,
): Promise<Dictionary> {
  const each = Math.max(1, Math.floor(patches / images));
  const found: Float32Array[][] = SCALES.map(() => []);
  let index = 0;
  for await (const some of pictures) {
    signal?.throwIfAborted();
    for (let i = 0; i < some.count; i++, index++) {
      const picture = someMaps({ ...some, channels: 3 }, i, 1);
      SCALES.forEach((scale, s) => {
        const random = stream(seed, s, PLACE, index);
        found[s]!.push(randomPatches(picture, scale, { each, random }));
      });
    }
  }
  const entries = SCALES.flatMap((scale, s) => {
    signal?.throwIfAborted();
    const random = stream(seed, s, START, 0);
    const learned = learnScale(found[s]!, { scale, centroids, random });
    return Object.entries(learned)
      .map(([part, tensor]) => [`${scale.name}/${part}`, tensor] as const);
  });
  return new Map(entries);
}

function stream(
  seed: number,
  ...[scale, purpose, index]: [number, number, number]
): RandomStream {
  return new RandomStream(randomKey(seed, LEARNING, scale, purpose, index));
}

/** Patches at random places, one after the other, normalised in contrast. */
function randomPatches(
  picture: Maps,
  { patch, shrink }: DictionaryScale,
  { each, random }: { each: number; random: RandomStream },
): Float32Array {
  const { data, width, height } = shrink === 2 ? halved(picture) : picture;
  if (Math.min(width, height) < patch) {
    throw new EncoderError(
      `Cannot learn a dictionary from ${picture.width}x${picture.height} px: it needs at least ${
        patch * shrink
      } px a side`,
    );
  }
  const row = patch * 3;
  const patches = new Float32Array(each * patch * row);
  for (let to = 0; to < patches.length; to += patch * row) {
    const y = random.below(height - patch + 1);
    const x = random.below(width - patch + 1);
    for (let i = 0; i < patch; i++) {
      const from = ((y + i) * width + x) * 3;
      patches.set(data.subarray(from, from + row), to + i * row);
    }
    normaliseContrast(patches.subarray(to, to + patch * row));
  }
  return patches;
}

/** Subtracts the mean, and divides by the deviation. */
function normaliseContrast(patch: Float32Array): void {
  const mean = patch.reduce((sum, x) => sum + x, 0) / patch.length;
  const square = patch.reduce((sum, x) => sum + (x - mean) ** 2, 0);
  const deviation = Math.sqrt(square / patch.length + PATCH_NOISE);
  for (let i = 0; i < patch.length; i++) {
    patch[i] = (patch[i]! - mean) / deviation;
  }
}

/** Linear maps `[size, size]` of rows of `size` values, the identity first. */
type Turns = readonly Float64Array[];

/** What {@linkcode Dictionary} holds of a scale. */
type Learned = Record<"projection" | "offset" | "centroids", PlainTensor>;

function learnScale(
  parts: readonly Float32Array[],
  { scale: { patch }, centroids: count, random }: {
    scale: DictionaryScale;
    centroids: number;
    random: RandomStream;
  },
): Learned {
  const size = 3 * patch ** 2;
  const patches = joined(parts);
  const rows = patches.length / size;
  if (rows < count) {
    throw new EncoderError(
      `Cannot learn a dictionary of ${count} patches from ${rows}: give more pictures`,
    );
  }
  const { mean, projection } = whitening(patches, patch);
  const turns = turnsOf(projection, patch);
  const found = kMeans(product(patches, projection, size), DIRECTIONS, {
    count,
    turns,
    random,
  });
  const offset = product(mean, projection, size);
  const centroids = turned(found, turns)
    .map((value, at) => value - offset[at % DIRECTIONS]!);
  const tensor = (data: Float32Array, shape: number[]) => ({ data, shape });
  return {
    projection: tensor(
      withoutMeans(projection, size),
      [patch, patch, 3, DIRECTIONS],
    ),
    offset: tensor(offset, [DIRECTIONS]),
    centroids: tensor(centroids, [TURNS, count, DIRECTIONS]),
  };
}

function joined(parts: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(parts.reduce((sum, p) => sum + p.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/**
 * Mean of patches in all their turns `[size]`, and their whitening
 * `[size, DIRECTIONS]`.
 */
function whitening(
  rows: Float32Array,
  patch: number,
): { mean: Float32Array; projection: Float32Array } {
  const size = 3 * patch ** 2;
  const { mean, covariance } = turnedMoments(moments(rows, size), patch);
  const { values, vectors } = leadingEigen(covariance, size, DIRECTIONS);
  const projection = new Float32Array(size * DIRECTIONS);
  for (let d = 0; d < DIRECTIONS; d++) {
    const scale = 1 / Math.sqrt(Math.max(0, values[d]!) + WHITENING_NOISE);
    for (let i = 0; i < size; i++) {
      projection[i * DIRECTIONS + d] = vectors[d * size + i]! * scale;
    }
  }
  return { mean: Float32Array.from(mean), projection };
}

/** Mean `[size]` and covariance `[size, size]` of rows. */
interface Moments {
  mean: Float64Array;
  covariance: Float64Array;
}

/** The moments of patches in all their turns. */
function turnedMoments(
  { mean, covariance }: Moments,
  patch: number,
): Moments {
  const size = mean.length;
  const all = {
    mean: new Float64Array(size),
    covariance: new Float64Array(size * size),
  };
  for (let turn = 0; turn < TURNS; turn++) {
    const from = turnedValues(turn, patch);
    for (let i = 0; i < size; i++) {
      all.mean[i]! += mean[from[i]!]! / TURNS;
      const row = from[i]! * size;
      for (let j = 0; j < size; j++) {
        all.covariance[i * size + j]! += covariance[row + from[j]!]! / TURNS;
      }
    }
  }
  return all;
}

/**
 * The turns as matrices `[DIRECTIONS, DIRECTIONS]`: what `projection` gives of a
 * turned patch, from what it gives of the patch.
 */
function turnsOf(projection: Float32Array, patch: number): Turns {
  const size = 3 * patch ** 2;
  const squares = new Float64Array(DIRECTIONS);
  projection.forEach((value, at) => squares[at % DIRECTIONS]! += value ** 2);
  return Array.from({ length: TURNS }, (_, turn) => {
    const from = turnedValues(turn, patch);
    const matrix = new Float64Array(DIRECTIONS ** 2);
    for (let value = 0; value < size; value++) {
      const to = value * DIRECTIONS, own = from[value]! * DIRECTIONS;
      for (let i = 0; i < DIRECTIONS; i++) {
        const share = projection[to + i]!;
        for (let j = 0; j < DIRECTIONS; j++) {
          matrix[i * DIRECTIONS + j]! += share * projection[own + j]! /
            squares[j]!;
        }
      }
    }
    return matrix;
  });
}

/** Mean and covariance of rows. */
function moments(rows: Float32Array, size: number): Moments {
  const count = rows.length / size;
  const mean = new Float64Array(size);
  const covariance = new Float64Array(size * size);
  for (let at = 0; at < rows.length; at++) {
    mean[at % size]! += rows[at]! / count;
  }
  const row = new Float64Array(size);
  for (let from = 0; from < rows.length; from += size) {
    for (let i = 0; i < size; i++) row[i] = rows[from + i]! - mean[i]!;
    for (let i = 0; i < size; i++) {
      const value = row[i]! / count, at = i * size;
      for (let j = 0; j <= i; j++) covariance[at + j]! += value * row[j]!;
    }
  }
  for (let i = 0; i < size; i++) {
    for (let j = 0; j < i; j++) {
      covariance[j * size + i] = covariance[i * size + j]!;
    }
  }
  return { mean, covariance };
}

/** `rows` `[n, size]` times `matrix` `[size, DIRECTIONS]`. */
function product(
  rows: Float32Array,
  matrix: Float32Array,
  size: number,
): Float32Array {
  const result = new Float32Array(rows.length / size * DIRECTIONS);
  const sums = new Float64Array(DIRECTIONS);
  for (let row = 0; row < rows.length / size; row++) {
    sums.fill(0);
    for (let i = 0; i < size; i++) {
      const value = rows[row * size + i]!, at = i * DIRECTIONS;
      for (let d = 0; d < DIRECTIONS; d++) sums[d]! += value * matrix[at + d]!;
    }
    result.set(sums, row * DIRECTIONS);
  }
  return result;
}

/**
 * A projection whose directions have no mean: of a patch as it is, it gives what
 * `projection` gives of the patch less its mean.
 */
function withoutMeans(projection: Float32Array, size: number): Float32Array {
  const means = new Float64Array(DIRECTIONS);
  for (let at = 0; at < projection.length; at++) {
    means[at % DIRECTIONS]! += projection[at]! / size;
  }
  return projection.map((value, at) => value - means[at % DIRECTIONS]!);
}

/**
 * The means of `count` clusters of the rows `[n, size]`: Lloyd's iteration from
 * rows drawn at random. A row belongs to the cluster that it is nearest to in any
 * of its turns, and counts in that turn. A cluster that loses all its rows begins
 * anew.
 *
 * @param options.turns linear maps of rows, in the order of {@linkcode inverseOf}.
 */
export function kMeans(
  rows: Float32Array,
  size: number,
  { count, turns, random }: {
    count: number;
    turns: Turns;
    random: RandomStream;
  },
): Float32Array {
  const total = rows.length / size;
  const row = (index: number) =>
    rows.subarray(index * size, (index + 1) * size);
  const centroids = new Float32Array(count * size);
  random.shuffle([...Array(total).keys()]).slice(0, count)
    .forEach((index, k) => centroids.set(row(index), k * size));
  for (let iteration = 0; iteration < ITERATIONS; iteration++) {
    const sums = new Float64Array(turns.length * count * size);
    const counts = new Float64Array(count);
    const of = nearest(rows, turned(centroids, turns), size);
    for (let i = 0; i < total; i++) {
      const to = of[i]! * size;
      counts[of[i]! % count]!++;
      for (let d = 0; d < size; d++) sums[to + d]! += rows[i * size + d]!;
    }
    for (let k = 0; k < count; k++) {
      const members = new Float64Array(size);
      turns.forEach((_, turn) => {
        const own = sums.subarray((turn * count + k) * size);
        const back = turns[inverseOf(turn)]!;
        addProduct(members, back, own);
      });
      centroids.set(
        counts[k]! > 0
          ? members.map((sum) => sum / counts[k]!)
          : row(random.below(total)),
        k * size,
      );
    }
  }
  return centroids;
}

/** Centroids `[count, size]` in all turns: `[turns, count, size]`. */
function turned(centroids: Float32Array, turns: Turns): Float32Array {
  const size = Math.sqrt(turns[0]!.length);
  const all = new Float32Array(turns.length * centroids.length);
  const one = new Float64Array(size);
  turns.forEach((matrix, turn) => {
    for (let from = 0; from < centroids.length; from += size) {
      one.fill(0);
      addProduct(one, matrix, centroids.subarray(from, from + size));
      all.set(one, turn * centroids.length + from);
    }
  });
  return all;
}

/** Adds `matrix` `[size, size]` times `row` to `sums`. */
function addProduct(
  sums: Float64Array,
  matrix: Float64Array,
  row: Float32Array | Float64Array,
): void {
  const size = sums.length;
  for (let i = 0; i < size; i++) {
    let sum = 0;
    for (let j = 0; j < size; j++) sum += matrix[i * size + j]! * row[j]!;
    sums[i]! += sum;
  }
}

/** Index of the centroid that is nearest to each row. */
function nearest(
  rows: Float32Array,
  centroids: Float32Array,
  size: number,
): Int32Array {
  const count = centroids.length / size;
  const halves = new Float64Array(count);
  for (let at = 0; at < centroids.length; at++) {
    halves[Math.floor(at / size)]! += centroids[at]! ** 2 / 2;
  }
  return Int32Array.from({ length: rows.length / size }, (_, row) => {
    let best = 0, most = -Infinity;
    for (let k = 0; k < count; k++) {
      let score = -halves[k]!;
      const from = row * size, at = k * size;
      for (let d = 0; d < size; d++) {
        score += rows[from + d]! * centroids[at + d]!;
      }
      if (score > most) [best, most] = [k, score];
    }
    return best;
  });
}
