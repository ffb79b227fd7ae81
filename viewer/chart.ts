/**
 * Small line charts.
 *
 * @module
 */
import { element, say, svg } from "./dom.ts";
import type { Scores } from "./types.ts";

/** A line: values by epoch; null leaves a gap. */
export interface Line {
  name: string;
  values: readonly (number | null)[];
}

const WIDTH = 360, HEIGHT = 120, LEFT = 40, BOTTOM = 16, TOP = 8, RIGHT = 8;
const INNER_WIDTH = WIDTH - LEFT - RIGHT, INNER_HEIGHT = HEIGHT - TOP - BOTTOM;

/** A chart of lines over the epochs, from 1 on; the pointer reads them. */
export function lineChart(title: string, lines: readonly Line[]): HTMLElement {
  const numbers = lines.flatMap(({ values }) => values)
    .filter((value) => value !== null);
  const epochs = Math.max(...lines.map(({ values }) => values.length));
  const low = Math.min(...numbers), high = Math.max(...numbers);
  const range = high - low || 1;
  const x = (i: number) =>
    LEFT + INNER_WIDTH * (epochs > 1 ? i / (epochs - 1) : 0.5);
  const y = (value: number) => TOP + INNER_HEIGHT * (1 - (value - low) / range);
  const paths = lines.map(({ values }, i) =>
    svg("path", { class: `line line-${i}`, d: pathOf(values, x, y) })
  );
  const words = ({ name, values }: Line, at?: number) => {
    const value = at === undefined
      ? values.findLast((value) => value !== null)
      : values[at];
    return `${name} ${
      value === undefined || value === null ? "?" : text(value)
    }`;
  };
  const keys = lines.map((line, i) =>
    element("span", { class: `key key-${i}` }, words(line))
  );
  const where = element("span", { class: "muted" });
  const guide = svg("path", { class: "axis" });
  const picture = frame(
    `${title} over ${epochs} epochs: ${
      lines.map((line) => words(line)).join(", ")
    }`,
    { low: text(low), high: text(high), first: "1", last: `epoch ${epochs}` },
    [guide, ...paths],
  );
  const read = (at?: number) => {
    say(where, at === undefined ? "" : `epoch ${at + 1}`);
    lines.forEach((line, i) => say(keys[i]!, words(line, at)));
    const d = at === undefined ? "" : `M${x(at)} ${TOP}v${INNER_HEIGHT}`;
    guide.setAttribute("d", d);
  };
  picture.addEventListener("pointermove", ({ clientX }) => {
    const { left, width } = picture.getBoundingClientRect();
    const along = ((clientX - left) / width * WIDTH - LEFT) / INNER_WIDTH;
    const at = Math.round(along * (epochs - 1));
    read(Math.min(Math.max(at, 0), epochs - 1));
  });
  picture.addEventListener("pointerleave", () => read());
  return element(
    "figure",
    { class: "chart" },
    element("figcaption", {}, title, ...keys, where),
    picture,
  );
}

const SPARK_WIDTH = 96, SPARK_HEIGHT = 20;

/** A line without axes, as high as a line of text. */
export function sparkline(
  name: string,
  values: Line["values"],
): SVGElement {
  const numbers = values.filter((value) => value !== null);
  const low = Math.min(...numbers), high = Math.max(...numbers);
  const x = (i: number) =>
    1 + (SPARK_WIDTH - 2) * (values.length > 1 ? i / (values.length - 1) : 0.5);
  const y = (value: number) =>
    1 + (SPARK_HEIGHT - 2) * (1 - (value - low) / (high - low || 1));
  const last = numbers.at(-1);
  return svg(
    "svg",
    {
      class: "spark",
      viewBox: `0 0 ${SPARK_WIDTH} ${SPARK_HEIGHT}`,
      role: "img",
      "aria-label": `${name} over ${values.length} epochs${
        last === undefined ? "" : `: ${text(last)}`
      }`,
    },
    svg("path", { class: "line line-0", d: pathOf(values, x, y) }),
  );
}

/**
 * Share of a class by its probability; on the diagonal they are the same.
 *
 * @param protocol of a cross-validation.
 */
export function calibrationChart(
  { classes, calibration }: Pick<Scores, "classes" | "calibration">,
  protocol?: string,
): HTMLElement {
  const shown = classes.length === 2 ? [1] : [...classes.keys()];
  const x = (value: number) => LEFT + INNER_WIDTH * value;
  const y = (value: number) => TOP + INNER_HEIGHT * (1 - value);
  const points = shown.flatMap((c) =>
    calibration[c]!.map(([probability = 0, share = 0]) =>
      svg(
        "circle",
        { class: "point", cx: x(probability), cy: y(share), r: 4 },
        svg(
          "title",
          {},
          `${classes[c]}: probability ${text(probability)}, share ${
            text(share)
          }`,
        ),
      )
    )
  );
  const of = shown.length === 1 ? classes[1]! : "each class";
  return element(
    "figure",
    { class: "chart" },
    element(
      "figcaption",
      {},
      `Calibration${
        protocol ? `, ${protocol}` : ""
      }: share of ${of} by its probability`,
    ),
    frame(
      `Calibration of ${of}, ${points.length} points`,
      { low: "0", high: "1", first: "0", last: "probability 1" },
      [
        svg("path", {
          class: "axis",
          d: `M${x(0)} ${y(0)}L${x(1)} ${y(1)}`,
        }),
        ...points,
      ],
    ),
  );
}

/** The axes of a chart, and what is drawn in them. */
function frame(
  name: string,
  { low, high, first, last }: Record<"low" | "high" | "first" | "last", string>,
  inside: readonly SVGElement[],
): SVGElement {
  const end = { "text-anchor": "end" };
  const bottom = HEIGHT - BOTTOM;
  return svg(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": name },
    svg("path", {
      class: "axis",
      d: `M${LEFT} ${TOP}V${bottom}H${WIDTH - RIGHT}`,
    }),
    svg("text", { x: LEFT - 4, y: TOP + 4, ...end }, high),
    svg("text", { x: LEFT - 4, y: bottom, ...end }, low),
    svg("text", { x: LEFT, y: HEIGHT - 3 }, first),
    svg("text", { x: WIDTH - RIGHT, y: HEIGHT - 3, ...end }, last),
    ...inside,
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
