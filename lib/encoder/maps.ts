/**
 * Maps of values over pictures, in main memory: halving, reflecting at the
 * border, and pooling about places.
 *
 * The filters of an encoder run on the engine. What lies between two of them is
 * little work on values that are read back anyway.
 *
 * @module
 */
import type { Point } from "../image/geometry.ts";

/** Maps of one size and number of channels. */
export interface Maps {
  /** `[count, height, width, channels]`. */
  data: Float32Array;
  count: number;
  height: number;
  width: number;
  channels: number;
}

/** An empty set of maps. */
export function emptyMaps(shape: Omit<Maps, "data">): Maps {
  const { count, height, width, channels } = shape;
  return {
    ...shape,
    data: new Float32Array(count * height * width * channels),
  };
}

/** Maps `from` to `from + count`, without copying. */
export function someMaps(maps: Maps, from: number, count: number): Maps {
  const size = maps.height * maps.width * maps.channels;
  return {
    ...maps,
    count,
    data: maps.data.subarray(from * size, (from + count) * size),
  };
}

/** Means of 2 x 2 values; an odd last row or column is left out. */
export function halved(maps: Maps): Maps {
  const { count, channels } = maps;
  const half = emptyMaps({
    count,
    channels,
    height: maps.height >> 1,
    width: maps.width >> 1,
  });
  const { data } = maps, rowLength = maps.width * channels;
  let to = 0;
  for (let n = 0; n < count; n++) {
    for (let y = 0; y < half.height; y++) {
      const row = (n * maps.height + 2 * y) * rowLength;
      for (let x = 0; x < half.width; x++) {
        const first = row + 2 * x * channels;
        for (let at = first; at < first + channels; at++) {
          const below = at + rowLength;
          half.data[to++] = (data[at]! + data[at + channels]! +
            data[below]! + data[below + channels]!) / 4;
        }
      }
    }
  }
  return half;
}

/** Each value four times, so that the maps have twice the sides. */
export function doubled(maps: Maps): Maps {
  const { count, channels, width } = maps;
  const double = emptyMaps({
    count,
    channels,
    height: 2 * maps.height,
    width: 2 * width,
  });
  let to = 0;
  for (let row = 0; row < count * double.height; row++) {
    for (let x = 0; x < double.width; x++) {
      const from = ((row >> 1) * width + (x >> 1)) * channels;
      for (let c = 0; c < channels; c++) {
        double.data[to++] = maps.data[from + c]!;
      }
    }
  }
  return double;
}

/** Each channel as a map of its own: `[count * channels, height, width, 1]`. */
export function separated({ data, ...shape }: Maps): Maps {
  const { count, height, width, channels } = shape;
  const size = height * width;
  const planes = emptyMaps({
    count: count * channels,
    height,
    width,
    channels: 1,
  });
  for (let plane = 0; plane < planes.count; plane++) {
    const from = Math.floor(plane / channels) * size * channels +
      plane % channels;
    for (let at = 0; at < size; at++) {
      planes.data[plane * size + at] = data[from + at * channels]!;
    }
  }
  return planes;
}

/** How far maps are continued beyond their sides, px. */
export interface Border {
  before: number;
  after: number;
}

/**
 * Maps with a border that mirrors them: the outermost px are not repeated. Maps
 * that are narrower than their border are mirrored again and again.
 */
export function reflected(maps: Maps, { before, after }: Border): Maps {
  const { count, channels, height, width } = maps;
  const framed = emptyMaps({
    count,
    channels,
    height: height + before + after,
    width: width + before + after,
  });
  const rows = mirror(height, before, framed.height);
  const columns = mirror(width, before, framed.width);
  let to = 0;
  for (let n = 0; n < count; n++) {
    for (const row of rows) {
      const start = (n * height + row) * width * channels;
      for (const column of columns) {
        const from = start + column * channels;
        for (let c = 0; c < channels; c++) {
          framed.data[to++] = maps.data[from + c]!;
        }
      }
    }
  }
  return framed;
}

/** Index in [0, length) of each of `total` positions, `before` of them outside. */
function mirror(length: number, before: number, total: number): number[] {
  const period = Math.max(1, 2 * (length - 1));
  return Array.from({ length: total }, (_, at) => {
    const within = (((at - before) % period) + period) % period;
    return Math.min(within, period - within);
  });
}

/** A square window about a place. */
export interface Window {
  /** Side of a value of the map, px of the picture. */
  cell: number;
  /** Side of the window, px of the picture. */
  side: number;
}

/** Where features go: `[places, channels]`, from row `row` on. */
export interface FeatureRows {
  data: Float32Array;
  channels: number;
  row: number;
}

/**
 * Pools each channel in a window about each place: the means of all maps of its
 * picture, one after the other, into its row from feature `at` on, and after
 * them the maxima.
 *
 * A window has `round(side / cell)` whole values a side, those nearest to the
 * place: of two that are as near, the upper left one. Beyond the map its
 * outermost values continue.
 *
 * @param maps as many of each picture, picture after picture.
 * @param places px, of each picture.
 * @returns the first feature that was not written.
 */
export function poolAbout(
  maps: Maps,
  { places, window, max }: {
    places: readonly (readonly Point[])[];
    window: Window;
    max: boolean;
  },
  rows: FeatureRows,
  at: number,
): number {
  const { height, width, channels } = maps;
  const depth = maps.count / places.length, length = depth * channels;
  const sums = new Float64Array(channels), most = new Float64Array(channels);
  let row = rows.row * rows.channels + at;
  for (const [picture, own] of places.entries()) {
    for (const place of own) {
      const ys = span(place.y, height, window);
      const xs = span(place.x, width, window);
      const area = ys.length * xs.length;
      for (let i = 0; i < depth; i++) {
        const { data } = someMaps(maps, picture * depth + i, 1);
        addUp(data, { ys, xs, rowLength: width * channels }, { sums, most });
        const to = row + i * channels;
        for (let c = 0; c < channels; c++) {
          rows.data[to + c] = sums[c]! / area;
          if (max) rows.data[to + length + c] = most[c]!;
        }
      }
      row += rows.channels;
    }
  }
  return at + (max ? 2 : 1) * length;
}

/** Indices of the values of a window on an axis of `extent` values. */
function span(
  place: number,
  extent: number,
  { cell, side }: Window,
): Int32Array {
  const count = Math.max(1, Math.round(side / cell));
  const start = Math.ceil(place / cell - count / 2 - 0.5);
  return Int32Array.from(
    { length: count },
    (_, i) => Math.min(Math.max(start + i, 0), extent - 1),
  );
}

/** Sums and maxima over a window. */
function addUp(
  data: Float32Array,
  { ys, xs, rowLength }: { ys: Int32Array; xs: Int32Array; rowLength: number },
  { sums, most }: { sums: Float64Array; most: Float64Array },
): void {
  const channels = sums.length;
  sums.fill(0);
  most.fill(-Infinity);
  for (const y of ys) {
    for (const x of xs) {
      const from = y * rowLength + x * channels;
      for (let c = 0; c < channels; c++) {
        const value = data[from + c]!;
        sums[c]! += value;
        if (!(value <= most[c]!)) most[c] = value; // NaN as well
      }
    }
  }
}
