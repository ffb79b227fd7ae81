/**
 * The 95 % interval of the area under the ROC curve of two classes, where images
 * may come in groups (patients) that are not independent inside: Newcombe's
 * (proportion.ts) of the effective numbers of images, at which independent
 * images would vary as the groups do.
 *
 * Source: the variance of the area over groups is that of Obuchowski, Biometrics
 * 53 (1997), by the components of DeLong et al., Biometrics 44 (1988): the share
 * of the other class's images that an image is ranked right against.
 *
 * @module
 */
import type { ScoreTable } from "./metrics.ts";
import { aucInterval, type Interval } from "./proportion.ts";

/** The images of a table by group. */
export interface GroupedTable extends ScoreTable {
  groupOf: Int32Array; // [images]
  groupCount: number;
}

/**
 * The interval of the area of class 1 against class 0.
 *
 * @param area as measured on `table`, which has images of both classes.
 */
export function groupedAucInterval(
  area: number,
  table: GroupedTable,
): Interval {
  const shifts = shiftsOf(area, table);
  const { images, groupOf, groupCount } = table;
  const each = Int32Array.from({ length: images }, (_, i) => i);
  const factor = varianceOver(groupOf, groupCount, shifts) /
    varianceOver(each, images, shifts);
  return aucInterval(area, {
    positives: effectiveCount(table, 1, factor),
    negatives: effectiveCount(table, 0, factor),
  });
}

/** Influence of each image on the area (DeLong's component, centred). */
function shiftsOf(area: number, table: ScoreTable): Float64Array {
  const { labels, images } = table;
  const { order, endsTie } = table.rankings.get(1)!;
  const positives = labels.reduce((sum, label) => sum + label, 0);
  const negatives = images - positives;
  const shifts = new Float64Array(images);
  let below = { positives: 0, negatives: 0 };
  for (let from = 0; from < images;) {
    const upTo = endsTie.indexOf(1, from) + 1;
    const tied = Array.from(order.subarray(from, upTo));
    const tiedPositives = tied.filter((i) => labels[i] === 1).length;
    const tiedNegatives = tied.length - tiedPositives;
    for (const i of tied) {
      const isPositive = labels[i] === 1;
      const right = isPositive
        ? (below.negatives + tiedNegatives / 2) / negatives
        : (positives - below.positives - tiedPositives / 2) / positives;
      shifts[i] = (right - area) / (isPositive ? positives : negatives);
    }
    below = {
      positives: below.positives + tiedPositives,
      negatives: below.negatives + tiedNegatives,
    };
    from = upTo;
  }
  return shifts;
}

function varianceOver(
  groupOf: Int32Array,
  groupCount: number,
  shifts: Float64Array,
): number {
  const sums = new Float64Array(groupCount);
  shifts.forEach((shift, i) => {
    sums[groupOf[i]!]! += shift;
  });
  return sums.reduce((sum, shift) => sum + shift ** 2, 0) *
    groupCount / (groupCount - 1);
}

/**
 * The number of a class's images over `factor`, the ratio of the variances; at
 * least that of groups of identical images, which is taken if the variance is 0,
 * as that of a perfect ranking is.
 */
function effectiveCount(
  { labels, groupOf, groupCount }: GroupedTable,
  label: number,
  factor: number,
): number {
  const sizes = new Float64Array(groupCount);
  labels.forEach((other, i) => {
    if (other === label) sizes[groupOf[i]!]!++;
  });
  const count = sizes.reduce((sum, size) => sum + size, 0);
  const alike = count ** 2 / sizes.reduce((sum, size) => sum + size ** 2, 0);
  if (!Number.isFinite(factor)) return alike;
  return Math.min(Math.max(count / factor, alike), count);
}
