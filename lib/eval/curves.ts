/**
 * Curves of a classifier's probabilities of one class: ROC, precision and recall,
 * calibration, and points on them.
 *
 * @module
 */
import { groupedWilsonInterval, type Interval } from "./proportion.ts";

type Point = [x: number, y: number];

/** One image's probability of a class, and whether it belongs to it. */
export interface ScoredImage {
  probability: number;
  positive: boolean;
  /** Images of one group (patient) are dependent; each its own if omitted. */
  group?: string | undefined;
}

const BINS = 10;

/** Images at or above a threshold on the probability. */
interface Called {
  threshold: number;
  /** Positive images among them. */
  hits: number;
  /** Negative images among them. */
  alarms: number;
}

/** (false positive rate, true positive rate) as the threshold falls. */
export function rocCurve(images: readonly ScoredImage[]): Point[] {
  const { positives, negatives } = sidesOf(images);
  if (positives === 0 || negatives === 0) return [];
  return [
    [0, 0],
    ...thresholds(images).map(({ hits, alarms }): Point => [
      alarms / negatives,
      hits / positives,
    ]),
  ];
}

/** (recall, precision) as the threshold falls; none without positive images. */
export function precisionRecallCurve(
  images: readonly ScoredImage[],
): Point[] {
  const { positives } = sidesOf(images);
  if (positives === 0) return [];
  return thresholds(images).map(({ hits, alarms }): Point => [
    hits / positives,
    hits / (hits + alarms),
  ]);
}

/**
 * Average precision: the sum of the precisions, each times the recall that its
 * threshold adds, as scikit-learn's; `null` without positive images.
 */
export function averagePrecision(
  images: readonly ScoredImage[],
): number | null {
  const curve = precisionRecallCurve(images);
  if (curve.length === 0) return null;
  return curve.reduce(
    (sum, [recall, precision], i) =>
      sum + (recall - (curve[i - 1]?.[0] ?? 0)) * precision,
    0,
  );
}

/** The point of a ROC curve of most sensitivity at a stated specificity. */
export interface OperatingPoint {
  /** The stated specificity, which is reached or surpassed. */
  atLeast: number;
  /** Share of negative images below the threshold. */
  specificity: number;
  /** Share of positive images at or above it. */
  sensitivity: number;
  /** 95 % interval of the sensitivity, Wilson's over groups. */
  interval: Interval;
  /** Probability at or above which an image is called positive. */
  threshold: number;
}

const ROUNDING = 1e-9;

/**
 * The highest sensitivity whose specificity is at least `atLeast`; `null` unless
 * images are on both sides and some threshold reaches it.
 *
 * @example
 * ```ts
 * const point = sensitivityAt(images, 0.95);
 * console.log(point?.sensitivity, point?.threshold); // 0.81 0.62
 * ```
 */
export function sensitivityAt(
  images: readonly ScoredImage[],
  atLeast: number,
): OperatingPoint | null {
  const { positives, negatives } = sidesOf(images);
  if (positives === 0 || negatives === 0) return null;
  const most = (1 - atLeast) * negatives + ROUNDING;
  const best = thresholds(images).findLast(({ alarms }) => alarms <= most);
  if (!best) return null;
  return {
    atLeast,
    specificity: 1 - best.alarms / negatives,
    sensitivity: best.hits / positives,
    interval: groupedWilsonInterval(tallies(images, best.threshold))!,
    threshold: best.threshold,
  };
}

/** Positive images of each group, and those at or above the threshold. */
function tallies(images: readonly ScoredImage[], threshold: number) {
  const groups = Map.groupBy(
    images.filter(({ positive }) => positive).entries(),
    ([i, { group }]) => group ?? i,
  );
  return Array.from(groups.values(), (members) => ({
    successes: members
      .filter(([, { probability }]) => probability >= threshold).length,
    trials: members.length,
  }));
}

function sidesOf(images: readonly ScoredImage[]) {
  const positives = images.filter(({ positive }) => positive).length;
  return { positives, negatives: images.length - positives };
}

/** Each threshold from the highest on; a tie is one step. */
function thresholds(images: readonly ScoredImage[]): Called[] {
  const sorted = images.toSorted((a, b) => b.probability - a.probability);
  const called: Called[] = [];
  let hits = 0, alarms = 0;
  sorted.forEach(({ probability, positive }, i) => {
    if (positive) hits++;
    else alarms++;
    if (sorted[i + 1]?.probability === probability) return;
    called.push({ threshold: probability, hits, alarms });
  });
  return called;
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
