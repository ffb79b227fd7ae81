/**
 * The heat map of maps that are in memory as a whole.
 *
 * @module
 */
import type { Location, Region, Size } from "../../../lib/image/geometry.ts";
import {
  type Heatmap,
  HeatPainter,
} from "../../../lib/eval/heatmap/heatmap.ts";
import type { AttentionMap } from "../../../lib/model/look/draws.ts";

/** A drawn tile, and the attention of stage II in it. */
export interface AttendedTile {
  /** Of the tile, on the stage I map. */
  location: Location;
  /** Of the tile, level-0 px; it may reach outside the image. */
  region: Region;
  /** beta, `[u, v]` of this tile. */
  subTileAttention: AttentionMap;
}

/**
 * The heat map of one image, its longest side at most 1024 px.
 */
export function heatmap(
  image: Size,
  { tileAttention, tiles }: {
    tileAttention: AttentionMap;
    /** Each drawn tile once, however often it was drawn. */
    tiles: readonly AttendedTile[];
  },
): Heatmap {
  const painter = new HeatPainter(image);
  const { rows, columns } = tileAttention;
  const notDrawn = Float64Array.from(tileAttention.attention);
  for (const { location, region, subTileAttention } of tiles) {
    const index = location.row * columns + location.column;
    painter.addTile(subTileAttention, region, notDrawn[index]!);
    notDrawn[index] = 0;
  }
  const block = { row: 0, column: 0, rows, columns };
  painter.addBlock(block, { rows, columns }, notDrawn);
  return painter.heatmap();
}
