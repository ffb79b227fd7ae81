/**
 * Every conversion between locations, views and pixels, as pure functions; the
 * levels of a pyramid are in level_geometry.ts. No other file multiplies a
 * coordinate by a scale.
 *
 * Source: Kong & Henao, CVPR 2022, section 2.1. Pixels are (x, y) of level 0;
 * locations are (row, column) of an attention map.
 *
 * @module
 */

/** Width and height, px. */
export interface Size {
  /** Width, px. */
  width: number;
  /** Height, px. */
  height: number;
}

/** A rectangle, px: of level 0 unless the signature names another level. */
export interface Region extends Size {
  /** Left edge, px. */
  x: number;
  /** Top edge, px. */
  y: number;
}

/** A pixel. */
export interface Point {
  /** Column, px. */
  x: number;
  /** Row, px. */
  y: number;
}

/** A cell of an attention map, counted from 0. */
export interface Location {
  row: number;
  column: number;
}

/** Rows and columns of an attention map. */
export interface MapSize {
  rows: number;
  columns: number;
}

/** A rectangle of locations of a map. */
export interface MapBlock extends Location, MapSize {}

// 100 * 0.29 is 28.999999999999996: without this, floor() would lose a pixel.
export const ROUNDING = 1e-9;

/** Extent of `extent` px at `scale`, px; at least 1. */
export function scaledExtent(extent: number, scale: number): number {
  return Math.max(1, Math.floor(extent * scale + ROUNDING));
}

/**
 * Size of the view V(x, s) of something of `size` at `scale` (section 2).
 *
 * @example
 * ```ts
 * viewSize({ width: 1600, height: 1200 }, 0.3); // 480 x 360
 * ```
 */
export function viewSize(size: Size, scale: number): Size {
  return {
    width: scaledExtent(size.width, scale),
    height: scaledExtent(size.height, scale),
  };
}

/**
 * Pixel of location `index` on an axis of `count` locations over `extent` px:
 * the first location is the first pixel, the last one the last pixel.
 *
 * @example
 * ```ts
 * [0, 1, 2].map((index) => locationToPixel(index, 3, 101)); // [0, 50, 100]
 * ```
 */
export function locationToPixel(
  index: number,
  count: number,
  extent: number,
): number {
  return count === 1 ? 0 : Math.floor((index * (extent - 1)) / (count - 1));
}

/**
 * Rows and columns of the stage I map. A stride of 1/s1 (or less) is the
 * paper's map, one location a view pixel; a larger one is a grid of cells.
 *
 * @example
 * ```ts
 * const image = { width: 1600, height: 1200 };
 * tileMapSize(image, { scale: 0.25, stride: 4 }); // 300 rows, 400 columns
 * tileMapSize(image, { scale: 0.25, stride: 100 }); // 12 rows, 16 columns
 * ```
 *
 * @param stride distance between locations, level-0 px.
 */
export function tileMapSize(
  image: Size,
  { scale, stride }: { scale: number; stride: number },
): MapSize {
  if (isDense(scale, stride)) {
    const view = viewSize(image, scale);
    return { rows: view.height, columns: view.width };
  }
  return {
    rows: Math.max(1, Math.floor(image.height / stride + ROUNDING)),
    columns: Math.max(1, Math.floor(image.width / stride + ROUNDING)),
  };
}

/** Stage I has one location per view pixel, as in the paper. */
export function isDense(scale: number, stride: number): boolean {
  return stride * scale <= 1 + ROUNDING;
}

/**
 * Cuts a map over a view into blocks of similar size, each of which covers,
 * with `halo` px around, about `pixels` px of the view; at least one location
 * each.
 */
export function mapBlocks(
  map: MapSize,
  view: Size,
  { pixels, halo }: { pixels: number; halo: number },
): MapBlock[] {
  const side = Math.max(1, Math.floor(Math.sqrt(pixels)) - 2 * halo);
  const rows = evenParts(map.rows, side * map.rows / view.height);
  const columns = evenParts(map.columns, side * map.columns / view.width);
  return rows.flatMap(([row, endRow]) =>
    columns.map(([column, endColumn]) => ({
      row,
      column,
      rows: endRow - row,
      columns: endColumn - column,
    }))
  );
}

/** Cuts [0, count) into even parts of at most `most`, but at least 1. */
function evenParts(count: number, most: number): [number, number][] {
  const parts = Math.ceil(count / Math.max(1, Math.floor(most + ROUNDING)));
  return Array.from({ length: parts }, (_, i) => [
    Math.floor(i * count / parts),
    Math.floor((i + 1) * count / parts),
  ]);
}

