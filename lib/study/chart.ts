/**
 * Line charts as SVG, small enough to stand in a report.
 *
 * @module
 */
// @ts-types="@types/d3-array"
import { ticks } from "d3-array";

/** Corner of the plot where the lines are named. */
export type LegendCorner = "top left" | "top right" | "bottom right";

/** A line, or points if `dots` is set; in the units of the axes. */
export interface Series {
  name: string;
  points: readonly (readonly [x: number, y: number])[];
  dots?: boolean;
  /** Drawn thin and grey, and not named: a reference. */
  reference?: boolean;
}

/** An axis from `low` to `high`. */
export interface Axis {
  label: string;
  low: number;
  high: number;
}

const WIDTH = 480, HEIGHT = 320; // px
const PLOT = { left: 52, top: 28, right: WIDTH - 12, bottom: HEIGHT - 40 };
const LEGEND_LINE = 14; // px
const TICKS = 5; // about: they stand at round numbers
// Okabe & Ito: distinguishable with every kind of colour vision.
const COLOURS = [
  "#0072b2",
  "#d55e00",
  "#009e73",
  "#cc79a7",
  "#e69f00",
  "#56b4e9",
  "#000000",
];
const REFERENCE_COLOUR = "#999999";

/**
 * An SVG file of `series` over two axes. Its parts have classes (`ground`,
 * `grid`, `words`, `line-0`...), so that a page may colour them.
 *
 * @param options.hover show the values of a point under the pointer.
 */
export function lineChart(
  title: string,
  { x, y, series, legend: corner = "top left", hover = false }: {
    x: Axis;
    y: Axis;
    series: readonly Series[];
    legend?: LegendCorner;
    hover?: boolean;
  },
): string {
  const atX = scaleTo(x, PLOT.left, PLOT.right);
  const atY = scaleTo(y, PLOT.bottom, PLOT.top);
  const named = series.filter(({ reference }) => !reference);
  const styleOf = (line: Series): LineStyle => {
    if (line.reference) return { colour: REFERENCE_COLOUR, name: "reference" };
    const index = named.indexOf(line) % COLOURS.length;
    return { colour: COLOURS[index]!, name: `line-${index}` };
  };
  const shapes = series.map((line) => shape(line, styleOf(line), atX, atY));
  const [side, left] = corner.split(" ");
  const legendX = left === "left" ? PLOT.left + 8 : PLOT.right - 8;
  const legendY = side === "top"
    ? PLOT.top + 14
    : PLOT.bottom - 8 - (named.length - 1) * LEGEND_LINE;
  const legend = named.map((line, i) => {
    const { colour, name } = styleOf(line);
    return text(legendX, legendY + i * LEGEND_LINE, line.name, {
      anchor: left === "left" ? "start" : "end",
      fill: colour,
      name,
    });
  });
  const spots = hover
    ? named.flatMap((line) =>
      everyFew(line.points).map(([x1, y1]) =>
        `<circle cx="${px(atX(x1))}" cy="${
          px(atY(y1))
        }" r="6" fill="transparent"><title>${
          escaped(`${line.name}: ${x.label} ${short(x1)}, ${short(y1)}`)
        }</title></circle>`
      )
    )
    : [];
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="11">`,
    `<rect class="ground" width="${WIDTH}" height="${HEIGHT}" fill="white"/>`,
    text(WIDTH / 2, 16, title, { anchor: "middle" }),
    ...ticks(x.low, x.high, TICKS).flatMap((value) => [
      gridLine(atX(value), PLOT.top, atX(value), PLOT.bottom),
      text(atX(value), PLOT.bottom + 14, String(value), {
        anchor: "middle",
      }),
    ]),
    ...ticks(y.low, y.high, TICKS).flatMap((value) => [
      gridLine(PLOT.left, atY(value), PLOT.right, atY(value)),
      text(PLOT.left - 6, atY(value) + 4, String(value), { anchor: "end" }),
    ]),
    text((PLOT.left + PLOT.right) / 2, HEIGHT - 8, x.label, {
      anchor: "middle",
    }),
    `<g transform="rotate(-90 12 ${HEIGHT / 2})">${
      text(12, HEIGHT / 2, y.label, { anchor: "middle" })
    }</g>`,
    ...shapes,
    ...legend,
    ...spots,
    "</svg>",
    "",
  ].join("\n");
}

/** The colour of a line, and the class that a page may colour it by. */
interface LineStyle {
  colour: string;
  name: string;
}

const MAX_SPOTS = 100; // a line: a curve of thousands of images stays small

function everyFew<Point>(points: readonly Point[]): Point[] {
  const step = Math.ceil(points.length / MAX_SPOTS);
  return points.filter((_, i) => i % step === 0);
}

function short(value: number): string {
  return String(Number(value.toPrecision(4)));
}

function scaleTo({ low, high }: Axis, from: number, to: number) {
  const span = high - low || 1;
  return (value: number) => from + (value - low) / span * (to - from);
}

function gridLine(x1: number, y1: number, x2: number, y2: number): string {
  return `<line class="grid" x1="${px(x1)}" y1="${px(y1)}" x2="${px(x2)}" y2="${
    px(y2)
  }" stroke="#e5e5e5"/>`;
}

function shape(
  { points, dots, reference }: Series,
  { colour, name }: LineStyle,
  atX: (x: number) => number,
  atY: (y: number) => number,
): string {
  const line = `<polyline class="${name}" points="${
    points.map(([x, y]) => `${px(atX(x))},${px(atY(y))}`).join(" ")
  }" fill="none" stroke="${colour}" stroke-width="${reference ? 1 : 1.6}"/>`;
  if (!dots) return line;
  return line +
    points.map(([x, y]) =>
      `<circle class="${name}" cx="${px(atX(x))}" cy="${
        px(atY(y))
      }" r="3" fill="${colour}"/>`
    ).join("");
}

function text(
  x: number,
  y: number,
  content: string,
  { anchor = "start", fill = "#222", name = "words" } = {},
): string {
  return `<text class="${name}" x="${px(x)}" y="${
    px(y)
  }" text-anchor="${anchor}" fill="${fill}">${escaped(content)}</text>`;
}

function escaped(content: string): string {
  return content.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

function px(value: number): string {
  return String(Math.round(value * 10) / 10);
}
