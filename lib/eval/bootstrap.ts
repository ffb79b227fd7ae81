/**
 * 95 % intervals: the percentile bootstrap over images for one evaluation,
 * Student's t over folds for a cross-validation. Shares of few images have
 * better ones (proportion.ts).
 *
 * Bootstrap (Efron & Tibshirani 1993, chapter 13): draw n images with
 * replacement, compute the metric, repeat; the interval runs from the 2.5th to
 * the 97.5th percentile. Images of one patient are not independent, so whole
 * groups are drawn if they are known (section 8.3).
 *
 * Folds share training images, so the t interval over folds is somewhat too
 * narrow (Bengio & Grandvalet, JMLR 2004): it describes the spread of the
 * folds, not of all possible data sets.
 *
 * @module
 */
import { randomKey, RandomStream } from "../../kernels/random.ts";
import {
  countedMetrics,
  type MetricValues,
  type Scored,
  tabulate,
} from "./metrics.ts";
import type { Interval } from "./proportion.ts";

/** Options of the resampling. */
export interface ResampleOptions {
  /** Seed of the resamples. */
  seed: number;
  /** Group (patient) of each image; without it each image is its own group. */
  groups?: ArrayLike<string | number>;
  /** Number of resamples to draw; 2000 if omitted. */
  resamples?: number;
}

/** A percentile interval, and the resamples without a value. */
export interface BootstrapInterval {
  /** `null` if the statistic was undefined in every resample. */
  interval: Interval | null;
  /** Resamples in which the statistic was undefined (AUC with one class). */
  undefinedResamples: number;
}

/** The mean over folds, and its interval. */
export interface MeanInterval {
  /** Values that the figures rest on. */
  count: number;
  /** Folds in which the metric was undefined, which do not count. */
  undefinedCount: number;
  /** `null` if there is no value. */
  mean: number | null;
  /** Sample standard deviation (n - 1); `null` for fewer than two values. */
  sd: number | null;
  /** Of the mean; `null` for fewer than two values. */
  interval: Interval | null;
}

const CONFIDENCE = 0.95;
const RESAMPLES = 2000; // Efron & Tibshirani, section 14.3: "B of 1000 or more"
const BISECTIONS = 52; // one a bit of a double
const METRICS = [
  "accuracy",
  "balancedAccuracy",
  "auc",
  "f1",
  "brier",
  "expectedCalibrationError",
  "logLoss",
] as const satisfies (keyof MetricValues)[];

/**
 * A percentile interval for each metric of `scored`.
 *
 * @throws {RangeError} As `evaluateMetrics`, and if `groups` does not fit.
 */
export function bootstrapMetrics(
  scored: Scored,
  options: ResampleOptions,
): Record<keyof MetricValues, BootstrapInterval> {
  const table = tabulate(scored);
  return bootstrap(table.images, METRICS, {
    ...options,
    statistics: (counts) => countedMetrics(table, counts),
  });
}

/**
 * A percentile interval for each of the statistics `names`. All of them are
 * computed on the same resamples.
 *
 * @param count number of images.
 */
export function bootstrap<Name extends string>(
  count: number,
  names: readonly Name[],
  { statistics, ...options }: ResampleOptions & {
    /** Of the images, image i counted `counts[i]` times. */
    statistics: (counts: Int32Array) => Record<Name, number | null>;
  },
): Record<Name, BootstrapInterval> {
  const drawn = new Map<Name, number[]>(names.map((name) => [name, []]));
  let resamples = 0;
  for (const counts of resampleCounts(count, options)) {
    const values = statistics(counts);
    for (const name of names) {
      const value = values[name];
      if (value !== null) drawn.get(name)!.push(value);
    }
    resamples++;
  }
  return Object.fromEntries(names.map((name) => {
    const values = drawn.get(name)!;
    const undefinedResamples = resamples - values.length;
    return [name, { interval: percentileInterval(values), undefinedResamples }];
  })) as Record<Name, BootstrapInterval>;
}

/**
 * Counts of each image, resample by resample. The array is reused: it is valid
 * only until the next one.
 */
export function* resampleCounts(
  count: number,
  { seed, groups, resamples = RESAMPLES }: ResampleOptions,
): Generator<Int32Array> {
  if (groups && groups.length !== count) {
    throw new RangeError(
      `Cannot resample ${count} images by ${groups.length} groups: give one group for each image`,
    );
  }
  const { groupOf, groupCount } = groupIndex(groups, count);
  const random = new RandomStream(randomKey(seed));
  const groupCounts = new Int32Array(groupCount);
  const counts = new Int32Array(count);
  for (let resample = 0; resample < resamples; resample++) {
    groupCounts.fill(0);
    for (let draw = 0; draw < groupCount; draw++) {
      groupCounts[random.below(groupCount)]!++;
    }
    for (let i = 0; i < count; i++) counts[i] = groupCounts[groupOf[i]!]!;
    yield counts;
  }
}

