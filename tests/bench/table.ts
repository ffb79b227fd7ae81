/**
 * Rows as people read them.
 *
 * @module
 */
import type { Row } from "./measure.ts";

/** A Markdown table. */
export function table(rows: readonly Row[]): string {
  return [
    `| id | engine | ours, ms | stock, ms | ratio | |`,
    `| --- | --- | ---: | ---: | ---: | --- |`,
    ...rows.map((row) => `| ${cells(row).join(" | ")} |`),
  ].join("\n");
}

/** The cells of a row. */
export function cells(
  { id, engine, oursMs, stockMs, ratio, note }: Row,
): string[] {
  return [id, engine, ...[oursMs, stockMs, ratio].map(figure), note];
}

/** One row as a line of progress. */
export function line(
  { id, engine, oursMs, stockMs, ratio, note }: Row,
): string {
  const beside = stockMs === null
    ? ""
    : `, stock ${figure(stockMs)} ms, ratio ${figure(ratio)}`;
  return `${id} ${engine}: ${figure(oursMs)} ms${beside} (${note})`;
}

/** Two digits and more. */
function figure(value: number | null): string {
  if (value === null) return "-";
  return value < 10 ? value.toPrecision(2) : value.toFixed(0);
}
