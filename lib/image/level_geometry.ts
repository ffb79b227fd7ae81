/**
 * Positions of views and parts of an image on the levels of its pyramid, in
 * whole numbers, whatever the ratio between levels. Only this file and
 * geometry.ts multiply a coordinate by a scale.
 *
 * @module
 */
import { type Point, type Region, ROUNDING, type Size } from "./geometry.ts";

/** The level-0 pixel at `point` of a level. */
export function levelPoint({ x, y }: Point, downsample: number): Point {
  return { x: Math.round(x * downsample), y: Math.round(y * downsample) };
}

/** Level-0 px per px of a level on one axis, as a fraction of whole numbers. */
interface Ratio {
  pixels: number;
  per: number;
}

/**
 * Level-0 px per px of a level. A level whose extent is the image's over a whole
 * number, rounded either way, was made by that number; any other level is the
 * whole image at another size.
 */
function levelRatio(extent: number, levelExtent: number): Ratio {
  const whole = Math.round(extent / levelExtent);
  for (const times of [whole, whole - 1, whole + 1]) {
    if (times >= 1 && Math.abs(extent / times - levelExtent) < 1) {
      return { pixels: times, per: 1 };
    }
  }
  return { pixels: extent, per: levelExtent };
}

/** Level-0 px per px of a level, if a whole number on both axes. */
export function wholeRatio(image: Size, level: Size): number | undefined {
  const x = levelRatio(image.width, level.width);
  const y = levelRatio(image.height, level.height);
  return x.per === 1 && y.per === 1 && x.pixels === y.pixels
    ? x.pixels
    : undefined;
}

/**
 * `region` of a level, relative to the level-0 point `origin`, in coordinates
 * of the whole level.
 */
export function movedRegion(
  region: Region,
  origin: Point,
  ratio: number,
): Region {
  return {
    ...region,
    x: region.x + origin.x / ratio,
    y: region.y + origin.y / ratio,
  };
}

/**
 * The part of an image that remains if the grid of stage I starts at `share` (0
 * to 1) of its first cell, in steps that are whole pixels of every level that
 * stage I may read. An image of few cells is shifted less, one with levels of
 * odd ratios not at all.
 */
export function placedPart(
  image: Size & { levels: readonly (Size & { downsample: number })[] },
  { scale, stride }: { scale: number; stride: number },
  share: Point,
): Region {
  const ratios = image.levels
    .filter(({ downsample }) => downsample * scale <= 1 + ROUNDING)
    .map((level) => wholeRatio(image, level));
  if (ratios.includes(undefined)) {
    return { x: 0, y: 0, width: image.width, height: image.height };
  }
  const step = (ratios as number[])
    .reduce((step, ratio) => step / divisor(step, ratio) * ratio);
  const axis = (extent: number, share: number) => {
    const most = Math.floor(Math.min(stride, extent / 8) / step);
    if (!(most > 0)) return { start: 0, extent };
    const steps = Math.min(most, Math.floor(share * (most + 1)));
    return { start: steps * step, extent: extent - most * step };
  };
  const x = axis(image.width, share.x), y = axis(image.height, share.y);
  return { x: x.start, y: y.start, width: x.extent, height: y.extent };
}

/** Px of a level that the image covers, the last ones perhaps partly. */
export function coveredSize(image: Size, level: Size): Size {
  const covered = (extent: number, { pixels, per }: Ratio) =>
    Math.ceil(extent * per / pixels);
  return {
    width: covered(image.width, levelRatio(image.width, level.width)),
    height: covered(image.height, levelRatio(image.height, level.height)),
  };
}

/**
 * Index of the coarsest of `levels` that is at least as fine as a view; 0 if
 * none is.
 */
export function levelFor(
  image: Size,
  levels: readonly Size[],
  { region: size, output }: Pick<ViewPart, "region" | "output">,
): number {
  const isFine = (from: number, to: number, ratio: Ratio) =>
    ratio.pixels * to <= from * ratio.per;
  return Math.max(
    0,
    levels.findLastIndex((level) =>
      isFine(size.width, output.width, levelRatio(image.width, level.width)) &&
      isFine(size.height, output.height, levelRatio(image.height, level.height))
    ),
  );
}

/**
 * Levels of a deep zoom of an image, as of Deep Zoom (DZI): the last one is the
 * image, each before it half of the next, and level 0 is one pixel.
 */
export function zoomLevels({ width, height }: Size): number {
  return Math.ceil(Math.log2(Math.max(width, height))) + 1;
}

/** Size of a level of a deep zoom, px. */
export function zoomLevelSize(image: Size, level: number): Size {
  const times = zoomRatio(image, level);
  return {
    width: Math.ceil(image.width / times),
    height: Math.ceil(image.height / times),
  };
}

/** Level-0 px per px of a level of a deep zoom: a power of 2. */
function zoomRatio(image: Size, level: number): number {
  return 2 ** (zoomLevels(image) - 1 - level);
}

/**
 * The view of a tile of a deep zoom; undefined if there is no such tile. The
 * last tiles of a level are as small as what remains.
 *
 * @param side of a whole tile, px.
 */
