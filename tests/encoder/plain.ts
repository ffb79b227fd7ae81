/**
 * What encoders compute, as plain loops over one map at a time, in float64.
 *
 * @module
 */
import type { Pictures } from "../../lib/encoder/encoder.ts";
import type { Point } from "../../lib/image/geometry.ts";

/** One map, row by row. */
export interface PlainMap {
  values: number[];
  width: number;
  height: number;
}

export function plainMap(
  width: number,
  height: number,
  value: (x: number, y: number) => number,
): PlainMap {
  const values: number[] = [];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) values.push(value(x, y));
  }
  return { values, width, height };
}

/** One channel of the first picture. */
export function channelOf(
  { data, width, height }: Pictures,
  channel: number,
): PlainMap {
  return plainMap(
    width,
    height,
    (x, y) => data[(y * width + x) * 3 + channel]!,
  );
}

/** A value of a map that is mirrored at its sides. */
export function mirrored(map: PlainMap, x: number, y: number): number {
  return map.values[
    bounced(y, map.height) * map.width + bounced(x, map.width)
  ]!;
}

function bounced(at: number, length: number): number {
  if (length === 1) return 0;
  while (at < 0 || at >= length) at = at < 0 ? -at : 2 * (length - 1) - at;
  return at;
}

export function plainHalf(map: PlainMap): PlainMap {
  const { width, values } = map;
  return plainMap(width >> 1, map.height >> 1, (x, y) => {
    const at = 2 * y * width + 2 * x;
    return (values[at]! + values[at + 1]! + values[at + width]! +
      values[at + width + 1]!) / 4;
  });
}

/** Mean and maximum of the window about a place. */
export function plainPool(
  map: PlainMap,
  { x, y }: Point,
  { cell, side }: { cell: number; side: number },
): { mean: number; max: number } {
  const count = Math.max(1, Math.round(side / cell));
  const values: number[] = [];
  for (let i = 0; i < count * count; i++) {
    const at = (place: number, offset: number, extent: number) => {
      const start = Math.ceil(place / cell - count / 2 - 0.5);
      return Math.max(0, Math.min(extent - 1, start + offset));
    };
    const row = at(y, Math.floor(i / count), map.height);
    values.push(map.values[row * map.width + at(x, i % count, map.width)]!);
  }
  return {
    mean: values.reduce((a, b) => a + b) / values.length,
    max: Math.max(...values),
  };
}
