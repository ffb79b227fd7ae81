/**
 * Rectangles and letters drawn into pixels. By hand: image-js 1.7 draws letters only
 * by skia-canvas, which is native code, and brings 29 MB for the rest of these
 * hundred lines.
 *
 * @module
 */
import type { Region } from "../../image/geometry.ts";
import type { Pixels } from "../../image/pyramid.ts";

/** A colour, each channel in [0, 255]. */
export type Colour = readonly [red: number, green: number, blue: number];

export const BLACK: Colour = [0, 0, 0];
export const WHITE: Colour = [255, 255, 255];

/** Fills a rectangle of whole pixels; its part outside the picture is not. */
export function fillRectangle(
  { data, width, height }: Pixels,
  { x, y, ...size }: Region,
  colour: Colour,
): void {
  const left = Math.max(0, x), right = Math.min(width, x + size.width);
  const bottom = Math.min(height, y + size.height);
  for (let row = Math.max(0, y); row < bottom; row++) {
    for (let column = left; column < right; column++) {
      data.set(colour, (row * width + column) * 4);
    }
  }
}

/** Draws a frame of `thickness` px around a rectangle, just outside of it. */
export function drawFrame(
  pixels: Pixels,
  { x, y, width, height }: Region,
  { colour, thickness }: { colour: Colour; thickness: number },
): void {
  const across = width + 2 * thickness;
  const sides: Region[] = [
    { x: x - thickness, y: y - thickness, width: across, height: thickness },
    { x: x - thickness, y: y + height, width: across, height: thickness },
    { x: x - thickness, y, width: thickness, height },
    { x: x + width, y, width: thickness, height },
  ];
  for (const side of sides) fillRectangle(pixels, side, colour);
}

// Letters of 5 x 7 dots, as character displays have them: a number a column,
// whose lowest bit is the top row; the eighth is below the line.
const LETTERS: Record<string, readonly number[]> = {
  "%": [35, 19, 8, 100, 98],
  ",": [0, 128, 112, 48, 0],
  "-": [8, 8, 8, 8, 8],
  ".": [0, 0, 96, 96, 0],
  "0": [62, 81, 73, 69, 62],
  "1": [0, 66, 127, 64, 0],
  "2": [114, 73, 73, 73, 70],
  "3": [33, 65, 73, 77, 51],
  "4": [24, 20, 18, 127, 16],
  "5": [39, 69, 69, 69, 57],
  "6": [60, 74, 73, 73, 49],
  "7": [65, 33, 17, 9, 7],
  "8": [54, 73, 73, 73, 54],
  "9": [70, 73, 73, 41, 30],
  ":": [0, 0, 20, 0, 0],
  a: [32, 84, 84, 120, 64],
  b: [127, 40, 68, 68, 56],
  c: [56, 68, 68, 68, 40],
  d: [56, 68, 68, 40, 127],
  e: [56, 84, 84, 84, 24],
  f: [0, 8, 126, 9, 2],
  g: [24, 164, 164, 156, 120],
  h: [127, 8, 4, 4, 120],
  i: [0, 68, 125, 64, 0],
  k: [127, 16, 40, 68, 0],
  l: [0, 65, 127, 64, 0],
  m: [124, 4, 120, 4, 120],
  n: [124, 8, 4, 4, 120],
  o: [56, 68, 68, 68, 56],
  p: [252, 24, 36, 36, 24],
  r: [124, 8, 4, 4, 8],
  s: [72, 84, 84, 84, 36],
  t: [4, 4, 63, 68, 36],
  u: [60, 64, 64, 32, 124],
  v: [28, 32, 64, 32, 28],
  w: [60, 64, 48, 64, 60],
  x: [68, 40, 16, 40, 68],
  y: [76, 144, 144, 144, 124],
  z: [68, 100, 84, 76, 68],
  "µ": [252, 64, 64, 32, 124],
};

const ADVANCE = 6; // dots from one letter to the next

/** Width of a text whose dots are `dot` px wide, px. */
export function textWidth(text: string, dot: number): number {
  return (text.length * ADVANCE - 1) * dot;
}

/**
 * Draws small letters, digits and a few signs; others are left blank.
 *
 * @param place.dot width and height of a dot, px.
 */
export function drawText(
  pixels: Pixels,
  text: string,
  { x, y, dot }: { x: number; y: number; dot: number },
): void {
  for (const [i, letter] of [...text].entries()) {
    for (const [column, bits] of (LETTERS[letter] ?? []).entries()) {
      for (let row = 0; row < 8; row++) {
        if ((bits >> row & 1) === 0) continue;
        const left = x + (i * ADVANCE + column) * dot;
        const square = { x: left, y: y + row * dot, width: dot, height: dot };
        fillRectangle(pixels, square, BLACK);
      }
    }
  }
}