export function zoomTile(
  image: Size,
  { level, column, row }: { level: number; column: number; row: number },
  side: number,
): ViewPart | undefined {
  if (level < 0 || level >= zoomLevels(image)) return undefined;
  const size = zoomLevelSize(image, level), times = zoomRatio(image, level);
  const x = column * side, y = row * side;
  if (x < 0 || y < 0 || x >= size.width || y >= size.height) return undefined;
  const output = {
    width: Math.min(side, size.width - x),
    height: Math.min(side, size.height - y),
  };
  return {
    region: {
      x: x * times,
      y: y * times,
      width: output.width * times,
      height: output.height * times,
    },
    output,
    part: { x: 0, y: 0, ...output },
  };
}

/** Some pixels of a view. */
export interface ViewPart {
  /** Region that the whole view shows, level-0 px. */
  region: Region;
  /** Size of the whole view. */
  output: Size;
  /** The part of the view, px of the view. */
  part: Region;
}

/**
 * Cuts `part` of a view into rows of pieces, each of which covers at most about
 * `most` px of `level`.
 */
export function viewPieces(
  { region, output, part }: ViewPart,
  level: Size,
  { image, most }: { image: Size; most: number },
): Region[][] {
  const perPixel = (region.width / output.width) *
    (region.height / output.height) *
    (level.width / image.width) * (level.height / image.height);
  const pixels = most / perPixel; // of the view
  if (part.width * part.height <= pixels) return [[part]];
  const side = Math.max(1, Math.floor(Math.sqrt(pixels)));
  const rows: Region[][] = [];
  for (let y = 0; y < part.height; y += side) {
    const row: Region[] = [];
    for (let x = 0; x < part.width; x += side) {
      row.push({
        x: part.x + x,
        y: part.y + y,
        width: Math.min(side, part.width - x),
        height: Math.min(side, part.height - y),
      });
    }
    rows.push(row);
  }
  return rows;
}

/** Position on a level of the pixels of a part of a view. */
export interface LevelPart {
  /** Area that they cover, px of the level; it may reach outside. */
  region: Region;
  /** Offset of the first one within the region, in 1/output px. */
  phase: Point;
  /**
   * End of the image, from the region's start, in 1/output px; beyond the
   * region if the image does not end in it.
   */
  end: Point;
  /** The level has size / output px for each of the view's, >= 1. */
  size: Size;
  output: Size;
}

// Twice this must fit in 32 bits: downsample() computes in 32 bits.
const MAX_UNITS = 2 ** 31 - 1;

// An end beyond every part.
const NO_END = 2 ** 32 - 1;

/**
 * Position on `level` of `part` (px of the view) of a view of `region` with
 * `output` px: exact to the fraction of a pixel, whatever the ratio between
 * levels.
 */
export function levelPart(
  { region, output, part }: ViewPart,
  image: Size,
  level: Size,
): LevelPart {
  const x = levelAxis(
    { start: region.x, extent: region.width, count: output.width },
    { first: part.x, count: part.width },
    { image: image.width, level: level.width },
  );
  const y = levelAxis(
    { start: region.y, extent: region.height, count: output.height },
    { first: part.y, count: part.height },
    { image: image.height, level: level.height },
  );
  return {
    region: { x: x.first, y: y.first, width: x.length, height: y.length },
    phase: { x: x.phase, y: y.phase },
    end: { x: x.end, y: y.end },
    size: { width: x.size, height: y.size },
    output: { width: x.output, height: y.output },
  };
}

/** One axis of {@linkcode levelPart}. */
function levelAxis(
  view: { start: number; extent: number; count: number },
  part: { first: number; count: number },
  extent: { image: number; level: number },
) {
  const { pixels, per } = levelRatio(extent.image, extent.level);
  // Pixel i of the view begins at (start count + i extent) per / (count pixels) px
  // of the level; all of these are whole numbers below 2^53.
  const unit = view.count * pixels;
  const begin = (view.start * view.count + part.first * view.extent) * per;
  const step = view.extent * per;
  const first = Math.floor(begin / unit);
  const rest = begin - first * unit;
  // End of the image; irrelevant to a part that does not reach it.
  const left = extent.image * view.count * per - first * unit;
  const endsWithin = left < rest + part.count * step;
  const limit = endsWithin ? Math.max(left, 0) : 0;
  const shared = divisor(divisor(divisor(step, unit), rest), limit);
  let [size, output, phase] = [step / shared, unit / shared, rest / shared];
  const most = Math.floor(MAX_UNITS / (part.count + 2));
  if (size > most) { // rounded to less than 1/1000 px of the level
    output = Math.floor(output / size * most);
    phase = Math.round(rest / unit * output);
    size = most;
  }
  const last = Math.ceil((begin + part.count * step) / unit);
  return {
    first,
    length: last - first,
    phase,
    size,
    output,
    end: endsWithin ? Math.round(limit / unit * output) : NO_END,
  };
}

/** Greatest common divisor of two finite whole numbers, the first above 0. */
function divisor(a: number, b: number): number {
  while (b !== 0) [a, b] = [b, a % b];
  return a;
}
