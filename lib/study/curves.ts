/**
 * The curves of a report: learning, ROC and calibration, each over all folds and
 * seeds of a variant.
 *
 * @module
 */
import type { LogLine } from "../train/run_log.ts";

type Point = [x: number, y: number];

/** One image's probability of a class, and whether it belongs to it. */
export interface ScoredImage {
  probability: number;
  positive: boolean;
}

const BINS = 10;

/** The mean of a logged figure, epoch by epoch, over the runs that reached it. */
export function learningCurve(
  logs: readonly (readonly LogLine[])[],
  figure: string,
): Point[] {
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

/** (false positive rate, true positive rate) as the threshold falls. */
export function rocCurve(images: readonly ScoredImage[]): Point[] {
  const sorted = images.toSorted((a, b) => b.probability - a.probability);
  const positives = images.filter(({ positive }) => positive).length;
  const negatives = images.length - positives;
  if (positives === 0 || negatives === 0) return [];
  const points: Point[] = [[0, 0]];
  let hits = 0, alarms = 0;
  sorted.forEach(({ probability, positive }, i) => {
    if (positive) hits++;
    else alarms++;
    if (sorted[i + 1]?.probability === probability) return; // a tie is one step
    points.push([alarms / negatives, hits / positives]);
  });
  return points;
}

/** (mean probability, share of positives) of each of ten bins that is not empty. */
export function calibrationCurve(images: readonly ScoredImage[]): Point[] {
  const bins = Array.from(
    { length: BINS },
    () => ({ probability: 0, positives: 0, count: 0 }),
  );
  for (const { probability, positive } of images) {
    const bin = bins[Math.min(Math.floor(probability * BINS), BINS - 1)]!;
    bin.probability += probability;
    bin.positives += positive ? 1 : 0;
    bin.count++;
  }
  return bins.filter(({ count }) => count > 0)
    .map(({ probability, positives, count }) => [
      probability / count,
      positives / count,
    ]);
}