/** Numbers the groups from 0, in the order in which they first appear. */
export function groupIndex(
  groups: ArrayLike<string | number> | undefined,
  count: number,
): { groupOf: Int32Array; groupCount: number } {
  if (!groups) {
    const groupOf = Int32Array.from({ length: count }, (_, i) => i);
    return { groupOf, groupCount: count };
  }
  const numbers = new Map<string | number, number>();
  const groupOf = Int32Array.from(groups, (group) => {
    const number = numbers.get(group) ?? numbers.size;
    numbers.set(group, number);
    return number;
  });
  return { groupOf, groupCount: numbers.size };
}

function percentileInterval(values: number[]): Interval | null {
  if (values.length === 0) return null;
  const sorted = Float64Array.from(values).sort();
  const tail = (1 - CONFIDENCE) / 2;
  return { low: quantile(sorted, tail), high: quantile(sorted, 1 - tail) };
}

/**
 * The quantile `q` of sorted values, linear between neighbours (type 7 of
 * Hyndman & Fan 1996, which numpy and R use).
 */
export function quantile(sorted: ArrayLike<number>, q: number): number {
  const place = q * (sorted.length - 1);
  const below = Math.floor(place);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below]! + (place - below) * (sorted[above]! - sorted[below]!);
}

/**
 * Mean of the values of some folds with its 95 % interval, mean +- t sd / sqrt n.
 *
 * @param values one a fold; `null` if the metric is undefined.
 */
export function meanInterval(
  values: readonly (number | null)[],
): MeanInterval {
  const defined = values.filter((value) => value !== null);
  const count = defined.length;
  const undefinedCount = values.length - count;
  if (count === 0) {
    return { count, undefinedCount, mean: null, sd: null, interval: null };
  }
  const mean = defined.reduce((sum, value) => sum + value, 0) / count;
  if (count === 1) {
    return { count, undefinedCount, mean, sd: null, interval: null };
  }
  const squares = defined.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  const sd = Math.sqrt(squares / (count - 1));
  const half = studentT(count - 1) * sd / Math.sqrt(count);
  const interval = { low: mean - half, high: mean + half };
  return { count, undefinedCount, mean, sd, interval };
}

/** The interval of a share: it cannot leave [0, 1], though Student's t does. */
export function shareInterval({ low, high }: Interval): Interval {
  return { low: Math.max(0, low), high: Math.min(1, high) };
}

/**
 * Mean of `a - b` over folds that both were run on, with its interval: does
 * one model beat the other? A fold in which either is undefined does not count.
 */
export function pairedInterval(
  a: readonly (number | null)[],
  b: readonly (number | null)[],
): MeanInterval {
  if (a.length !== b.length) {
    throw new RangeError(
      `Cannot compare ${a.length} folds with ${b.length} in pairs: both must have the same folds`,
    );
  }
  return meanInterval(a.map((value, i) => {
    const other = b[i]!;
    return value === null || other === null ? null : value - other;
  }));
}

/**
 * The t with P(|T| <= t) = 0.95 at `freedom` degrees of freedom, an integer.
 * Bisects on the angle theta = atan(t / sqrt(freedom)), which is bounded.
 */
export function studentT(freedom: number): number {
  let low = 0, high = Math.PI / 2;
  for (let step = 0; step < BISECTIONS; step++) {
    const middle = (low + high) / 2;
    if (centralProbability(middle, freedom) < CONFIDENCE) low = middle;
    else high = middle;
  }
  return Math.sqrt(freedom) * Math.tan(low);
}

/**
 * P(|T| <= sqrt(freedom) tan theta) of Student's t: Abramowitz & Stegun 1964,
 * 26.7.3 (odd) and 26.7.4 (even), finite sums in cos theta.
 */
function centralProbability(theta: number, freedom: number): number {
  const cosine = Math.cos(theta), sine = Math.sin(theta);
  const odd = freedom % 2 === 1;
  let term = odd ? cosine : 1;
  let sum = freedom === 1 ? 0 : term;
  for (let k = odd ? 3 : 2; k <= freedom - 2; k += 2) {
    term *= cosine * cosine * (k - 1) / k;
    sum += term;
  }
  return odd ? (2 / Math.PI) * (theta + sine * sum) : sine * sum;
}
