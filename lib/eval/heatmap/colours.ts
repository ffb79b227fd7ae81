/**
 * A heat map as a picture: its colours over the image, and their scale.
 *
 * @module
 */
import { crc32 } from "node:zlib";
import {
  cellEdge,
  type Region,
  rescaledRegion,
  type Size,
} from "../../image/geometry.ts";
import type { Pixels } from "../../image/pyramid.ts";
import { quantile } from "../bootstrap.ts";
import { BLACK, type Colour, drawFrame } from "./canvas.ts";
import type { HeatKind, Heatmap } from "./heatmap.ts";
import { VIRIDIS } from "./viridis.ts";

/**
 * The scale of the colours: linear between two percentiles of the heat map,
 * clipped outside them. It belongs in every file that shows the colours.
 */
export interface HeatScale {
  kind: "percentile";
  lowPercentile: number;
  highPercentile: number;
  /** Mass per level-0 px at the start of the colour map. */
  low: number;
  /** Mass per level-0 px at its end. */
  high: number;
}

/** A picture of a heat map, and its scale. */
export interface RenderedHeatmap {
  pixels: Pixels;
  scale: HeatScale;
  /** Sub-tiles that are framed. */
  framed: number;
}

const LOW_PERCENTILE = 1;
const HIGH_PERCENTILE = 99.5; // objects are tiny: 1 % of the image is a lot
// Less contrast than this is rounding of float32, and is shown as none.
const MIN_CONTRAST = 1e-5;
const MAX_OPACITY = 0.7; // of the hottest colour: the tissue stays visible

// Thickness of the frame of the heaviest sub-tile, share of the picture's side.
const MAX_FRAME = 1 / 256;
// Sub-tiles of less than this share of the largest weight are not framed: their
// frames would hide the others.
const MIN_FRAME_SHARE = 1 / 4;

/**
 * The scale that shows `heat` best: from its 1st to its 99.5th percentile, or
 * to its largest value if nearly all of it is flat.
 */
export function heatScale(heat: Heatmap): HeatScale {
  const sorted = heat.values.toSorted();
  const low = quantile(sorted, LOW_PERCENTILE / 100);
  const high = quantile(sorted, HIGH_PERCENTILE / 100);
  return isFlat(low, high)
    ? scaleTo(low, sorted[sorted.length - 1]!, 100)
    : scaleTo(low, high, HIGH_PERCENTILE);
}

function scaleTo(low: number, high: number, highPercentile: number): HeatScale {
  const lowPercentile = LOW_PERCENTILE;
  return { kind: "percentile", lowPercentile, highPercentile, low, high };
}

function isFlat(low: number, high: number): boolean {
  return high - low <= MIN_CONTRAST * high;
}

/** The scale in words, for the file that shows it. */
export function describeScale(
  scale: HeatScale,
  kind: HeatKind = "attention",
): string {
  const { low, high, lowPercentile, highPercentile } = scale;
  return `Colour (viridis) is linear in ${kind} mass per level-0 px, opacity in its root, from ${
    low.toExponential(3)
  } (percentile ${lowPercentile}) to ${
    high.toExponential(3)
  } (percentile ${highPercentile}) of this image`;
}

/**
 * Lays the heat over a picture of the image and frames the heaviest of the
 * sub-tiles that were read at full resolution: the heavier, the thicker and
 * brighter. The hotter a pixel, the more opaque its colour.
 *
 * @param background the whole image, at any resolution.
 * @param subTiles level-0 px.
 * @param size of the picture; that of the heat map if omitted.
 */
export function renderHeatmap(
  heat: Heatmap,
  background: Pixels,
  subTiles: readonly WeighedRegion[],
  size: Size = heat,
): RenderedHeatmap {
  const scale = heatScale(heat);
  const pixels = resized(background, size);
  const range = isFlat(scale.low, scale.high) ? 0 : scale.high - scale.low;
  if (range > 0) {
    forEachValue(heat, pixels, (value, at) => {
      blend(pixels.data, at, clamp01((value - scale.low) / range));
    });
  }
  const largest = Math.max(...subTiles.map(({ weight }) => weight));
  const framed = subTiles
    .filter(({ weight }) => weight >= MIN_FRAME_SHARE * largest)
    .sort((a, b) => a.weight - b.weight); // the heaviest on top
  for (const { weight, ...region } of framed) {
    const share = largest > 0 ? weight / largest : 1;
    frameSubTile(pixels, rescaledRegion(region, heat.image, pixels), share);
  }
  return { pixels, scale, framed: framed.length };
}

/** A region and its weight. */
type WeighedRegion = Region & { weight: number };

/** Calls `use` with the value at each pixel and the pixel's first byte. */
function forEachValue(
  { values, width, height }: Heatmap,
  pixels: Size,
  use: (value: number, at: number) => void,
): void {
  const columns = neighbours(width, pixels.width);
  const rows = neighbours(height, pixels.height);
  let at = 0;
  for (const { below: top, share: down } of rows) {
    const first = top * width, second = Math.min(top + 1, height - 1) * width;
    for (const { below: left, share } of columns) {
      const right = Math.min(left + 1, width - 1);
      const upper = values[first + left]! * (1 - share) +
        values[first + right]! * share;
      const lower = values[second + left]! * (1 - share) +
        values[second + right]! * share;
      use(upper * (1 - down) + lower * down, at);
      at += 4;
    }
  }
}

