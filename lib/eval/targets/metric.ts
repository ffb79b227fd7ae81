/**
 * Metrics of the targets, and the intervals of those that have no better one than
 * the bootstrap's.
 *
 * @module
 */
import { bootstrap } from "../bootstrap.ts";
import {
  type Interval,
  isFlat,
  type MetricWithInterval,
} from "../proportion.ts";

/** Metrics by name. */
export type Metrics = Record<string, MetricWithInterval>;

/** How the images of an evaluation are resampled. */
export interface Resampling {
  /** Seed of the bootstrap. */
  seed: number;
  /** Group (patient) of each image. */
  groups: readonly string[];
}

/**
 * Values with bootstrap intervals, all on the same resamples.
 *
 * @param statistics values if image i counts `counts[i]` times; null if undefined.
 */
export function bootstrapped<Name extends string>(
  images: number,
  names: readonly Name[],
  statistics: (counts: Int32Array) => Record<Name, number | null>,
  resampling: Resampling,
): Record<Name, MetricWithInterval> {
  const values = statistics(new Int32Array(images).fill(1));
  const drawn = bootstrap(images, names, { ...resampling, statistics });
  return Object.fromEntries(names.map((name) => [name, {
    value: values[name],
    interval: values[name] === null ? null : bounded(drawn[name].interval),
  }])) as Record<Name, MetricWithInterval>;
}

/** None if all resamples gave one value, which bounds no error. */
function bounded(interval: Interval | null): Interval | null {
  return interval && !isFlat(interval) ? interval : null;
}

/** Mean of the values that are defined; null of none. */
export function meanOf(values: readonly (number | null)[]): number | null {
  const defined = values.filter((value) => value !== null);
  return defined.length === 0
    ? null
    : defined.reduce((sum, value) => sum + value, 0) / defined.length;
}

/** Places of values, the smallest first. */
export function sortedPlaces(values: ArrayLike<number>): Int32Array {
  return Int32Array.from({ length: values.length }, (_, i) => i)
    .sort((a, b) => values[a]! - values[b]!);
}
