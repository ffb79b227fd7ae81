/**
 * The attention of each stage as a heat map of its own: heatmap.ts adds them up.
 *
 * @module
 */
import {
  cellHolding,
  type MapBlock,
  type MapSize,
  type Region,
  regionCentre,
  type Size,
} from "../../image/geometry.ts";
import type { AttentionCanvas, AttentionMap } from "../../model/look/draws.ts";
import { type Heatmap, HeatPainter } from "./heatmap.ts";

/** The heat maps of one image, by what they show; those that were asked for. */
export interface HeatMaps {
  /** Attention of both stages together. */
  attention?: Heatmap;
  /** alpha: where stage I would look, over the whole image. */
  stage1?: Heatmap;
  /** alpha * beta: where stage II would, in the tiles that were drawn. */
  stage2?: Heatmap;
  /** Share of each sub-tile in the evidence, under the head `evidence`. */
  evidence?: Heatmap;
}

/** A tile that was drawn: its attention is that of its cell. */
interface DrawnTile {
  region: Region;
  alpha: number;
}

/** Paints both stages. */
export class StagePainter implements AttentionCanvas {
  readonly #image: Size;
  readonly #stage1: HeatPainter;
  readonly #stage2: HeatPainter;
  readonly #drawn: DrawnTile[] = [];
  #map: MapSize | undefined;

  constructor(image: Size) {
    this.#image = image;
    this.#stage1 = new HeatPainter(image);
    this.#stage2 = new HeatPainter(image);
  }

  addTile(beta: AttentionMap, region: Region, alpha: number): void {
    this.#stage2.addTile(beta, region, alpha);
    this.#drawn.push({ region, alpha });
  }

  addBlock(
    block: MapBlock,
    map: MapSize,
    attention: ArrayLike<number>,
  ): void {
    this.#stage1.addBlock(block, map, attention);
    this.#map = map;
  }

  /** The heat maps of all that was added so far; call it once. */
  heatmaps(): { stage1: Heatmap; stage2: Heatmap } {
    const { width, height } = this.#image;
    const map = this.#map;
    for (const { region, alpha } of map ? this.#drawn : []) {
      const { x, y } = regionCentre(region);
      const cell = {
        row: cellHolding(y, map!.rows, height),
        column: cellHolding(x, map!.columns, width),
        rows: 1,
        columns: 1,
      };
      this.#stage1.addBlock(cell, map!, [alpha]);
    }
    return {
      stage1: this.#stage1.heatmap(),
      stage2: this.#stage2.heatmap(),
    };
  }
}

/** A canvas that shows everything to all of `canvases`; undefined for none. */
export function joinedCanvas(
  canvases: readonly (AttentionCanvas | undefined)[],
): AttentionCanvas | undefined {
  const shown = canvases.filter((canvas) => canvas !== undefined);
  if (shown.length === 0) return undefined;
  return {
    addTile: (...tile) => shown.forEach((canvas) => canvas.addTile(...tile)),
    addBlock: (...block) =>
      shown.forEach((canvas) => canvas.addBlock(...block)),
  };
}
