/**
 * The places that may be drawn, where a configuration confines the draws to the
 * px of the view with the highest local contrast (`view.support`).
 *
 * @module
 */
import type * as tf from "@tensorflow/tfjs-core";
import {
  centredRegion,
  clipRegion,
  locationAt,
  type MapBlock,
  type MapSize,
  type Region,
  rescaledRegion,
  type Size,
  subTileCell,
  subTileMapSize,
  tileCentre,
  tileMapSize,
  viewSize,
} from "../../../image/geometry.ts";
import type { ViewConfig } from "../../config.ts";
import type { Foreground } from "../../../image/foreground/foreground.ts";
import type { Pyramid } from "../../../image/pyramid.ts";
import { nothingToLookAt } from "./nothing_to_look_at.ts";
import { localContrast, support } from "./contrast.ts";

/** The image that a support is of. */
interface SupportedImage {
  pyramid: Pyramid;
  foreground?: Foreground | undefined;
}

/** 1 for each px of a block of the view that is foreground; undefined if all are. */
export function foregroundPixels(
  { pyramid, foreground }: SupportedImage,
  { scale1: scale }: ViewConfig,
  block?: MapBlock,
): Uint8Array | undefined {
  const { width, height } = viewSize(pyramid, scale);
  const grid = { scale, stride: 1 / scale };
  return foreground?.locations({ rows: height, columns: width }, grid, block);
}

/** Px of an image's view, and the locations that hold one: these may be drawn. */
export class Support {
  /** Such locations of each tile of the map, by its index; others have none. */
  readonly ofTiles: ReadonlyMap<number, number>;
  /** Sum over all tiles. */
  readonly total: number;
  readonly #pixels: ReadonlySet<number>;
  readonly #image: Size;
  readonly #view: Size;
  readonly #config: ViewConfig;
  readonly #cells: MapSize; // of a tile

  /**
   * @param pixels of the view, row by row.
   * @param image whose foreground confines the draws as well.
   * @throws {ImageError} If no tile of the foreground holds one of them.
   */
  constructor(
    pixels: Iterable<number>,
    { pyramid, foreground }: SupportedImage,
    config: ViewConfig,
  ) {
    this.#pixels = new Set(pixels);
    this.#image = pyramid;
    this.#config = config;
    this.#view = viewSize(pyramid, config.scale1);
    const { tileSize, scale2: scale, subTileStride: stride } = config;
    const tile = { width: tileSize, height: tileSize };
    this.#cells = subTileMapSize(tile, { scale, stride });
    this.ofTiles = this.#countTiles(foreground);
    this.total = [...this.ofTiles.values()].reduce((sum, n) => sum + n, 0);
    if (this.total === 0) throw nothingToLookAt(pyramid.source);
  }

  /** The px of highest contrast of a view `[h, w, 3]`, in its foreground. */
  static of(
    view: ArrayLike<number>,
    image: SupportedImage,
    config: ViewConfig & { support: number },
  ): Support {
    const contrast = localContrast(
      view,
      viewSize(image.pyramid, config.scale1),
    );
    foregroundPixels(image, config)?.forEach((allowed, i) => {
      if (!allowed) contrast[i] = -Infinity;
    });
    const mask = support(contrast, config.support);
    const pixels: number[] = [];
    mask.forEach((marked, i) => {
      if (marked) pixels.push(i);
    });
    return new Support(pixels, image, config);
  }

