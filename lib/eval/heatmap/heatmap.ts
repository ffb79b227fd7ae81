/**
 * The attention of an image as a heat map: alpha of stage I over the whole image,
 * refined to alpha * beta in the tiles that were drawn.
 *
 * Each location of an attention map stands for a cell: the map's region cut in
 * [rows, columns] equal rectangles, which are the pixels that the view's pixel
 * averages. Attention is a mass that lies evenly over its cell:
 *
 *     heat(pixel) = sum over locations c that were not drawn, cell holds pixel,
 *                   of alpha_c / area of the cell
 *                 + sum over drawn tiles c, cell c' of the tile holds pixel,
 *                   of alpha_c beta^c_c' / area of the cell
 *
 * in attention mass per level-0 px. So drawn tiles that overlap add up, heat
 * over a region is the share of attention it gets, and heat over the image is
 * 1, less the attention of stage II to the padding of tiles that reach outside.
 *
 * The map is stored at a bounded resolution; each value is the mean over the
 * level-0 pixels it covers, so that no mass is lost, however small the cells.
 *
 * @module
 */
import {
  boundedSize,
  cellEdge,
  type MapBlock,
  type MapSize,
  type Region,
  rescaledRegion,
  type Size,
} from "../../image/geometry.ts";
import type { AttentionCanvas, AttentionMap } from "../../model/look/draws.ts";

/** What a heat map shows. */
export type HeatKind = "attention" | "evidence";

/** Mass of attention, or of evidence, per level-0 px, over the whole image. */
export interface Heatmap extends Size {
  /** `[height, width]`. */
  values: Float32Array;
  /** Level-0 size of the image it covers. */
  image: Size;
  /** Level-0 px per px of the heat map along its longest side, >= 1. */
  downsample: number;
}

const MAX_SIDE = 1024; // px

/**
 * Paints a heat map part by part, its longest side at most 1024 px: in memory that
 * does not grow with the image.
 */
export class HeatPainter implements AttentionCanvas {
  readonly #image: Size;
  readonly #size: Size;
  readonly #mass: Float64Array;

  constructor(image: Size) {
    this.#image = { width: image.width, height: image.height };
    this.#size = boundedSize(image, MAX_SIDE);
    this.#mass = new Float64Array(this.#size.width * this.#size.height);
  }

  /** Adds beta of a drawn tile, in all as much as its alpha. */
  addTile(beta: AttentionMap, region: Region, alpha: number): void {
    const block = { row: 0, column: 0, rows: beta.rows, columns: beta.columns };
    const attention = Float64Array.from(
      beta.attention,
      (value) => alpha * value,
    );
    this.#spread({ block, map: beta, region, attention });
  }

  /** Adds alpha of a block of the tile map, 0 where a tile was drawn. */
  addBlock(
    block: MapBlock,
    map: MapSize,
    attention: ArrayLike<number>,
  ): void {
    const region = { x: 0, y: 0, ...this.#image };
    this.#spread({ block, map, region, attention });
  }

  /** The heat map of all that was added so far. */
  heatmap(): Heatmap {
    const { width, height } = this.#image;
    const area = (width * height) / this.#mass.length; // level-0 px a px
    return {
      ...this.#size,
      values: Float32Array.from(this.#mass, (value) => value / area),
      image: this.#image,
      downsample: Math.max(width, height) /
        Math.max(this.#size.width, this.#size.height),
    };
  }

  /**
   * Adds the attention of each cell of a block of a map over `region` to the
   * pixels under the cell, in proportion to the area they share.
   */
  #spread({ block, map, region, attention }: {
    block: MapBlock;
    map: MapSize;
    region: Region;
    attention: ArrayLike<number>;
  }): void {
    const { x, y, width, height } = rescaledRegion(
      region,
      this.#image,
      this.#size,
    );
    const pixels = this.#size;
    const across = Array.from(
      { length: block.columns },
      (_, column) =>
        cellShares(block.column + column, map.columns, {
          start: x,
          extent: width,
          pixels: pixels.width,
        }),
    );
    for (let row = 0, cell = 0; row < block.rows; row++) {
      const down = cellShares(block.row + row, map.rows, {
        start: y,
        extent: height,
        pixels: pixels.height,
      });
      for (let column = 0; column < block.columns; column++, cell++) {
        const value = attention[cell]!;
        if (value === 0) continue;
        const { first, shares } = across[column]!;
        for (let i = 0; i < down.shares.length; i++) {
          const at = (down.first + i) * pixels.width + first;
          for (let j = 0; j < shares.length; j++) {
            this.#mass[at + j]! += value * down.shares[i]! * shares[j]!;
          }
        }
      }
    }
  }
}

/**
 * The evidence of an image as a heat map: the share of each sub-tile that was read
 * lies evenly over it. Sub-tiles that overlap add up, and heat over a region
 * estimates its share of softmax(r z) over all locations.
 *
 * @param subTiles level-0 px; `weight` is the share in the evidence.
 */
export function evidenceHeatmap(
  image: Size,
  subTiles: readonly (Region & { weight: number })[],
): Heatmap {
  const painter = new HeatPainter(image);
  for (const { weight, ...region } of subTiles) {
    painter.addTile({ rows: 1, columns: 1, attention: [1] }, region, weight);
  }
  return painter.heatmap();
}

/** The pixels under a cell along one axis, and the share of it each holds. */
interface CellShares {
  first: number;
  shares: Float64Array;
}

/** Shares of cell `index` of `count` cells over `extent` px from `start`. */
function cellShares(
  index: number,
  count: number,
  { start, extent, pixels }: { start: number; extent: number; pixels: number },
): CellShares {
  const from = start + cellEdge(index, count, extent);
  const to = start + cellEdge(index + 1, count, extent);
  const first = Math.max(0, Math.floor(from));
  const end = Math.min(pixels, Math.ceil(to));
  const shares = new Float64Array(Math.max(0, end - first));
  for (let i = 0; i < shares.length; i++) {
    const pixel = first + i;
    const overlap = Math.min(pixel + 1, to) - Math.max(pixel, from);
    shares[i] = overlap / (to - from);
  }
  return { first, shares };
}
