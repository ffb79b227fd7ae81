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
  type MapSize,
  type Region,
  rescaledRegion,
  type Size,
  subTileCell,
  tileCentre,
  tileMapSize,
  viewSize,
} from "../../image/geometry.ts";
import type { ViewConfig } from "../config.ts";
import type { Foreground } from "../../image/foreground/foreground.ts";
import type { Pyramid } from "../../image/pyramid.ts";
import { nothingToLookAt } from "./nothing_to_look_at.ts";
import { localContrast, support } from "./support.ts";

/** The image that a support is of. */
interface SupportedImage {
  pyramid: Pyramid;
  foreground?: Foreground | undefined;
}

/** Px of an image's view that may be drawn, and what tiles hold of them. */
export class Support {
  /** Px that each tile of the map holds, by its index; others hold none. */
  readonly ofTiles: ReadonlyMap<number, number>;
  /** Sum over all tiles. */
  readonly total: number;
  readonly #pixels: ReadonlySet<number>;
  readonly #image: Size;
  readonly #view: Size;
  readonly #config: ViewConfig;

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
    this.ofTiles = this.#countTiles(foreground);
    this.total = [...this.ofTiles.values()].reduce((sum, n) => sum + n, 0);
    if (this.total === 0) throw nothingToLookAt(pyramid.source);
  }

  /** The px of highest contrast of a view `[h, w, 3]`. */
  static of(
    view: ArrayLike<number>,
    image: SupportedImage,
    config: ViewConfig & { support: number },
  ): Support {
    const contrast = localContrast(
      view,
      viewSize(image.pyramid, config.scale1),
    );
    const mask = support(contrast, config.support);
    const pixels: number[] = [];
    mask.forEach((marked, i) => {
      if (marked) pixels.push(i);
    });
    return new Support(pixels, image, config);
  }

  /** 1 for each location of a tile's map that holds such a px. */
  cells(tile: Region, map: MapSize): Uint8Array {
    return Uint8Array.from(
      { length: map.rows * map.columns },
      (_, index) => {
        const location = locationAt(index, map.columns);
        const cell = subTileCell(location, map, tile);
        return this.#holdsAny(this.#covered(cell)) ? 1 : 0;
      },
    );
  }

  /** 0 for each location that may be drawn, else -Infinity. */
  mask(tile: Region, map: MapSize): Float32Array {
    return Float32Array.from(
      this.cells(tile, map),
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

  /** Px of each tile: for each px, the tiles that hold it are a rectangle. */
  #countTiles(foreground: Foreground | undefined): Map<number, number> {
    const { scale1: scale, tileStride: stride } = this.#config;
    const map = tileMapSize(this.#image, { scale, stride });
    const allowed = foreground?.locations(map, { scale, stride });
    const columns = this.#tilesAt(map, "x"), rows = this.#tilesAt(map, "y");
    const counts = new Map<number, number>();
    for (const pixel of this.#pixels) {
      const { row, column } = locationAt(pixel, this.#view.width);
      for (const r of rows[row]!) {
        for (const c of columns[column]!) {
          const tile = r * map.columns + c;
          if (allowed?.[tile] === 0) continue;
          counts.set(tile, (counts.get(tile) ?? 0) + 1);
        }
      }
    }
    return counts;
  }

  /** The rows (or columns) of tiles that hold each row (or column) of px. */
  #tilesAt(map: MapSize, axis: "x" | "y"): number[][] {
    const { scale1: scale, tileStride: stride, tileSize } = this.#config;
    const [count, extent] = axis === "x"
      ? [map.columns, this.#view.width]
      : [map.rows, this.#view.height];
    const tiles = Array.from({ length: extent }, (): number[] => []);
    for (let tile = 0; tile < count; tile++) {
      const location = { row: tile, column: tile };
      const centre = tileCentre(location, map, this.#image, { scale, stride });
      const size = { width: tileSize, height: tileSize };
      const { x, y, width, height } = this.#covered(
        centredRegion({ ...ORIGIN, [axis]: centre[axis] }, size),
      );
      const [start, length] = axis === "x" ? [x, width] : [y, height];
      for (let at = start; at < start + length; at++) tiles[at]!.push(tile);
    }
    return tiles;
  }
}

const ORIGIN = { x: 0, y: 0 };
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
