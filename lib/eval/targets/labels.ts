/**
 * Metrics of several labels: of each label its AUC, average precision and F1 at its
 * threshold; over all labels their means, and the share of images whose labels are
 * all right.
 *
 *     averagePrecision  sum over thresholds of (R_n - R_n-1) P_n, as scikit-learn has
 *                       it: no interpolation, equal probabilities are one threshold
 *
 * @module
 */
import { DEFAULT_THRESHOLD } from "../../model/targets/labels.ts";
import type { Goal } from "../../target.ts";
import { metricIntervals } from "../intervals.ts";
import {
  countedMetrics,
  evaluateMetrics,
  type Scored,
  type ScoreTable,
  tabulate,
} from "../metrics.ts";
import {
  bootstrapped,
  meanOf,
  type Metrics,
  type Resampling,
  sortedPlaces,
} from "./metric.ts";

/** Images with the probabilities of labels. */
export interface LabelScores {
  names: readonly string[];
  /** 0 or 1 of each label, `[images]`. */
  goals: readonly Goal[];
  /** `[images][labels]`. */
  probabilities: readonly (readonly number[])[];
  /** Whether each image is said to have each label. */
  said: readonly (readonly boolean[])[];
}

/** Metrics of a label, and the images that have it. */
export interface LabelMetrics {
  /** Number of images that have it. */
  images: number;
  /** By name. */
  metrics: Metrics;
}

/**
 * The images as of one label or not. A label that an image is said to have gets a
 * probability above 1/2, in the order of the true ones, so that F1 is that of the
 * threshold.
 */
function scoredFor(
  { goals, probabilities, said }: LabelScores,
  place: number,
): Scored {
  const shifted = probabilities.map((row, i) => {
    const p = row[place]!;
    return said[i]![place] ? (1 + p) / 2 : p / 2;
  });
  return {
    labels: goals.map((goal) => goal[place]!),
    probabilities: shifted.map((p) => [1 - p, p]),
  };
}

/** Metrics of all labels together. */
export function labelsMetrics(
  scores: LabelScores,
  resampling: Resampling,
): { metrics: Metrics; byLabel: Record<string, LabelMetrics> } {
  const { names, goals } = scores;
  const tables = names.map((_, place) => tabulate(scoredFor(scores, place)));
  const ranked = names.map((_, place) =>
    ranking(scores.probabilities.map((row) => row[place]!))
  );
  const keys = names.map((_, place) => `${place}`);
  const found = bootstrapped(
    goals.length,
    ["auc", "averagePrecision", "f1", "exact", ...keys],
    (counts) => statisticsOf(scores, { tables, ranked, counts }),
    resampling,
  );
  const byLabel = names.map((name, place) => {
    const scored = scoredFor(scores, place);
    const { auc, f1 } = evaluateMetrics(scored);
    const intervals = metricIntervals(scored, resampling);
    return [name, {
      images: goals.filter((goal) => goal[place] === 1).length,
      metrics: {
        auc: { value: auc, interval: intervals.auc },
        averagePrecision: found[`${place}`]!,
        f1: { value: f1, interval: intervals.f1 },
      },
    }] as const;
  });
  const { auc, averagePrecision, f1, exact } = found;
  return {
    metrics: {
      auc: auc!,
      averagePrecision: averagePrecision!,
      f1: f1!,
      exact: exact!,
    },
    byLabel: Object.fromEntries(byLabel),
  };
}

function statisticsOf(
  { names, goals, said }: LabelScores,
  { tables, ranked, counts }: {
    tables: readonly ScoreTable[];
    ranked: readonly Ranking[];
    counts: Int32Array;
  },
): Record<string, number | null> {
  const ofLabels = tables.map((table) => countedMetrics(table, counts));
  const precisions = names.map((_, place) =>
    countedAveragePrecision(
      ranked[place]!,
      goals.map((goal) => goal[place]!),
      counts,
    )
  );
  let exact = 0, images = 0;
  goals.forEach((goal, i) => {
    images += counts[i]!;
    if (goal.every((wanted, k) => (wanted === 1) === said[i]![k])) {
      exact += counts[i]!;
    }
  });
  return {
    auc: meanOf(ofLabels.map(({ auc }) => auc)),
    averagePrecision: meanOf(precisions),
    f1: meanOf(ofLabels.map(({ f1 }) => f1)),
    exact: exact / images,
    ...Object.fromEntries(precisions.map((value, place) => [place, value])),
  };
}

/** Images in the order of a score, the highest first, with the ends of ties. */
interface Ranking {
  order: Int32Array;
  endsTie: boolean[];
}

function ranking(values: readonly number[]): Ranking {
  const order = sortedPlaces(values).reverse();
  const endsTie = Array.from(
    order,
    (image, place) => values[image] !== values[order[place + 1]!],
  );
  return { order, endsTie };
}

function countedAveragePrecision(
  { order, endsTie }: Ranking,
  labels: readonly number[],
  counts: Int32Array,
): number | null {
  let positives = 0;
  labels.forEach((label, i) => positives += label * counts[i]!);
  if (positives === 0) return null;
  let hits = 0, seen = 0, before = 0, sum = 0;
  order.forEach((image, place) => {
    hits += labels[image]! * counts[image]!;
    seen += counts[image]!;
    if (!endsTie[place] || hits === before) return;
    sum += (hits - before) * hits / seen;
    before = hits;
  });
  return sum / positives;
}

/** Average precision of a label. */
export function averagePrecisionOf(
  labels: readonly number[],
  probabilities: readonly number[],
): number | null {
  const each = new Int32Array(labels.length).fill(1);
  return countedAveragePrecision(ranking(probabilities), labels, each);
}

/**
 * The threshold of each label at which its F1 is highest; of several the one nearest
 * to that of a label that no image has or lacks.
 */
export function chosenThresholds(
  { names, goals, probabilities }: Omit<LabelScores, "said">,
): number[] {
  return names.map((_, place) => {
    const values = probabilities.map((row) => row[place]!);
    const labels = goals.map((goal) => goal[place]!);
    const sorted = [...new Set(values)].sort((a, b) => a - b);
    const middles = sorted.slice(1).map((value, i) => (sorted[i]! + value) / 2);
    return middles.reduce((best, threshold) => {
      const gain = f1At(threshold, labels, values) -
        f1At(best, labels, values);
      const isNearer = Math.abs(threshold - DEFAULT_THRESHOLD) <
        Math.abs(best - DEFAULT_THRESHOLD);
      return gain > 0 || (gain === 0 && isNearer) ? threshold : best;
    }, DEFAULT_THRESHOLD);
  });
}

function f1At(
  threshold: number,
  labels: readonly number[],
  values: readonly number[],
): number {
  let right = 0, wanted = 0, called = 0;
  labels.forEach((label, i) => {
    const isCalled = values[i]! > threshold;
    wanted += label;
    if (isCalled) called++;
    if (isCalled && label === 1) right++;
  });
  return wanted + called === 0 ? 0 : 2 * right / (wanted + called);
}
