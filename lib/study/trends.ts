/**
 * Charts of accuracy against something that was varied, a line a method.
 *
 * @module
 */
import { type Axis, lineChart, type Series } from "./chart.ts";
import type { StudyRow } from "./rows.ts";
import type { Study, Trend } from "./study.ts";

/** A chart and its title. */
export interface TrendChart {
  name: string;
  svg: string;
}

/** The charts of a study that varies something, with the rows that are done. */
export function trendCharts(
  { variants, trendAxis }: Study,
  rows: readonly StudyRow[],
): TrendChart[] {
  const placed = variants.flatMap(({ name, trend }) => {
    const row = rows.find(({ variant }) => variant === name);
    return trend && row ? [{ trend, row }] : [];
  });
  const charts = Map.groupBy(placed, ({ trend }) => trend.chart);
  return [...charts].map(([name, points]) => ({
    name,
    svg: lineChart(`Accuracy: ${name}`, {
      x: axisOf(trendAxis ?? "", points.map(({ trend }) => trend.x)),
      y: { label: "accuracy", low: 0, high: 1 },
      series: [
        ...points.flatMap(({ trend, row }) => intervalBar(trend, row)),
        ...seriesOf(points),
      ],
    }),
  }));
}

function axisOf(label: string, values: readonly number[]): Axis {
  return { label, low: Math.min(...values), high: Math.max(...values) };
}

function seriesOf(
  points: readonly { trend: Trend; row: StudyRow }[],
): Series[] {
  const lines = Map.groupBy(points, ({ trend }) => trend.series);
  return [...lines].map(([name, points]) => ({
    name,
    dots: true,
    points: points
      .filter(({ row }) => row.accuracy.mean !== null)
      .map(({ trend, row }) => [trend.x, row.accuracy.mean!] as const)
      .sort(([a], [b]) => a - b),
  }));
}

/** The 95 % interval of a point, as a thin upright line. */
function intervalBar({ x }: Trend, { accuracy }: StudyRow): Series[] {
  const { low, high } = accuracy;
  if (low === null || high === null) return [];
  return [{ name: "", reference: true, points: [[x, low], [x, high]] }];
}
