/**
 * Features of squares of an image, each at the same size and contrast: the encoder's
 * maps cell by cell, so that they tell where in the square something is.
 *
 * @module
 */
import type { Encoder } from "../../encoder/encoder.ts";
import { clipRegion, type Point, type Region } from "../../image/geometry.ts";
import type { Pyramid } from "../../image/pyramid.ts";
import type { CloseUpConfig } from "../config.ts";
import { regionOf, type Square } from "./squares.ts";

/** Features of a square, `[cells * cells * channels]`. */
export type CropFeatures = (square: Square) => Promise<Float32Array>;

// Px of the input for a cell: maps of stride 8 as they are, of 16 interpolated.
const CELL = 8;
const CHANNELS = 3, STORED = 4;
// Mean and deviation of each channel of a square with its surroundings: a sign in
// the shade is then seen as one in the sun, of which on training frames one in
// twenty more is read right; and an object of one colour keeps its contrast.
const MEAN = 0.43, DEVIATION = 0.2, SURROUNDINGS = 1.5;
// A region of one colour has no contrast to stretch.
const LEAST_DEVIATION = 0.03;

/** Features of a square. */
export function cropChannels(
  { inputSize, channels }: Pick<CloseUpConfig, "inputSize" | "channels">,
): number {
  return cellsOf(inputSize) ** 2 * channels;
}

function cellsOf(inputSize: number): number {
  return Math.max(1, Math.floor(inputSize / CELL));
}

/**
 * Reads squares of an image through `encoder`, whose input has `inputSize` px.
 * Outside of the image they are black, as sub-tiles are.
 *
 * @throws {ImageError} If the image cannot be read.
 * @throws {EncoderError} If a feature is not finite.
 */
export function cropsOf(
  encoder: Encoder,
  pyramid: Pyramid,
  { inputSize, signal }: {
    inputSize: number;
    signal?: AbortSignal | undefined;
  },
): CropFeatures {
  const cells = cellsOf(inputSize);
  return async (square) => {
    signal?.throwIfAborted();
    const { width, height, ...at } = regionOf(square);
    const wide = regionOf({ ...square, side: SURROUNDINGS * square.side });
    const all = sameContrast(await pixelsOf(pyramid, wide, signal));
    const data = cropped(all, wide, { ...at, width, height });
    const picture = { data, count: 1, width, height };
    return await encoder.features(picture, [middles(cells, width)], signal);
  };
}

/** Middles of `cells` x `cells` parts of a square of `side` px, row by row. */
function middles(cells: number, side: number): Point[] {
  const at = (cell: number) => (cell + 0.5) / cells * side;
  return Array.from({ length: cells ** 2 }, (_, i) => ({
    x: at(i % cells),
    y: at(Math.floor(i / cells)),
  }));
}

/** RGB pixels with the same mean and deviation in each channel, in place. */
function sameContrast(pixels: Float32Array): Float32Array {
  const count = pixels.length / CHANNELS;
  for (let c = 0; c < CHANNELS; c++) {
    let sum = 0, squares = 0;
    for (let i = c; i < pixels.length; i += CHANNELS) {
      sum += pixels[i]!;
      squares += pixels[i]! ** 2;
    }
    const mean = sum / count;
    const deviation = Math.sqrt(Math.max(0, squares / count - mean ** 2));
    const scale = DEVIATION / (deviation + LEAST_DEVIATION);
    for (let i = c; i < pixels.length; i += CHANNELS) {
      const value = (pixels[i]! - mean) * scale + MEAN;
      pixels[i] = Math.min(1, Math.max(0, value));
    }
  }
  return pixels;
}

/** The pixels of `region`, which lies within those of `wide`. */
function cropped(
  pixels: Float32Array,
  wide: Region,
  region: Region,
): Float32Array {
  const row = region.width * CHANNELS;
  const data = new Float32Array(region.height * row);
  const left = region.x - wide.x, top = region.y - wide.y;
  for (let y = 0; y < region.height; y++) {
    const from = ((top + y) * wide.width + left) * CHANNELS;
    data.set(pixels.subarray(from, from + row), y * row);
  }
  return data;
}

/** RGB in [0, 1] of a region, `[height, width, 3]`. */
async function pixelsOf(
  pyramid: Pyramid,
  region: Region,
  signal: AbortSignal | undefined,
): Promise<Float32Array> {
  const pixels = new Float32Array(region.width * region.height * CHANNELS);
  const inside = clipRegion(region, pyramid);
  if (inside.width === 0 || inside.height === 0) return pixels;
  const { data } = await pyramid.read(inside, 0, signal);
  const left = inside.x - region.x, top = inside.y - region.y;
  for (let y = 0; y < inside.height; y++) {
    for (let x = 0; x < inside.width; x++) {
      const from = (y * inside.width + x) * STORED;
      const to = ((top + y) * region.width + left + x) * CHANNELS;
      for (let c = 0; c < CHANNELS; c++) pixels[to + c] = data[from + c]! / 255;
    }
  }
  return pixels;
}
