/**
 * The foreground of an image as a mask of its tile map: a location outside gets
 * a logit of -Infinity, and so no attention.
 *
 * @module
 */
import { ImageError } from "../../errors.ts";
import type { MapBlock, MapSize } from "../../image/geometry.ts";
import type { Config } from "../config.ts";
import type { LookImage } from "./draws.ts";

/** The locations of a block of a tile map that may be drawn. */
export interface BlockMask {
  /** 0 or -Infinity of each location; undefined if all may be drawn. */
  values: Float32Array | undefined;
  /** Number of locations that may be drawn. */
  locations: number;
}

/** The mask of `block` of the tile map of an image. */
export function blockMask(
  { pyramid, foreground }: LookImage,
  { view }: Config,
  map: MapSize,
  block: MapBlock = { row: 0, column: 0, ...map },
): BlockMask {
  const all = block.rows * block.columns;
  if (!foreground) return { values: undefined, locations: all };
  const allowed = foreground.locations(map, {
    scale: view.scale1,
    stride: view.tileStride,
  }, block);
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

/** The error of a foreground that lies between the locations of a map. */
export function nothingToLookAt(source: string): ImageError {
  return new ImageError(
    `Cannot look at ${source}: no tile is centred on its foreground; draw from the whole image (foreground none), or lower view.tileStride`,
  );
}
