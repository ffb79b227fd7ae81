/**
 * The foreground of an image as a mask of its tile map: a location outside gets
 * a logit of -Infinity, and so no attention.
 *
 * @module
 */
import type { MapBlock, MapSize } from "../../../image/geometry.ts";
import type { Config } from "../../config.ts";
import { indexInMap } from "../../../sampling/streams.ts";
import type { LookImage } from "../draws.ts";
import type { Support } from "./support.ts";
import { nothingToLookAt } from "./nothing_to_look_at.ts";

/** The locations of a block of a tile map that may be drawn. */
export interface BlockMask {
  /** 0 or -Infinity of each location; undefined if all may be drawn. */
  values: Float32Array | undefined;
  /** Number of locations that may be drawn. */
  locations: number;
}

/**
 * The mask of `block` of the tile map of an image.
 *
 * @param support confines the draws further, if given.
 */
export function blockMask(
  { pyramid, foreground }: LookImage,
  { view }: Config,
  { map, block = { row: 0, column: 0, ...map }, support }: {
    map: MapSize;
    /** The whole map if omitted. */
    block?: MapBlock;
    support?: Support | undefined;
  },
): BlockMask {
  const all = block.rows * block.columns;
  if (!foreground && !support) return { values: undefined, locations: all };
  const allowed = foreground?.locations(map, {
    scale: view.scale1,
    stride: view.tileStride,
  }, block) ?? new Uint8Array(all).fill(1);
  if (support) {
    allowed.forEach((_, i) => {
      const tile = indexInMap(block, i, map.columns);
      if (!support.ofTiles.has(tile)) allowed[i] = 0;
    });
  }
  const locations = allowed.reduce((sum, value) => sum + value, 0);
  if (locations === 0 && all === map.rows * map.columns) {
    throw nothingToLookAt(pyramid.source);
  }
  return {
    values: locations === all
      ? undefined
      : Float32Array.from(allowed, (value) => value === 1 ? 0 : -Infinity),
    locations,
  };
}