/** For the centre of each of `count` pixels, the value before it of `extent`. */
function neighbours(
  extent: number,
  count: number,
): { below: number; share: number }[] {
  return Array.from({ length: count }, (_, i) => {
    const place = (i + 0.5) / count * extent - 0.5;
    const within = Math.min(Math.max(place, 0), extent - 1);
    const below = Math.floor(within);
    return { below, share: within - below };
  });
}

/**
 * A PNG file with `text` under `keyword`, as a tEXt chunk right after the
 * header (PNG specification, third edition, section 11.3.3.2).
 *
 * @param keyword 1 to 79 characters, for example "Comment".
 * @param text Latin-1; a character outside it becomes "?".
 */
export function withPngText(
  png: Uint8Array,
  keyword: string,
  text: string,
): Uint8Array<ArrayBuffer> {
  const body = latin1(`tEXt${keyword}\0${text}`);
  const chunk = new Uint8Array(4 + body.length + 4); // length, body, CRC
  const view = new DataView(chunk.buffer);
  view.setUint32(0, body.length - 4); // the type is not counted
  chunk.set(body, 4);
  view.setUint32(4 + body.length, crc32(body));

  const header = 8 + 4 + 4 + 13 + 4; // signature, IHDR with length, type and CRC
  const out = new Uint8Array(png.length + chunk.length);
  out.set(png.subarray(0, header));
  out.set(chunk, header);
  out.set(png.subarray(header), header + chunk.length);
  return out;
}

function latin1(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => {
    const code = character.codePointAt(0)!;
    return code < 256 ? code : "?".charCodeAt(0);
  });
}

/** `source` at another size: each pixel the mean of the pixels it touches. */
function resized(source: Pixels, { width, height }: Size): Pixels {
  if (source.width === width && source.height === height) {
    return { data: source.data.slice(), width, height };
  }
  const data = new Uint8Array(width * height * 4);
  const columns = touched(width, source.width);
  for (const [row, [top, bottom]] of touched(height, source.height).entries()) {
    for (const [column, [left, right]] of columns.entries()) {
      const out = (row * width + column) * 4;
      const count = (bottom - top) * (right - left);
      for (let c = 0; c < 4; c++) {
        let sum = 0;
        for (let y = top; y < bottom; y++) {
          for (let x = left; x < right; x++) {
            sum += source.data[(y * source.width + x) * 4 + c]!;
          }
        }
        data[out + c] = Math.round(sum / count);
      }
    }
  }
  return { data, width, height };
}

/** First and last + 1 pixel of `extent` that each of `count` cells touches. */
function touched(count: number, extent: number): [number, number][] {
  return Array.from({ length: count }, (_, i) => [
    Math.floor(cellEdge(i, count, extent)),
    Math.ceil(cellEdge(i + 1, count, extent)),
  ]);
}

/** The colour of an intensity in [0, 1], whole numbers. */
export function heatColour(intensity: number): Colour {
  const [red, green, blue] = viridis(intensity);
  return [Math.round(red), Math.round(green), Math.round(blue)];
}

function viridis(intensity: number): Colour {
  const place = intensity * (VIRIDIS.length - 1);
  const below = Math.min(Math.floor(place), VIRIDIS.length - 2);
  const from = VIRIDIS[below]!, to = VIRIDIS[below + 1]!;
  const mixed = (c: 0 | 1 | 2) => from[c] + (place - below) * (to[c] - from[c]);
  return [mixed(0), mixed(1), mixed(2)];
}

/** Mixes the colour of `intensity` into the pixel at byte `at`. */
function blend(data: Uint8Array, at: number, intensity: number): void {
  const colour = viridis(intensity);
  // Attention is peaked: linear opacity would show its few peaks alone.
  const opacity = MAX_OPACITY * Math.sqrt(intensity);
  for (let c = 0; c < 3; c++) {
    data[at + c] = Math.round(
      data[at + c]! + opacity * (colour[c]! - data[at + c]!),
    );
  }
}

/**
 * Frames a region, which may be smaller than a pixel, within a black line that
 * shows on any background.
 */
function frameSubTile(pixels: Pixels, region: Region, share: number): void {
  const left = Math.floor(region.x), top = Math.floor(region.y);
  const whole = {
    x: left,
    y: top,
    width: Math.ceil(region.x + region.width) - left,
    height: Math.ceil(region.y + region.height) - top,
  };
  const most = Math.max(pixels.width, pixels.height) * MAX_FRAME;
  const thickness = Math.max(1, Math.round(most * share));
  const outline = Math.max(1, Math.round(most / 4));
  const colour = heatColour(share);
  const black = { colour: BLACK, thickness: thickness + outline };
  drawFrame(pixels, whole, black);
  drawFrame(pixels, whole, { colour, thickness });
}

function clamp01(value: number): number {
  return Math.min(Math.max(value, 0), 1);
}