/** The px of a view that `block` of its map covers, with `halo` px around. */
export function blockPart(
  block: MapBlock,
  map: MapSize,
  { view, halo }: { view: Size; halo: number },
): Region {
  const x = Math.floor(cellEdge(block.column, map.columns, view.width)) - halo;
  const y = Math.floor(cellEdge(block.row, map.rows, view.height)) - halo;
  const right = block.column + block.columns, bottom = block.row + block.rows;
  return clipRegion({
    x,
    y,
    width: Math.ceil(cellEdge(right, map.columns, view.width)) + halo - x,
    height: Math.ceil(cellEdge(bottom, map.rows, view.height)) + halo - y,
  }, view);
}

/**
 * Share of each of `locations` px, starting with `start`, in each cell,
 * starting with `first`, of `count` equal ones over `extent` px: `[cells,
 * locations]`; a row sums to 1 if the px cover the cell.
 */
export function cellShares(
  { first, cells, count, extent }: Record<
    "first" | "cells" | "count" | "extent",
    number
  >,
  { start, locations }: { start: number; locations: number },
): Float32Array {
  const shares = new Float32Array(cells * locations);
  for (let cell = 0; cell < cells; cell++) {
    const from = cellEdge(first + cell, count, extent);
    const to = cellEdge(first + cell + 1, count, extent);
    for (let px = Math.floor(from); px < Math.min(to, extent); px++) {
      const overlap = Math.min(px + 1, to) - Math.max(px, from);
      shares[cell * locations + px - start] = overlap / (to - from);
    }
  }
  return shares;
}

/**
 * Centre of the tile at `location`. On the paper's map the first and last
 * locations are the first and last pixels; on a grid a location represents its
 * cell, so the tile is centred on the cell.
 */
export function tileCentre(
  location: Location,
  map: MapSize,
  image: Size,
  { scale, stride }: { scale: number; stride: number },
): Point {
  if (isDense(scale, stride)) {
    return {
      x: locationToPixel(location.column, map.columns, image.width),
      y: locationToPixel(location.row, map.rows, image.height),
    };
  }
  return {
    x: Math.floor(((location.column + 0.5) * image.width) / map.columns),
    y: Math.floor(((location.row + 0.5) * image.height) / map.rows),
  };
}

/** The region of `size` centred on `centre`; it may reach outside the image. */
export function centredRegion(centre: Point, size: Size): Region {
  return {
    x: centre.x - Math.floor(size.width / 2),
    y: centre.y - Math.floor(size.height / 2),
    ...size,
  };
}

/** The centre of a region that `centredRegion` made. */
export function regionCentre({ x, y, width, height }: Region): Point {
  return { x: x + Math.floor(width / 2), y: y + Math.floor(height / 2) };
}

/**
 * Centres of regions of `size` that hold `point`: the preimage of
 * `centredRegion`.
 */
export function centresHolding(point: Point, size: Size): Region {
  return {
    x: Math.floor(point.x) - size.width + 1 + Math.floor(size.width / 2),
    y: Math.floor(point.y) - size.height + 1 + Math.floor(size.height / 2),
    ...size,
  };
}

/** The middle of `region`; of a region of 0 px, its corner. May be a half. */
export function regionMiddle(region: Region): Point {
  return {
    x: region.x + region.width / 2,
    y: region.y + region.height / 2,
  };
}

/** `region` holds `point`: left and top edge included, others not. */
export function holdsPoint(region: Region, { x, y }: Point): boolean {
  return x >= region.x && x < region.x + region.width &&
    y >= region.y && y < region.y + region.height;
}

/** How the locations of a tile lie in it. */
export interface SubTileGrid {
  /** s2: scale of the tile's view. */
  scale: number;
  /** Distance between locations, level-0 px; null: one a px of the view. */
  stride: number | null;
}

/**
 * Rows and columns of the stage II map of a tile: the px of its view, as in the
 * paper, or a grid of cells.
 *
 * @example
 * ```ts
 * const tile = { width: 100, height: 100 };
 * subTileMapSize(tile, { scale: 0.2, stride: null }); // 20 rows, 20 columns
 * subTileMapSize(tile, { scale: 0.2, stride: 20 }); // 5 rows, 5 columns
 * ```
 */
export function subTileMapSize(
  tile: Size,
  { scale, stride }: SubTileGrid,
): MapSize {
  return tileMapSize(tile, { scale, stride: stride ?? 1 / scale });
}

/**
 * Centre of the sub-tile at `location` of a tile's map, level-0 px: from the
 * tile's first px to its last, or the middle of its cell, as `tileCentre`.
 */
