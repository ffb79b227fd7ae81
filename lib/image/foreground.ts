/**
 * Which part of an image is worth looking at: a mask at low resolution, asked
 * by level-0 pixel or for all locations of a stage I map.
 *
 * @module
 */
import {
  cellHolding,
  type MapBlock,
  type MapSize,
  type Orientation,
  orientedSize,
  type Point,
  type Size,
  storedPoint,
  tileCentre,
} from "./geometry.ts";

/** A mask of equal cells that cover an image: 1 foreground, 0 background. */
export interface Mask extends MapSize {
  cells: Uint8Array; // [rows, columns]
}

/** The foreground of one image. */
export class Foreground {
  readonly #mask: Mask;
  readonly #stored: Size;
  readonly #image: Size;
  readonly #orientation: Orientation;

  /** @param image size of the image that the mask covers. */
  constructor(mask: Mask, image: Size, orientation: Orientation = 1) {
    this.#mask = mask;
    this.#stored = image;
    this.#image = orientedSize(image, orientation);
    this.#orientation = orientation;
  }

  /** The foreground of the same image put in `orientation`. */
  oriented(orientation: Orientation): Foreground {
    return new Foreground(this.#mask, this.#stored, orientation);
  }

  /** Share of the image that is foreground. */
  get share(): number {
    const { cells } = this.#mask;
    return cells.reduce((sum, cell) => sum + cell, 0) / cells.length;
  }

  /** Whether a level-0 pixel of the image is foreground. */
  at(point: Point): boolean {
    const { rows, columns, cells } = this.#mask;
    const { x, y } = storedPoint(point, this.#stored, this.#orientation);
    const row = cellHolding(y, rows, this.#stored.height);
    const column = cellHolding(x, columns, this.#stored.width);
    return cells[row * columns + column] === 1;
  }

  /**
   * Which tiles of a stage I map may be drawn: 1 where a tile's centre is
   * foreground, 0 elsewhere, `[block.rows, block.columns]`.
   *
   * @param grid the scale of stage I and the stride of its map, level-0 px.
   * @param block the part of the map asked for; all of it if left out.
   */
  locations(
    map: MapSize,
    grid: { scale: number; stride: number },
    block: MapBlock = { row: 0, column: 0, ...map },
  ): Uint8Array {
    const centre = (row: number, column: number) =>
      tileCentre({ row, column }, map, this.#image, grid);
    // A centre's x depends on its column alone, its y on its row.
    const xs = Array.from(
      { length: block.columns },
      (_, column) => centre(0, block.column + column).x,
    );
    const allowed = new Uint8Array(block.rows * block.columns);
    for (let row = 0, i = 0; row < block.rows; row++) {
      const { y } = centre(block.row + row, 0);
      for (const x of xs) allowed[i++] = this.at({ x, y }) ? 1 : 0;
    }
    return allowed;
  }
}
