/**
 * Learns a dictionary from patches of the training images: whitening, then
 * k-means. See dictionary.ts.
 *
 * All of it runs in main memory, in the same order, so that a seed gives the
 * same dictionary on every engine.
 *
 * @module
 */
import { randomKey, RandomStream } from "../../kernels/random.ts";
import { EncoderError } from "../errors.ts";
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

// As many as a covariance of 192 values needs, and 300 for each centroid.
const PATCHES = 20_000;
const ITERATIONS = 12; // of k-means: it hardly changes after
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
  const { mean, projection } = whitening(patches, size);
  const offset = product(mean, projection, size);
  const whitened = product(patches, projection, size);
  for (let at = 0; at < whitened.length; at++) {
    whitened[at]! -= offset[at % DIRECTIONS]!;
  }
  const centroids = kMeans(whitened, DIRECTIONS, { count, random });
  const tensor = (data: Float32Array, shape: number[]) => ({ data, shape });
  return {
    projection: tensor(
      withoutMeans(projection, size),
      [patch, patch, 3, DIRECTIONS],
    ),
    offset: tensor(offset, [DIRECTIONS]),
    centroids: tensor(centroids, [count, DIRECTIONS]),
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

/** Mean of the rows `[size]`, and their whitening `[size, DIRECTIONS]`. */
function whitening(
  rows: Float32Array,
  size: number,
): { mean: Float32Array; projection: Float32Array } {
  const { mean, covariance } = moments(rows, size);
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
function moments(
  rows: Float32Array,
  size: number,
): { mean: Float64Array; covariance: Float64Array } {
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
 * rows drawn at random. A cluster that loses all its rows begins anew.
 */
export function kMeans(
  rows: Float32Array,
  size: number,
  { count, random }: { count: number; random: RandomStream },
): Float32Array {
  const total = rows.length / size;
  const row = (index: number) =>
    rows.subarray(index * size, (index + 1) * size);
  const centroids = new Float32Array(count * size);
  random.shuffle([...Array(total).keys()]).slice(0, count)
    .forEach((index, k) => centroids.set(row(index), k * size));
  for (let iteration = 0; iteration < ITERATIONS; iteration++) {
    const sums = new Float64Array(count * size),
      counts = new Float64Array(count);
    const of = nearest(rows, centroids, size);
    for (let i = 0; i < total; i++) {
      const k = of[i]!;
      counts[k]!++;
      for (let d = 0; d < size; d++) sums[k * size + d]! += rows[i * size + d]!;
    }
    for (let k = 0; k < count; k++) {
      const mean = counts[k]! > 0
        ? sums.subarray(k * size, (k + 1) * size).map((sum) => sum / counts[k]!)
        : row(random.below(total));
      centroids.set(mean, k * size);
    }
  }
  return centroids;
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
