/**
 * A whole image as a small picture, read in blocks under a memory bound.
 *
 * @module
 */
import { boundedSize, cellHolding, type Size } from "./geometry.ts";
import type { Level, Pixels, Pyramid } from "./pyramid.ts";
import type { Rgb } from "./pyramids/rgb.ts";

// Side of the blocks read at a time, px: 4 MiB, and a multiple of the blocks of
// most files, which are then decoded once.
const READ_SIZE = 1024;

/**
 * `pyramid` with its longest side at most `longest` px: means of the pixels of
 * the coarsest level that is no smaller.
 *
 * @throws {ImageError} If the image cannot be read.
 */
export async function readOverview(
  pyramid: Pyramid,
  longest: number,
  signal?: AbortSignal,
): Promise<Rgb> {
  const size = boundedSize(pyramid, longest);
  const index = pyramid.levels.findLastIndex(({ width, height }) =>
    width >= size.width && height >= size.height
  );
  const level = pyramid.levels[index]!;
  const means = new Means(size, level);
  for (let y = 0; y < level.height; y += READ_SIZE) {
    for (let x = 0; x < level.width; x += READ_SIZE) {
      const width = Math.min(READ_SIZE, level.width - x);
      const height = Math.min(READ_SIZE, level.height - y);
      const pixels = await pyramid.read({ x, y, width, height }, index, signal);
      means.add(pixels, x, y);
      pyramid.release?.(pixels);
    }
  }
  return means.picture();
}

/** Sums of the pixels of a level, by the cell of a smaller picture. */
class Means {
  readonly #size: Size;
  readonly #level: Level;
  readonly #sums: Uint32Array; // RGB and count, by cell of < 2^24 px

  constructor(size: Size, level: Level) {
    this.#size = size;
    this.#level = level;
    this.#sums = new Uint32Array(size.width * size.height * 4);
  }

  /** Adds pixels; the first one is at (x, y) of the level. */
  add({ data, width, height }: Pixels, x: number, y: number): void {
    const columns = Int32Array.from(
      { length: width },
      (_, i) => cellHolding(x + i, this.#size.width, this.#level.width),
    );
    for (let row = 0, from = 0; row < height; row++) {
      const cellRow = cellHolding(
        y + row,
        this.#size.height,
        this.#level.height,
      );
      for (let column = 0; column < width; column++, from += 4) {
        const cell = (cellRow * this.#size.width + columns[column]!) * 4;
        for (let c = 0; c < 3; c++) this.#sums[cell + c]! += data[from + c]!;
        this.#sums[cell + 3]!++;
      }
    }
  }

  picture(): Rgb {
    const { width, height } = this.#size;
    const data = new Uint8Array(width * height * 3);
    for (let cell = 0; cell < width * height; cell++) {
      const count = this.#sums[cell * 4 + 3]!;
      for (let c = 0; c < 3; c++) {
        data[cell * 3 + c] = Math.round(this.#sums[cell * 4 + c]! / count);
      }
    }
    return { data, width, height };
  }
}
