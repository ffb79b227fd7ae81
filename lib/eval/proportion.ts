/**
 * 95 % intervals of shares by score methods. They keep their coverage if images
 * are few or (nearly) all are right; the bootstrap, which draws only from the
 * images at hand, then covers far less and ends at [1, 1].
 *
 * Sources:
 * - Wilson, J. Am. Stat. Assoc. 22 (1927): the score interval of a share
 * - Newcombe, Stat. Med. 17 (1998): "square and add" of such intervals; for
 *   means of several, Zou, Huang & Zhang, Comput. Stat. Data Anal. 53 (2009)
 * - Kish, Survey Sampling (1965): the effective number of images in groups;
 *   with Wilson's interval, Dean & Pagano, J. Surv. Stat. Methodol. 3 (2015)
 * - Newcombe, Stat. Med. 25 (2006), part 2, method 5: the area under the curve
 *
 * @module
 */

/** A 95 % interval. */
export interface Interval {
  /** Its lower end. */
  low: number;
  /** Its upper end. */
  high: number;
}

/** A metric and its 95 % interval (intervals.ts). */
export interface MetricWithInterval {
  /** `null` if it is undefined. */
  value: number | null;
  /** `null` if the images do not bound its error. */
  interval: Interval | null;
}

/** Images of one group that count, and those of them that succeed. */
export interface Tally {
  successes: number;
  trials: number;
}

/** A share and the interval of it. */
export interface MeasuredShare {
  value: number;
  interval: Interval;
}

const Z = 1.959963984540054; // standard normal quantile of 0.975
const BISECTIONS = 52; // one a bit of a double

/**
 * Wilson's interval of a share; `null` of no trials.
 *
 * @example All of ten images are right
 * ```ts
 * console.log(wilsonInterval({ successes: 10, trials: 10 })); // 0.72 to 1
 * ```
 */
export function wilsonInterval(
  { successes, trials }: Tally,
): Interval | null {
  if (trials === 0) return null;
  const share = successes / trials;
  const spread = Z * Z / trials;
  const middle = (share + spread / 2) / (1 + spread);
  const half = Math.sqrt(spread * (share * (1 - share) + spread / 4)) /
    (1 + spread);
  // Rounding must not leave the share outside.
  return {
    low: successes === 0 ? 0 : middle - half,
    high: successes === trials ? 1 : middle + half,
  };
}

/**
 * Wilson's interval of a share over groups whose images are not independent:
 * that of the effective number of images, at which independent images would
 * vary as the groups do. It is at most the number of images, and at least that
 * of groups of identical images, which is taken if nothing varies.
 *
 * @param groups one of each patient; images without groups have one each.
 * @returns `null` of no trials.
 */
export function groupedWilsonInterval(
  groups: readonly Tally[],
): Interval | null {
  const counted = groups.filter(({ trials }) => trials > 0);
  const sum = (of: (group: Tally) => number) =>
    counted.reduce((sum, group) => sum + of(group), 0);
  const trials = sum((group) => group.trials);
  if (trials === 0) return null;
  const share = sum(({ successes }) => successes) / trials;
  const alike = trials ** 2 / sum((group) => group.trials ** 2);
  const variance =
    sum(({ successes, trials }) => (successes - share * trials) ** 2) *
    counted.length / (counted.length - 1) / trials ** 2;
  // 0 / 0, if all are right or there is one group: take the lower bound.
  const varied = share * (1 - share) / variance;
  const effective = Number.isNaN(varied)
    ? alike
    : Math.min(Math.max(varied, alike), trials);
  return wilsonInterval({ successes: share * effective, trials: effective });
}

/** The interval of the mean of independent shares, from their own intervals. */
export function meanShareInterval(
  shares: readonly MeasuredShare[],
): Interval | null {
  if (shares.length === 0) return null;
  const mean = shares.reduce((sum, { value }) => sum + value, 0) /
    shares.length;
  const distance = (end: "low" | "high") =>
    Math.hypot(...shares.map(({ value, interval }) => interval[end] - value)) /
    shares.length;
  return {
    low: Math.max(0, mean - distance("low")),
    high: Math.min(1, mean + distance("high")),
  };
}

/** Images of the positive class and of the other. */
export interface ClassCounts {
  positives: number;
  negatives: number;
}

/**
 * Newcombe's interval of the area under the ROC curve: the areas whose own
 * standard error, by Hanley & McNeil with equal exponential tails, puts `area`
 * within 1.96 of them.
 *
 * @param area measured on `sets`; the mean over them if there are several, whose
 * images are ranked apart.
 */
export function aucInterval(
  area: number,
  ...sets: readonly ClassCounts[]
): Interval {
  const variance = (area: number) =>
    sets.reduce((sum, set) => sum + aucVariance(area, set), 0) /
    sets.length ** 2;
  const end = (outside: number) => {
    let inside = area;
    for (let step = 0; step < BISECTIONS; step++) {
      const middle = (inside + outside) / 2;
      const fits = (area - middle) ** 2 <= Z * Z * variance(middle);
      if (fits) inside = middle;
      else outside = middle;
    }
    return inside;
  };
  return { low: end(0), high: end(1) };
}

/** Variance of the measured area if the true one is `area`. */
function aucVariance(
  area: number,
  { positives, negatives }: ClassCounts,
): number {
  const others = (positives + negatives) / 2 - 1;
  return area * (1 - area) *
    (1 + others * ((1 - area) / (2 - area) + area / (1 + area))) /
    (positives * negatives);
}

/** The least interval that holds both. */
export function hullOf(a: Interval, b: Interval): Interval {
  return { low: Math.min(a.low, b.low), high: Math.max(a.high, b.high) };
}

// An interval narrower than this has no width but rounding.
const ROUNDING = 1e-12;

/** True if all resamples gave one value, which bounds no error. */
export function isFlat({ low, high }: Interval): boolean {
  return high - low < ROUNDING;
}
