/**
 * Learning curves, from the logs of runs.
 *
 * @module
 */
import type { LogLine } from "./run_log.ts";

/** The mean of a logged figure, epoch by epoch, over the runs that reached it. */
export function learningCurve(
  logs: readonly (readonly LogLine[])[],
  figure: string,
): [epoch: number, mean: number][] {
  const sums = new Map<number, { sum: number; count: number }>();
  for (const line of logs.flat()) {
    const value = line[figure];
    if (line.type !== "epoch" || typeof value !== "number") continue;
    const at = sums.get(line.epoch as number) ?? { sum: 0, count: 0 };
    at.sum += value;
    at.count++;
    sums.set(line.epoch as number, at);
  }
  return [...sums].sort(([a], [b]) => a - b)
    .map(([epoch, { sum, count }]) => [epoch, sum / count]);
}
