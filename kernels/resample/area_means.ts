/**
 * Area-weighted means of rectangles as plain loops: the reference of
 * downsample.ts, and what the wasm engine and pictures without an engine are
 * made by.
 *
 * @module
 */
import { type Cover, coverAxis } from "./axis_cover.ts";

/** Width and height, px. */
export interface Size {
  width: number;
  height: number;
}

/** Rectangles to shrink, and their output size. */
export interface DownsampleOptions {
  /** `[N * 2]`: first corners (x, y), px of the region; may lie outside. */
  origins: Int32Array;
  /** Offset of the corners in their pixel, in 1/output px; (0, 0) if omitted. */
  phase?: { x: number; y: number };
  /** End of the source, measured from the corners' pixel, in 1/output px. */
  end?: { x: number; y: number };
  /** Of every source rectangle, px of the region. */
  size: Size;
  /** Of every result, px. */
  output: Size;
  /** Result pixels to compute, starting with the first; `output` if omitted. */
  pixels?: Size;
}

// An end that no source reaches, as a shader constant.
export const NO_END = 2 ** 32 - 1;

/** As `downsample`, on packed pixels `[height, width]`. */
export function downsampleReference(
  region: Int32Array,
  regionSize: Size,
  options: DownsampleOptions,
  out?: Float32Array,
): Float32Array {
  return downsampleRows(region, regionSize, options, {
    out,
    addRows(sums, source, first, last) {
      for (let row = first; row < last; row++) addRow(sums, source, row, 1);
    },
  });
}

/** Adds whole rows [first, last) of a source, shrunk, to `[output width, 3]`. */
export type AddRows = (
  sums: Float64Array,
  source: Source,
  first: number,
  last: number,
) => void;

/**
 * Writes the means of a row of result pixels that cover whole rows [first, last) of
 * a source, from value `to` of the result on; false if it cannot.
 *
 * @param mean factor that makes a mean of a sum.
 */
export type WriteMeans = (
  to: number,
  source: Source,
  rows: { first: number; last: number; mean: number },
) => boolean;

/** As {@linkcode downsampleReference}, by other ways to add whole rows. */
export function downsampleRows(
  region: Int32Array,
  regionSize: Size,
  { origins, phase, end, size, output, pixels = output }: DownsampleOptions,
  {
    addRows,
    writeMeans,
    out = new Float32Array(
      (origins.length / 2) * pixels.height * pixels.width * 3,
    ),
  }: {
    addRows: AddRows;
    writeMeans?: WriteMeans;
    out?: Float32Array | undefined;
  },
): Float32Array {
  const rows = coverAxis({
    source: size.height,
    output: output.height,
    phase: phase?.y ?? 0,
    limit: end?.y ?? NO_END,
    pixels: pixels.height,
  });
  const columns = coverAxis({
    source: size.width,
    output: output.width,
    phase: phase?.x ?? 0,
    limit: end?.x ?? NO_END,
    pixels: pixels.width,
  });
  const mean = (output.width * output.height) /
    (size.width * size.height * 255);
  const sums = new Float64Array(pixels.width * 3);
  for (let n = 0, to = 0; n < origins.length / 2; n++) {
    const x = origins[2 * n]!, y = origins[2 * n + 1]!;
    const source: Source = { region, ...regionSize, x, columns };
    for (let i = 0; i < pixels.height; i++) {
      const first = y + rows.first[i]!, last = y + rows.last[i]!;
      const isWhole = rows.before[i] === 0 && rows.after[i] === 0;
      if (isWhole && writeMeans?.(to, source, { first, last, mean })) {
        to += sums.length;
        continue;
      }
      sums.fill(0);
      addRow(sums, source, first - 1, rows.before[i]!);
      addRows(sums, source, first, last);
      addRow(sums, source, last, rows.after[i]!);
      for (let k = 0; k < sums.length; k++) out[to++] = sums[k]! * mean;
    }
  }
  return out;
}

/** One source rectangle: the position of its columns in the region. */
export interface Source extends Size {
  region: Int32Array;
  x: number;
  columns: Cover;
}

// Pixels whose red and blue can be added up in the halves of one integer.
const MAX_TOGETHER = 256;

/** Adds `weight` times the shrunk source row to `sums`, `[output width, 3]`. */
function addRow(
  sums: Float64Array,
  { region, width, height, x, columns }: Source,
  row: number,
  weight: number,
): void {
  if (weight === 0 || row < 0 || row >= height) return;
  const start = row * width;
  const { first, last, before, after } = columns;
  for (let j = 0, k = 0; j < first.length; j++, k += 3) {
    const from = x + first[j]!, to = x + last[j]!;
    const end = Math.min(to, width);
    let red = 0, green = 0, blue = 0;
    for (let column = Math.max(from, 0); column < end;) {
      const stop = Math.min(column + MAX_TOGETHER, end);
      let redBlue = 0, greens = 0;
      for (; column < stop; column++) {
        const pixel = region[start + column]!;
        redBlue = (redBlue + (pixel & 0xff00ff)) | 0;
        greens += pixel & 0xff00;
      }
      red += redBlue & 0xffff;
      green += greens >> 8;
      blue += redBlue >>> 16;
    }
    const head = before[j]!, tail = after[j]!;
    if (head > 0 && from > 0 && from <= width) {
      const pixel = region[start + from - 1]!;
      red += head * (pixel & 255);
      green += head * ((pixel >> 8) & 255);
      blue += head * ((pixel >> 16) & 255);
    }
    if (tail > 0 && to >= 0 && to < width) {
      const pixel = region[start + to]!;
      red += tail * (pixel & 255);
      green += tail * ((pixel >> 8) & 255);
      blue += tail * ((pixel >> 16) & 255);
    }
    sums[k]! += weight * red;
    sums[k + 1]! += weight * green;
    sums[k + 2]! += weight * blue;
  }
}
