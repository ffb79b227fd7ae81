/**
 * Pictures and places for tests of encoders.
 *
 * @module
 */
import { randomKey, RandomStream } from "../../kernels/random.ts";
import type { Pictures } from "../../lib/encoder/encoder.ts";
import type { Point, Region, Size } from "../../lib/image/geometry.ts";

/** The picture of fixtures/encoder/reference.py. */
export function goldenPicture(): Pictures {
  return pictureOf({ width: 93, height: 71 }, (x, y, c) => {
    const wave = (3 + c) * x + (5 - c) * y + Math.floor(x * y / (7 + c));
    return Math.abs(wave % 360 - 180) + (x * y * 7) % 31;
  });
}

/** The places whose features the goldens hold. */
export const GOLDEN_PLACES: readonly Point[] = [
  { x: 10, y: 10 },
  { x: 30, y: 30 },
  { x: 70, y: 50 },
];

/** Smooth blobs and some noise, another picture for each seed. */
export function blobs(size: Size, seed: number): Pictures {
  const random = new RandomStream(randomKey(seed));
  const [a, b, c] = [0, 1, 2].map(() => 0.05 + 0.3 * random.uniform()) as [
    number,
    number,
    number,
  ];
  return pictureOf(size, (x, y, channel) =>
    Math.round(
      110 + 60 * Math.sin(a * x + channel) * Math.cos(b * y) +
        40 * Math.sin(c * (x + y)) + 50 * random.uniform(),
    ));
}

function pictureOf(
  { width, height }: Size,
  value: (x: number, y: number, channel: number) => number,
): Pictures {
  const data = new Float32Array(width * height * 3);
  for (let at = 0; at < data.length; at++) {
    const pixel = Math.floor(at / 3);
    data[at] = value(pixel % width, Math.floor(pixel / width), at % 3) / 255;
  }
  return { data, count: 1, width, height };
}

/** Pictures of one size, one after the other. */
export function together(pictures: readonly Pictures[]): Pictures {
  const first = pictures[0]!;
  const data = new Float32Array(first.data.length * pictures.length);
  pictures.forEach((one, i) => data.set(one.data, i * first.data.length));
  return { ...first, data, count: pictures.length };
}

/** A part of the first picture. */
export function cropped(
  { data, width }: Pictures,
  region: Region,
): Pictures {
  const part = new Float32Array(region.width * region.height * 3);
  for (let row = 0; row < region.height; row++) {
    const from = ((region.y + row) * width + region.x) * 3;
    part.set(
      data.subarray(from, from + region.width * 3),
      row * region.width * 3,
    );
  }
  return { data: part, count: 1, width: region.width, height: region.height };
}

/** Middles of a grid of cells of `step` px. */
export function gridPlaces({ width, height }: Size, step: number): Point[] {
  const columns = Math.floor(width / step), rows = Math.floor(height / step);
  return Array.from({ length: rows * columns }, (_, i) => ({
    x: (i % columns + 0.5) * step,
    y: (Math.floor(i / columns) + 0.5) * step,
  }));
}