  /** 1 for each location of a tile that holds such a px. */
  cells(tile: Region): Uint8Array {
    const { rows, columns } = this.#cells;
    return Uint8Array.from(
      { length: rows * columns },
      (_, index) => {
        const location = locationAt(index, columns);
        const cell = subTileCell(location, this.#cells, tile);
        return this.#holdsAny(this.#covered(cell)) ? 1 : 0;
      },
    );
  }

  /** 0 for each location that may be drawn, else -Infinity. */
  mask(tile: Region): Float32Array {
    return Float32Array.from(
      this.cells(tile),
      (allowed) => allowed ? 0 : -Infinity,
    );
  }

  #holdsAny({ x, y, width, height }: Region): boolean {
    for (let row = y; row < y + height; row++) {
      for (let column = x; column < x + width; column++) {
        if (this.#pixels.has(row * this.#view.width + column)) return true;
      }
    }
    return false;
  }

  /** The px of the view that a region of the image covers, in part at least. */
  #covered(region: Region): Region {
    const { x, y, width, height } = rescaledRegion(
      region,
      this.#image,
      this.#view,
    );
    const left = Math.floor(x + EDGE), top = Math.floor(y + EDGE);
    return clipRegion({
      x: left,
      y: top,
      width: Math.ceil(x + width - EDGE) - left,
      height: Math.ceil(y + height - EDGE) - top,
    }, this.#view);
  }

  /** Locations of each tile: for each px, those that hold it are a rectangle. */
  #countTiles(foreground: Foreground | undefined): Map<number, number> {
    const { scale1: scale, tileStride: stride } = this.#config;
    const map = tileMapSize(this.#image, { scale, stride });
    const allowed = foreground?.locations(map, { scale, stride });
    const columns = this.#cellsAt(map, "x"), rows = this.#cellsAt(map, "y");
    const held = new Map<number, [Range, Range][]>();
    for (const pixel of this.#pixels) {
      const { row, column } = locationAt(pixel, this.#view.width);
      for (const down of rows[row]!) {
        for (const across of columns[column]!) {
          const tile = down.tile * map.columns + across.tile;
          if (allowed?.[tile] === 0) continue;
          const own = held.get(tile);
          if (own) own.push([down, across]);
          else held.set(tile, [[down, across]]);
        }
      }
    }
    return new Map(
      [...held].map(([tile, ranges]) => [tile, this.#union(ranges)]),
    );
  }

  /** Cells in any of the rectangles. */
  #union(rectangles: readonly [Range, Range][]): number {
    const { rows, columns } = this.#cells;
    const held = new Uint8Array(rows * columns);
    for (const [down, across] of rectangles) {
      for (let row = down.first; row <= down.last; row++) {
        const start = row * columns;
        held.fill(1, start + across.first, start + across.last + 1);
      }
    }
    return held.reduce((sum, one) => sum + one, 0);
  }

  /** What holds each row (or column) of px: rows (columns) of tiles' cells. */
  #cellsAt(map: MapSize, axis: "x" | "y"): Range[][] {
    const { scale1: scale, tileStride: stride, tileSize } = this.#config;
    const [count, extent] = axis === "x"
      ? [map.columns, this.#view.width]
      : [map.rows, this.#view.height];
    const cells = axis === "x" ? this.#cells.columns : this.#cells.rows;
    const ranges = Array.from({ length: extent }, (): Range[] => []);
    for (let tile = 0; tile < count; tile++) {
      const location = { row: tile, column: tile };
      const region = centredRegion(
        tileCentre(location, map, this.#image, { scale, stride }),
        { width: tileSize, height: tileSize },
      );
      for (let cell = 0; cell < cells; cell++) {
        const { x, y, width, height } = this.#covered(
          subTileCell({ row: cell, column: cell }, this.#cells, region),
        );
        const [start, length] = axis === "x" ? [x, width] : [y, height];
        for (let at = start; at < start + length; at++) {
          const last = ranges[at]!.at(-1);
          if (last?.tile === tile) last.last = cell;
          else ranges[at]!.push({ tile, first: cell, last: cell });
        }
      }
    }
    return ranges;
  }
}

/** Cells of a row (or column) of tiles, one after another. */
interface Range {
  tile: number;
  first: number;
  last: number;
}

// Products of px and scales are off by rounding: an edge is not a px more.
const EDGE = 1e-6;

/** u of a tile: its share of what may be drawn; `locations` tiles if no support. */
export function uniformShare(
  support: Support | undefined,
  locations: number,
  tile: number,
): number {
  return support
    ? (support.ofTiles.get(tile) ?? 0) / support.total
    : 1 / locations;
}

/**
 * The support of each image of a batch of views `[N, h, w, 3]`; undefined if the
 * configuration has none.
 */
export async function supportsOf(
  views: tf.Tensor4D,
  images: readonly SupportedImage[],
  { support, ...config }: ViewConfig,
): Promise<Support[] | undefined> {
  if (support === null) return undefined;
  const values = await views.data() as Float32Array;
  const size = values.length / images.length;
  return images.map((image, i) =>
    Support.of(values.subarray(i * size, (i + 1) * size), image, {
      ...config,
      support,
    })
  );
}