export function subTileCentre(
  location: Location,
  map: MapSize,
  tile: Region,
  { scale, stride }: SubTileGrid = PAPER_GRID,
): Point {
  const { x, y } = tileCentre(location, map, tile, {
    scale,
    stride: stride ?? 1 / scale,
  });
  return { x: tile.x + x, y: tile.y + y };
}

/**
 * The part of a tile that `location` of its map stands for, level-0 px; its edges
 * may be fractions.
 */
export function subTileCell(
  { row, column }: Location,
  map: MapSize,
  tile: Region,
): Region {
  const x = cellEdge(column, map.columns, tile.width);
  const y = cellEdge(row, map.rows, tile.height);
  return {
    x: tile.x + x,
    y: tile.y + y,
    width: cellEdge(column + 1, map.columns, tile.width) - x,
    height: cellEdge(row + 1, map.rows, tile.height) - y,
  };
}

const PAPER_GRID: SubTileGrid = { scale: 1, stride: null };

/** The location at `index` of a row-major map. */
export function locationAt(index: number, columns: number): Location {
  return { row: Math.floor(index / columns), column: index % columns };
}

/**
 * Start of cell `index` of `count` equal cells over `extent` px (and end of
 * cell `index - 1`); may be a fraction. Cell i is the area that the i-th px of
 * a view of `count` px averages, and it holds pixel `locationToPixel(i, count,
 * extent)`.
 */
export function cellEdge(index: number, count: number, extent: number): number {
  return (index * extent) / count;
}

/**
 * Index of the cell that holds `pixel`, of `count` equal cells over `extent`
 * px.
 */
export function cellHolding(
  pixel: number,
  count: number,
  extent: number,
): number {
  return Math.floor((pixel * count) / extent);
}

/** `region` of a picture of size `from` in the same picture of size `to`. */
export function rescaledRegion(region: Region, from: Size, to: Size): Region {
  return {
    x: (region.x * to.width) / from.width,
    y: (region.y * to.height) / from.height,
    width: (region.width * to.width) / from.width,
    height: (region.height * to.height) / from.height,
  };
}

/** `size` at `scale`, rounded; at least 1 px. */
export function scaledSize({ width, height }: Size, scale: number): Size {
  return {
    width: Math.max(1, Math.round(width * scale)),
    height: Math.max(1, Math.round(height * scale)),
  };
}

/** `region` of an image of size `from` in the same image of size `to`, whole px. */
export function storedPixels(region: Region, from: Size, to: Size): Region {
  const { x, y, width, height } = rescaledRegion(region, from, to);
  return {
    x: Math.round(x),
    y: Math.round(y),
    width: Math.max(1, Math.round(width)),
    height: Math.max(1, Math.round(height)),
  };
}

/**
 * Size of `size` shrunk so that its longest side is at most `longest` px.
 *
 * @example
 * ```ts
 * boundedSize({ width: 4000, height: 1000 }, 1024); // 1024 x 256
 * ```
 */
export function boundedSize(size: Size, longest: number): Size {
  const downsample = Math.max(1, Math.max(size.width, size.height) / longest);
  return {
    width: Math.max(1, Math.round(size.width / downsample)),
    height: Math.max(1, Math.round(size.height / downsample)),
  };
}

/**
 * Share of each of `count` equal cells of a region's axis, from `start` on and
 * `extent` px long, that lies inside an image of `limit` px.
 */
export function insideShares(
  { start, extent, count }: { start: number; extent: number; count: number },
  limit: number,
): number[] {
  const shares: number[] = [];
  let from = start;
  for (let cell = 1; cell <= count; cell++) {
    const to = start + cellEdge(cell, count, extent);
    const inside = Math.min(to, limit) - Math.max(from, 0);
    shares.push(Math.max(0, inside) / (to - from));
    from = to;
  }
  return shares;
}

/** The part of `region` inside an image of `size`; may be empty (0 px). */
export function clipRegion(region: Region, size: Size): Region {
  const x = Math.min(Math.max(region.x, 0), size.width);
  const y = Math.min(Math.max(region.y, 0), size.height);
  const right = Math.min(Math.max(region.x + region.width, x), size.width);
  const bottom = Math.min(Math.max(region.y + region.height, y), size.height);
  return { x, y, width: right - x, height: bottom - y };
}

/** x' = a x + b y + c, y' = d x + e y + f, as [a, b, c, d, e, f]. */
export type AffineTransform = readonly [
  number,
  number,
  number,
  number,
  number,
  number,
];

/** The image of a point under `transform`. */
export function transformedPoint(
  { x, y }: Point,
  [a, b, c, d, e, f]: AffineTransform,
): Point {
  return { x: a * x + b * y + c, y: d * x + e * y + f };
}
