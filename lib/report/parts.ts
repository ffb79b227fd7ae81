/**
 * Parts that reports are made of: tables, charts, figures with intervals.
 *
 * @module
 */
import type { Interval } from "../eval/proportion.ts";
import { figure } from "../words.ts";
import { type Content, Html, html } from "./html.ts";

/** A column of a table. */
export interface Column {
  title: string;
  /** Aligns it right, as numbers are read. */
  number?: boolean;
  /** Allows long words to break. */
  wide?: boolean;
}

/** A table; the first cell of a line is its head. */
export function table(
  columns: readonly (Column | string)[],
  rows: readonly (readonly Content[])[],
): Html {
  const all = columns.map((column) =>
    typeof column === "string" ? { title: column } : column
  );
  const classOf = ({ number, wide }: Column) =>
    number ? "number" : wide ? "wide" : "";
  return html`
    <div class="scroll">
      <table>
        <thead>
          <tr>${all.map((column) =>
            html`<th scope="col" class="${
              classOf(column)
            }">${column.title}</th>`
          )}</tr>
        </thead>
        <tbody>${rows.map((cells) =>
          html`
            <tr>${cells.map((cell, i) =>
              i === 0
                ? html`<th scope="row" class="${classOf(all[i]!)}">${cell}</th>`
                : html`<td class="${classOf(all[i]!)}">${cell}</td>`
            )}</tr>
          `
        )}</tbody>
      </table>
    </div>
  `;
}

/** Names and values, a line each; those without a value are left out. */
export function facts(
  rows: readonly (readonly [name: string, value: Content])[],
): Html {
  const known = rows.filter(([, value]) => value !== null);
  return html`
    <div class="scroll">
      <table class="facts">
        <tbody>${known.map(([name, value]) =>
          html`
            <tr>
              <th scope="row">${name}</th>
              <td class="wide">${value}</td>
            </tr>
          `
        )}</tbody>
      </table>
    </div>
  `;
}

/** Charts side by side, each an SVG of `lineChart`. */
export function charts(svgs: readonly string[]): Html {
  return html`<div class="charts">${
    svgs.map((svg) =>
      html`
        <figure class="chart">${new Html(svg)}</figure>
      `
    )
  }</div>`;
}

/** A value in [0, 1] and its interval as a bar; a second value as a tick. */
export function bar(
  value: number | null,
  interval: Interval | null,
  { second = null }: { second?: number | null } = {},
): Content {
  if (value === null || value < 0 || value > 1) return null;
  const at = (x: number) => (4 + 192 * Math.min(Math.max(x, 0), 1)).toFixed(1);
  const range = interval
    ? html`
      <line class="range" x1="${at(interval.low)}" x2="${at(
        interval.high,
      )}" y1="8" y2="8" />
    `
    : null;
  return html`
    <svg class="bar" viewBox="0 0 200 16"
      aria-hidden="true"><line class="track" x1="4" x2="196" y1="8" y2="8"/>${range}${second ===
          null
        ? null
        : html`
          <rect class="second" x="${at(second)}" y="2" width="2" height="12" />
        `}<circle class="value" cx="${at(value)}" cy="8" r="4"/></svg>
  `;
}

/** An interval; "-" if there is none. */
export function range(interval: Interval | null | undefined): string {
  return interval ? `${figure(interval.low)} to ${figure(interval.high)}` : "-";
}
