/**
 * Pixels averaged from finer ones, weighted by coverage.
 *
 * @module
 */
import { cellEdge, type Region, type Size } from "../geometry.ts";
import type { Pixels } from "../pyramid.ts";

/**
 * A region of an image, averaged from a finer one: each pixel is the mean of
 * the area that it covers.
 *
 * @param read reads a region of the finer one.
 */
export async function averaged(
  { x, y, width, height }: Region,
  image: Size,
  finer: Size,
  read: (covered: Region) => Promise<Pixels>,
): Promise<Pixels> {
  const columns = shares(x, width, image.width, finer.width);
  const rows = shares(y, height, image.height, finer.height);
  const pixels = await read({
    x: columns.first,
    y: rows.first,
    width: columns.length,
    height: rows.length,
  });
  return weighted(pixels, columns.cells, rows.cells);
}

/**
 * Coverage of one axis by a pixel: a share of each finer pixel from `first` on.
 */
interface Cell {
  first: number;
  shares: number[]; // they add to 1
}

/**
 * Coverage of an axis of `extent` px by `length` pixels, from `start` on, of an
 * axis of `count` px, and the range of all of them; `first` of each cell is
 * relative to it.
 */
function shares(
  start: number,
  length: number,
  count: number,
  extent: number,
): { first: number; length: number; cells: Cell[] } {
  const first = Math.floor(cellEdge(start, count, extent));
  let end = first + 1;
  const cells = Array.from({ length }, (_, i) => {
    const from = cellEdge(start + i, count, extent);
    const to = cellEdge(start + i + 1, count, extent);
    const begin = Math.floor(from);
    end = Math.min(extent, Math.max(end, Math.ceil(to)));
    return {
      first: begin - first,
      shares: Array.from({ length: Math.min(extent, Math.ceil(to)) - begin }, (
        _,
        k,
      ) =>
        (Math.min(to, begin + k + 1) - Math.max(from, begin + k)) /
        (to - from)),
    };
  });
  return { first, length: end - first, cells };
}

/** Means of `pixels`, first along the rows, then along the columns. */
function weighted(
  { data, width, height }: Pixels,
  columns: readonly Cell[],
  rows: readonly Cell[],
): Pixels {
  const narrow = new Float32Array(columns.length * height * 3);
  for (let y = 0, to = 0; y < height; y++) {
    for (const { first, shares } of columns) {
      let red = 0, green = 0, blue = 0;
      let from = (y * width + first) * 4;
      for (const share of shares) {
        red += share * data[from]!;
        green += share * data[from + 1]!;
        blue += share * data[from + 2]!;
        from += 4;
      }
      narrow[to++] = red;
      narrow[to++] = green;
      narrow[to++] = blue;
    }
  }
  const out = new Uint8Array(columns.length * rows.length * 4).fill(255);
  const stride = columns.length * 3;
  for (let y = 0, to = 0; y < rows.length; y++) {
    const { first, shares } = rows[y]!;
    for (let x = 0; x < stride; x += 3, to += 4) {
      for (let c = 0; c < 3; c++) {
        let sum = 0;
        for (let k = 0; k < shares.length; k++) {
          sum += shares[k]! * narrow[(first + k) * stride + x + c]!;
        }
        out[to + c] = Math.round(sum);
      }
    }
  }
  return { data: out, width: columns.length, height: rows.length };
}
