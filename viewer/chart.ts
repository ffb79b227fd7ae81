/**
 * Small line charts.
 *
 * @module
 */
import { element, svg } from "./dom.ts";

/** A line: values by epoch; null leaves a gap. */
export interface Line {
  name: string;
  values: readonly (number | null)[];
}

const WIDTH = 360, HEIGHT = 120, LEFT = 40, BOTTOM = 16, TOP = 8, RIGHT = 8;

/** A chart of lines over the epochs, from 1 on. */
export function lineChart(title: string, lines: readonly Line[]): HTMLElement {
  const numbers = lines.flatMap(({ values }) => values)
    .filter((value) => value !== null);
  const epochs = Math.max(...lines.map(({ values }) => values.length));
  const low = Math.min(...numbers), high = Math.max(...numbers);
  const range = high - low || 1;
  const x = (i: number) =>
    LEFT + (WIDTH - LEFT - RIGHT) * (epochs > 1 ? i / (epochs - 1) : 0.5);
  const y = (value: number) =>
    TOP + (HEIGHT - TOP - BOTTOM) * (1 - (value - low) / range);
  const paths = lines.map(({ values }, i) =>
    svg("path", { class: `line line-${i}`, d: pathOf(values, x, y) })
  );
  const last = lines.map(({ name, values }) => {
    const value = values.findLast((value) => value !== null);
    return `${name} ${value === undefined ? "?" : text(value)}`;
  });
  const label = (value: string, at: Record<string, string | number>) =>
    svg("text", at, value);
  return element(
    "figure",
    { class: "chart" },
    element(
      "figcaption",
      {},
      title,
      ...last.map((words, i) =>
        element("span", { class: `key key-${i}` }, words)
      ),
    ),
    svg(
      "svg",
      {
        viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
        role: "img",
        "aria-label": `${title} over ${epochs} epochs: ${last.join(", ")}`,
      },
      svg("path", {
        class: "axis",
        d: `M${LEFT} ${TOP}V${HEIGHT - BOTTOM}H${WIDTH - RIGHT}`,
      }),
      label(text(high), { x: LEFT - 4, y: TOP + 4, "text-anchor": "end" }),
      label(text(low), {
        x: LEFT - 4,
        y: HEIGHT - BOTTOM,
        "text-anchor": "end",
      }),
      label("1", { x: LEFT, y: HEIGHT - 3 }),
      label(`epoch ${epochs}`, {
        x: WIDTH - RIGHT,
        y: HEIGHT - 3,
        "text-anchor": "end",
      }),
      ...paths,
    ),
  );
}

function pathOf(
  values: Line["values"],
  x: (i: number) => number,
  y: (value: number) => number,
): string {
  let pen = "M";
  return values.map((value, i) => {
    if (value === null) {
      pen = "M";
      return "";
    }
    const step = `${pen}${x(i).toFixed(1)} ${y(value).toFixed(1)}`;
    pen = "L";
    return values.length === 1 ? `${step}h1` : step;
  }).join("");
}

function text(value: number): string {
  return Number(value.toPrecision(3)).toString();
}
