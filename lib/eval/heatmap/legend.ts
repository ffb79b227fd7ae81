/**
 * The strip below a heat map: its colours, what was framed, and a scale bar.
 *
 * @module
 */
import type { Pixels } from "../../image/pyramid.ts";
import { BLACK, drawText, fillRectangle, textWidth, WHITE } from "./canvas.ts";
import { heatColour, type HeatScale } from "./colours.ts";
import type { HeatKind } from "./heatmap.ts";

/** What the strip says. */
export interface LegendFacts {
  kind: HeatKind;
  scale: HeatScale;
  /** Sub-tiles that are framed, of all. */
  framed: number;
  subTiles: number;
  /** Level-0 px per px of the picture. */
  downsample: number;
  /** Micrometres per level-0 px, if known. */
  mpp?: number | undefined;
}

// In dots, of which a line of text has about 400.
const COLUMNS = 400;
const HEIGHT = 36;
const MARGIN = 8;
const LINES = [7, 21] as const; // tops of the two lines
const BAR = { width: 90, height: 8 };

/** `pixels` with the strip below; a narrow picture loses its right end. */
export function withLegend(pixels: Pixels, facts: LegendFacts): Pixels {
  const { width, height } = pixels;
  const dot = Math.max(1, Math.floor(width / COLUMNS));
  const whole: Pixels = {
    data: new Uint8Array(width * (height + HEIGHT * dot) * 4).fill(255),
    width,
    height: height + HEIGHT * dot,
  };
  whole.data.set(pixels.data);
  drawColours(whole, { y: height + LINES[0] * dot, dot });
  const { scale: { low, high }, kind, framed, subTiles } = facts;
  drawText(
    whole,
    `${kind} per px: ${low.toExponential(1)} to ${high.toExponential(1)}`,
    {
      x: (MARGIN + BAR.width + 6) * dot,
      y: height + LINES[0] * dot,
      dot,
    },
  );
  drawText(whole, `framed: ${framed} heaviest of ${subTiles} sub-tiles`, {
    x: MARGIN * dot,
    y: height + LINES[1] * dot,
    dot,
  });
  drawScaleBar(whole, facts, { y: height, dot });
  return whole;
}

interface Place {
  y: number;
  dot: number;
}

function drawColours(pixels: Pixels, { y, dot }: Place): void {
  const width = BAR.width * dot;
  for (let i = 0; i < width; i++) {
    const column = {
      x: MARGIN * dot + i,
      y,
      width: 1,
      height: BAR.height * dot,
    };
    fillRectangle(pixels, column, heatColour(i / (width - 1)));
  }
}

/** A bar of a round length, at the right end of the strip. */
function drawScaleBar(
  pixels: Pixels,
  { downsample, mpp }: LegendFacts,
  { y, dot }: Place,
): void {
  const { length, label } = scaleBar(pixels.width * downsample / 5, mpp);
  const width = Math.round(length / downsample);
  const extent = Math.max(width, textWidth(label, dot));
  const x = pixels.width - MARGIN * dot - extent;
  const around = MARGIN / 2 * dot;
  fillRectangle(pixels, { // over a text that reaches here
    x: x - around,
    y,
    width: pixels.width - x + around,
    height: HEIGHT * dot,
  }, WHITE);
  fillRectangle(pixels, {
    x: x + extent - width,
    y: y + (LINES[0] + 4) * dot,
    width,
    height: 3 * dot,
  }, BLACK);
  const left = pixels.width - MARGIN * dot - textWidth(label, dot);
  drawText(pixels, label, { x: left, y: y + LINES[1] * dot, dot });
}

/**
 * The longest round length of at most `most` level-0 px, in px, with its label
 * in micrometres or millimetres, or in px if their size is unknown.
 */
export function scaleBar(
  most: number,
  mpp: number | undefined,
): { length: number; label: string } {
  const size = mpp ?? 1;
  const power = 10 ** Math.floor(Math.log10(most * size));
  const digit = [5, 2, 1].find((digit) => digit * power <= most * size) ?? 1;
  const value = digit * power;
  const shown = (number: number) => String(Number(number.toPrecision(3)));
  const label = mpp === undefined
    ? `${shown(value)} px`
    : value >= 1000
    ? `${shown(value / 1000)} mm`
    : `${shown(value)} µm`;
  return { length: value / size, label };
}
