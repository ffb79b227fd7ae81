/**
 * The part of an image worth looking at: a mask at low resolution, queried by
 * level-0 pixel or for all locations of a stage I map.
 *
 * @module
 */
import {
  cellHolding,
  type MapBlock,
  type MapSize,
  type Point,
  type Region,
  type Size,
  tileCentre,
} from "../geometry.ts";
import {
  type Orientation,
  orientedSize,
  storedPoint,
} from "../pyramids/orientation.ts";

/** A mask of equal cells that cover an image: 1 foreground, 0 background. */
export interface Mask extends MapSize {
  cells: Uint8Array; // [rows, columns]
}

/** The foreground of one image. */
export class Foreground {
  readonly #mask: Mask;
  /** Size of the image that the mask covers. */
  readonly #covered: Size;
  readonly #image: Size;
  /** Maps a pixel of this image to the covered one. */
  readonly #place: (point: Point) => Point;

  /** @param covered size of the image that the mask covers. */
  constructor(
    mask: Mask,
    covered: Size,
    { image, place }: { image: Size; place: (point: Point) => Point } = {
      image: covered,
      place: (point) => point,
    },
  ) {
    this.#mask = mask;
    this.#covered = covered;
    this.#image = image;
    this.#place = place;
  }

  /** The foreground of the same image put in `orientation`. */
  oriented(orientation: Orientation): Foreground {
    return new Foreground(this.#mask, this.#covered, {
      image: orientedSize(this.#image, orientation),
      place: (point) =>
        this.#place(storedPoint(point, this.#image, orientation)),
    });
  }

  /** The foreground of a part of the same image. */
  cropped({ x, y, width, height }: Region): Foreground {
    return new Foreground(this.#mask, this.#covered, {
      image: { width, height },
      place: (point) => this.#place({ x: point.x + x, y: point.y + y }),
    });
  }

  /** Share of the image that is foreground. */
  get share(): number {
    const { cells } = this.#mask;
    return cells.reduce((sum, cell) => sum + cell, 0) / cells.length;
  }

  /** The level-0 pixel `point` is foreground. */
  at(point: Point): boolean {
    const { rows, columns, cells } = this.#mask;
    const { x, y } = this.#place(point);
    const row = cellHolding(y, rows, this.#covered.height);
    const column = cellHolding(x, columns, this.#covered.width);
    return cells[row * columns + column] === 1;
  }

  /**
   * Tiles of a stage I map that may be drawn: 1 if a tile's centre is
   * foreground, else 0, `[block.rows, block.columns]`.
   *
   * @param grid the scale of stage I and the stride of its map, level-0 px.
   * @param block the part of the map; all of it if omitted.
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
