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
}

const LOW_PERCENTILE = 1;
const HIGH_PERCENTILE = 99.5; // objects are tiny: 1 % of the image is a lot
// Less contrast than this is rounding of float32, and is shown as none.
const MIN_CONTRAST = 1e-5;
const MAX_OPACITY = 0.7; // of the hottest colour: the tissue stays visible

// A white line within a black one shows on any background.
const OUTLINE_LIGHT = [255, 255, 255] as const;
const OUTLINE_DARK = [0, 0, 0] as const;

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
 * Lays the heat over a picture of the image and outlines the sub-tiles that
 * were read at full resolution. The hotter, the more opaque.
 *
 * @param background the whole image, at any resolution.
 * @param subTiles level-0 px.
 */
export function renderHeatmap(
  heat: Heatmap,
  background: Pixels,
  subTiles: readonly Region[],
): RenderedHeatmap {
  const scale = heatScale(heat);
  const pixels = resized(background, heat);
  const range = isFlat(scale.low, scale.high) ? 0 : scale.high - scale.low;
  heat.values.forEach((value, i) => {
    const intensity = range === 0 ? 0 : clamp01((value - scale.low) / range);
    blend(pixels.data, 4 * i, intensity);
  });
  for (const subTile of subTiles) {
    outlineSubTile(pixels, rescaledRegion(subTile, heat.image, heat));
  }
  return { pixels, scale };
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

/** Mixes the colour of `intensity` into the pixel at byte `at`. */
function blend(data: Uint8Array, at: number, intensity: number): void {
  const place = intensity * (VIRIDIS.length - 1);
  const below = Math.min(Math.floor(place), VIRIDIS.length - 2);
  // Attention is peaked: linear opacity would show its few peaks alone.
  const opacity = MAX_OPACITY * Math.sqrt(intensity);
  for (let c = 0; c < 3; c++) {
    const from = VIRIDIS[below]![c]!, to = VIRIDIS[below + 1]![c]!;
    const colour = from + (place - below) * (to - from);
    data[at + c] = Math.round(
      data[at + c]! + opacity * (colour - data[at + c]!),
    );
  }
}

/** Draws a frame around `region`, which may be smaller than a pixel. */
function outlineSubTile(pixels: Pixels, region: Region): void {
  const left = Math.floor(region.x), top = Math.floor(region.y);
  const right = Math.ceil(region.x + region.width);
  const bottom = Math.ceil(region.y + region.height);
  for (
    const [margin, colour] of [
      [2, OUTLINE_DARK],
      [1, OUTLINE_LIGHT],
    ] as const
  ) {
    drawFrame(pixels, {
      x: left - margin,
      y: top - margin,
      width: right - left + 2 * margin,
      height: bottom - top + 2 * margin,
    }, colour);
  }
}

/** Colours the outermost pixels of `frame`; those outside the picture are not. */
function drawFrame(
  pixels: Pixels,
  frame: Region,
  colour: readonly [number, number, number],
): void {
  const right = frame.x + frame.width - 1, bottom = frame.y + frame.height - 1;
  for (let x = frame.x; x <= right; x++) {
    setPixel(pixels, x, frame.y, colour);
    setPixel(pixels, x, bottom, colour);
  }
  for (let y = frame.y; y <= bottom; y++) {
    setPixel(pixels, frame.x, y, colour);
    setPixel(pixels, right, y, colour);
  }
}

function setPixel(
  { data, width, height }: Pixels,
  x: number,
  y: number,
  colour: readonly [number, number, number],
): void {
  if (x < 0 || y < 0 || x >= width || y >= height) return;
  data.set(colour, (y * width + x) * 4);
}

function clamp01(value: number): number {
  return Math.min(Math.max(value, 0), 1);
}
