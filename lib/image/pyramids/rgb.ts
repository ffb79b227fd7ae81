/**
 * Opaque pixels to be written to a file: halved, cut into blocks.
 *
 * @module
 */
import type { Region, Size } from "../geometry.ts";
import type { Pixels } from "../pyramid.ts";

/** RGB, 8 bits a channel, row-major `[height, width, 3]`. */
export interface Rgb extends Size {
  data: Uint8Array | Uint8ClampedArray;
}

/** RGB of opaque RGBA pixels. */
export function toRgb({ data, width, height }: Pixels): Rgb {
  const rgb = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; to < rgb.length; from += 4, to += 3) {
    rgb[to] = data[from]!;
    rgb[to + 1] = data[from + 1]!;
    rgb[to + 2] = data[from + 2]!;
  }
  return { data: rgb, width, height };
}

/** Half of `size`, rounded down; at least 1 px. */
export function halvedSize({ width, height }: Size): Size {
  return {
    width: Math.max(1, Math.floor(width / 2)),
    height: Math.max(1, Math.floor(height / 2)),
  };
}

/** Means of 2 x 2 px, rounded; of a single row or column, means of 2. */
export function halve(pixels: Rgb): Rgb {
  const { width, height } = halvedSize(pixels);
  const { data: source } = pixels;
  const data = new Uint8Array(width * height * 3);
  const right = pixels.width === 1 ? 0 : 3;
  const below = pixels.height === 1 ? 0 : pixels.width * 3;
  for (let y = 0, to = 0; y < height; y++) {
    let from = 2 * y * pixels.width * 3;
    for (let x = 0; x < width; x++, from += 3) { // one px here, one below
      for (let c = 0; c < 3; c++, to++, from++) {
        const top = source[from]! + source[from + right]!;
        const bottom = source[from + below]! + source[from + below + right]!;
        data[to] = (top + bottom + 2) >> 2;
      }
    }
  }
  return { data, width, height };
}

/** The part of `pixels` at `region`; its last pixels repeat beyond the end. */
export function cutBlock(pixels: Rgb, region: Region): Rgb {
  const { x, y, width, height } = region;
  const data = new Uint8Array(width * height * 3);
  const inside = Math.min(width, pixels.width - x);
  for (let row = 0; row < height; row++) {
    const source = Math.min(y + row, pixels.height - 1);
    const from = (source * pixels.width + x) * 3;
    const to = row * width * 3;
    data.set(pixels.data.subarray(from, from + inside * 3), to);
    for (let i = to + inside * 3; i < to + width * 3; i++) {
      data[i] = data[i - 3]!;
    }
  }
  return { data, width, height };
}
