/**
 * The grid of all locations of an image, where training sees every one of them:
 * a grid of tiles, each of them a grid of cells.
 *
 * @module
 */
import { ConfigError } from "../../errors.ts";
import {
  centredRegion,
  locationAt,
  type MapSize,
  type Point,
  type Region,
  regionMiddle,
  type Size,
  subTileCentre,
  subTileMapSize,
  tileCentre,
  tileMapSize,
} from "../../image/geometry.ts";
import type { ViewConfig } from "../config.ts";

/** All locations of an image. */
export interface LocationGrid {
  /** Rows and columns of tiles. */
  tiles: MapSize;
  /** Rows and columns of the cells of a tile. */
  cells: MapSize;
  /** The tiles, row by row, level-0 px. */
  regions: Region[];
  /**
   * Middle of the sub-tile at each location, level-0 px: cell by cell, tile
   * after tile.
   */
  places: Point[];
}

/** The settings of a grid. */
export type GridView =
  & Pick<
    ViewConfig,
    "scale1" | "scale2" | "tileSize" | "tileStride" | "subTileSize"
  >
  & { subTileStride: number };

/**
 * The settings of a configuration whose locations are a grid.
 *
 * @throws {ConfigError} If they are none.
 */
export function gridView(view: ViewConfig): GridView {
  const { tileSize, tileStride, subTileSize, subTileStride } = view;
  if (tileStride === tileSize && subTileStride !== null) {
    return { ...view, subTileStride };
  }
  const stride = subTileStride ?? Math.min(subTileSize, tileSize);
  throw new ConfigError(
    `Cannot train on all locations: view.tileStride is ${tileStride} and view.subTileStride ${subTileStride}, which is no grid; set view.tileStride=${tileSize} (the side of a tile) and view.subTileStride=${stride}, or training.dense=null`,
  );
}

/** The size of the grid of an image, tiles and cells of each. */
export function gridSize(
  image: Size,
  { scale1, scale2, tileSize, tileStride, subTileStride }: GridView,
): Pick<LocationGrid, "tiles" | "cells"> {
  const tile = { width: tileSize, height: tileSize };
  return {
    tiles: tileMapSize(image, { scale: scale1, stride: tileStride }),
    cells: subTileMapSize(tile, { scale: scale2, stride: subTileStride }),
  };
}

/** Locations of an image: G. */
export function locationCount(
  { tiles, cells }: Pick<LocationGrid, "tiles" | "cells">,
): number {
  return tiles.rows * tiles.columns * cells.rows * cells.columns;
}

/** All locations of an image of `image` px. */
export function locationGrid(image: Size, view: GridView): LocationGrid {
  const { tiles, cells } = gridSize(image, view);
  const tile = { width: view.tileSize, height: view.tileSize };
  const stage1 = { scale: view.scale1, stride: view.tileStride };
  const regions = located(
    tiles,
    (location) =>
      centredRegion(tileCentre(location, tiles, image, stage1), tile),
  );
  const stage2 = { scale: view.scale2, stride: view.subTileStride };
  const subTile = { width: view.subTileSize, height: view.subTileSize };
  const places = regions.flatMap((region) =>
    located(cells, (location) =>
      regionMiddle(
        centredRegion(subTileCentre(location, cells, region, stage2), subTile),
      ))
  );
  return { tiles, cells, regions, places };
}

function located<T>(
  map: MapSize,
  at: (location: { row: number; column: number }) => T,
): T[] {
  return Array.from(
    { length: map.rows * map.columns },
    (_, index) => at(locationAt(index, map.columns)),
  );
}
