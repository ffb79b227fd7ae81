/**
 * Mean and deviation of the training images' colours, by which the network's
 * input is normalised.
 *
 * @module
 */
import { setTimeout } from "node:timers/promises";
import type { ManifestEntry } from "../data/manifest.ts";
import { ImageError } from "../errors.ts";
import type { ImageCache } from "../image/image_cache.ts";
import { readOverview } from "../image/overview.ts";
import type { Pyramid } from "../image/pyramid.ts";
import { openAtMpp } from "../image/resampled.ts";
import { stainNormalisation } from "../image/stains/normalisation.ts";
import {
  densitiesOf,
  type DensityMatrix,
  times,
} from "../image/stains/stains.ts";
import type { Normalisation } from "../model/model.ts";

// Enough for three digits; reading more only takes time.
const IMAGES = 100;
// A prime, so that the pixels read fall in no column pattern.
const PIXEL_STEP = 17;
// Larger images are measured on their coarse levels, px.
const MAX_PIXELS = 4096 * 4096, OVERVIEW_SIDE = 2048;
// A colour channel without contrast is left as it is.
const MIN_DEVIATION = 1e-3;

/** Options of {@linkcode measureNormalisation}. */
interface NormalisationOptions {
  /** Micrometres per px; null as stored. */
  mpp?: number | null;
  normaliseStains?: boolean;
  /** Leaves out images that cannot be read. */
  skipBad?: boolean | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * Statistics of every 17th pixel of up to 100 images, evenly spread over the
 * entries; pixels / 255.
 *
 * @throws {ImageError} If an image cannot be read.
 */
export async function measureNormalisation(
  entries: readonly ManifestEntry[],
  cache: ImageCache,
  { mpp = null, normaliseStains = false, skipBad = false, signal }:
    NormalisationOptions = {},
): Promise<Normalisation> {
  const sums = [0, 0, 0], squares = [0, 0, 0];
  let count = 0;
  const step = Math.max(1, entries.length / IMAGES);
  for (let i = 0; i < entries.length; i += step) {
    await setTimeout(0); // decoded images never wait: let signals in
    signal?.throwIfAborted();
    const entry = entries[Math.floor(i)]!;
    const look = { mpp, normaliseStains, signal };
    const pixels = await pixelsOf(entry, cache, look).catch((error) => {
      if (skipBad && error instanceof ImageError) return undefined;
      throw error;
    });
    if (!pixels) continue;
    const { data, stains } = pixels;
    for (let at = 0; at < data.length; at += 4 * PIXEL_STEP, count++) {
      const pixel = data.subarray(at, at + 3);
      const colour = stains ? restained(pixel, stains) : pixel;
      for (let c = 0; c < 3; c++) {
        const value = colour[c]! / 255;
        sums[c]! += value;
        squares[c]! += value * value;
      }
    }
  }
  const mean = sums.map((sum) => sum / count);
  const deviation = squares.map((square, c) =>
    Math.max(
      MIN_DEVIATION,
      Math.sqrt(Math.max(0, square / count - mean[c]! ** 2)),
    )
  );
  return {
    mean: mean as Normalisation["mean"],
    deviation: deviation as Normalisation["deviation"],
  };
}

/** Pixels of an image, and what normalises its stains. */
async function pixelsOf(
  entry: ManifestEntry,
  cache: ImageCache,
  { mpp = null, normaliseStains, signal }: NormalisationOptions,
): Promise<{ data: Uint8Array; stains: DensityMatrix | null }> {
  const pyramid = await openAtMpp(cache, entry, mpp, signal);
  try {
    const data = await sampledPixels(pyramid, signal);
    const stains = normaliseStains
      ? await stainNormalisation(pyramid, signal)
      : null;
    return { data, stains };
  } finally {
    pyramid.close();
  }
}

/** A colour of 8 bits a channel with its densities changed. */
function restained(
  [r, g, b]: Uint8Array,
  matrix: DensityMatrix,
): readonly number[] {
  return times(densitiesOf(r!, g!, b!), matrix)
    .map((density) => 255 * Math.min(1, Math.exp(-density)));
}

/** RGBA of the whole image; of its coarse levels if it is large. */
async function sampledPixels(
  pyramid: Pyramid,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  const { width, height } = pyramid;
  if (width * height <= MAX_PIXELS) {
    return (await pyramid.read({ x: 0, y: 0, width, height }, 0, signal)).data;
  }
  const { data } = await readOverview(pyramid, OVERVIEW_SIDE, signal);
  const pixels = new Uint8Array(data.length / 3 * 4);
  for (let from = 0, to = 0; from < data.length; from += 3, to += 4) {
    pixels.set(data.subarray(from, from + 3), to);
  }
  return pixels;
}
