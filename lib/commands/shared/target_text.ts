/**
 * The metrics of a target other than classes, as lines for people.
 *
 * @module
 */
import type { TargetReport } from "../../eval/targets/report.ts";
import { TARGET_METRIC_NAMES } from "../../eval/targets/scoring.ts";
import type { MetricWithInterval } from "../../eval/report.ts";
import { confusionText } from "./confusion.ts";
import { figure, heading, lineWidth } from "./terminal.ts";

/** Each metric with its interval, by label if there are several. */
export function targetLines(
  { metrics, byLabel = {}, confusion, classes }: TargetReport,
): string[] {
  return [
    heading(`${"metric".padEnd(20)}   value   95 % interval`),
    ...metricLines(metrics),
    ...Object.entries(byLabel).flatMap(([label, own]) => [
      "",
      heading(`${label}, ${own.images} images`),
      ...metricLines(own.metrics),
    ]),
    ...(confusion
      ? ["", ...confusionText(confusion, classes, lineWidth())]
      : []),
  ];
}

/** A metric in words. */
export function metricName(key: string): string {
  return TARGET_METRIC_NAMES[key] ?? key;
}

function metricLines(
  metrics: Readonly<Record<string, MetricWithInterval>>,
): string[] {
  return Object.entries(metrics).map(([key, { value, interval }]) => {
    const range = interval
      ? `${figure(interval.low)} to ${figure(interval.high)}`
      : "-";
    return `${metricName(key).padEnd(20)} ${
      figure(value).padStart(7)
    }   ${range}`;
  });
}
