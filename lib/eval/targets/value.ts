/**
 * Metrics of a number, with y_i the value of image i and p_i what is said of it:
 *
 *     mae       mean of |p_i - y_i|, in the unit of the labels
 *     spearman  correlation of the ranks, equal values at their mean rank
 *     r2        1 - sum (p_i - y_i)^2 / sum (y_i - mean y)^2
 *
 * @module
 */
import {
  bootstrapped,
  type Metrics,
  type Resampling,
  sortedPlaces,
} from "./metric.ts";

/** True values, and what is said of them. */
export interface ValueScores {
  goals: readonly number[];
  values: readonly number[];
}

/** The metrics of a number. */
export const VALUE_METRICS = ["mae", "spearman", "r2"] as const;

/** The values of the metrics; null if all true values are one, or all said ones. */
export type ValueMetrics = Record<
  (typeof VALUE_METRICS)[number],
  number | null
>;

/** The metrics with their intervals. */
export function valueMetrics(
  scores: ValueScores,
  resampling: Resampling,
): Metrics {
  const counted = countedValues(scores);
  return bootstrapped(
    scores.goals.length,
    VALUE_METRICS,
    counted,
    resampling,
  );
}

/** The metrics if image i counts `counts[i]` times. */
export function countedValues(
  { goals, values }: ValueScores,
): (counts: Int32Array) => ValueMetrics {
  const orders = [sortedPlaces(goals), sortedPlaces(values)] as const;
  return (counts) => {
    const mean = countedMean(goals, counts);
    const squares = countedMean(goals.map((y) => (y - mean) ** 2), counts);
    const errors = countedMean(
      goals.map((y, i) => (values[i]! - y) ** 2),
      counts,
    );
    return {
      mae: countedMean(goals.map((y, i) => Math.abs(values[i]! - y)), counts),
      spearman: correlation(
        countedRanks(goals, orders[0], counts),
        countedRanks(values, orders[1], counts),
        counts,
      ),
      r2: squares > 0 ? 1 - errors / squares : null,
    };
  };
}

function countedMean(values: ArrayLike<number>, counts: Int32Array): number {
  let sum = 0, weight = 0;
  for (let i = 0; i < values.length; i++) {
    sum += values[i]! * counts[i]!;
    weight += counts[i]!;
  }
  return sum / weight;
}

/** Rank of each image among all that count. */
function countedRanks(
  values: readonly number[],
  order: Int32Array,
  counts: Int32Array,
): Float64Array {
  const ranks = new Float64Array(values.length);
  let below = 0;
  for (let from = 0; from < order.length;) {
    let to = from, tied = 0;
    while (to < order.length && values[order[to]!] === values[order[from]!]) {
      tied += counts[order[to++]!]!;
    }
    for (let place = from; place < to; place++) {
      ranks[order[place]!] = below + (tied + 1) / 2;
    }
    below += tied;
    from = to;
  }
  return ranks;
}

function correlation(
  a: Float64Array,
  b: Float64Array,
  counts: Int32Array,
): number | null {
  const meanA = countedMean(a, counts), meanB = countedMean(b, counts);
  let covariance = 0, ofA = 0, ofB = 0;
  for (let i = 0; i < a.length; i++) {
    const [da, db] = [a[i]! - meanA, b[i]! - meanB];
    covariance += counts[i]! * da * db;
    ofA += counts[i]! * da * da;
    ofB += counts[i]! * db * db;
  }
  return ofA > 0 && ofB > 0 ? covariance / Math.sqrt(ofA * ofB) : null;
}
