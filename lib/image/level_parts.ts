/**
 * Reads the pixels of a level that lie under a part of a view.
 *
 * @module
 */
import { clipRegion, type Point, type Size } from "./geometry.ts";
import {
  coveredSize,
  type LevelPart,
  levelPart,
  type ViewPart,
} from "./level_geometry.ts";
import type { Pixels, Pyramid } from "./pyramid.ts";

/** The pixels of a level under a part of a view. */
export interface ReadPart {
  /** Position of the part on the level. */
  at: LevelPart;
  /** As read; return them to the pyramid when done. */
  pixels: Pixels;
  /** The same up to the end of the image: perhaps a pixel more. */
  shown: Pixels;
  /** Corner of the part, px of `shown`. */
  origin: Point;
}

/**
 * Reads the part of level `index` that a part of a view is made of; undefined
 * if it lies outside the image.
 *
 * @throws {ImageError} If the image cannot be read.
 */
export async function readPart(
  pyramid: Pyramid,
  view: ViewPart,
  { index, signal }: { index: number; signal?: AbortSignal | undefined },
): Promise<ReadPart | undefined> {
  const level = pyramid.levels[index]!;
  const at = levelPart(view, pyramid, level);
  const shown = clipRegion(at.region, coveredSize(pyramid, level));
  if (shown.width === 0 || shown.height === 0) return undefined;
  // Beyond the end of the level its last pixels repeat.
  const stored = clipRegion({
    ...shown,
    x: Math.min(shown.x, level.width - 1),
    y: Math.min(shown.y, level.height - 1),
  }, level);
  const pixels = await pyramid.read(stored, index, signal);
  return {
    at,
    pixels,
    shown: extended(pixels, shown),
    origin: { x: at.region.x - shown.x, y: at.region.y - shown.y },
  };
}

/**
 * `pixels` extended to `size`, by at most a pixel, by repeating the last column
 * and row: a level may lack the last fraction of a pixel of the image.
 */
function extended(pixels: Pixels, { width, height }: Size): Pixels {
  if (pixels.width === width && pixels.height === height) return pixels;
  const from = new Uint32Array(
    pixels.data.buffer,
    pixels.data.byteOffset,
    pixels.width * pixels.height,
  );
  const to = new Uint32Array(width * height);
  for (let y = 0; y < height; y++) {
    const start = Math.min(y, pixels.height - 1) * pixels.width;
    const row = from.subarray(start, start + pixels.width);
    to.fill(row.at(-1)!, y * width, (y + 1) * width);
    to.set(row, y * width);
  }
  return { data: new Uint8Array(to.buffer), width, height };
}
