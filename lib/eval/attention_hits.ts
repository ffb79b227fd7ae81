/**
 * Does the network look at the annotated objects? For one image with objects:
 *
 *     drawn   share of the drawn sub-tiles that hit
 *     mass    sum of the weights of the sub-tiles that hit
 *     top     whether the sub-tile of the greatest weight hits
 *     chance  share of the image's pixels a sub-tile centred on which would hit
 *
 * A sub-tile hits if it holds the middle of an object: for a point annotation
 * the point, for a box its middle. (Touching a box is not enough: a corner of
 * background in the sub-tile would count.) `chance` is the exact expectation of
 * uniform sampling: the area of the union of the pixels around the objects,
 * clipped to the image, over the area of the image.
 *
 * @module
 */
import {
  centresHolding,
  clipRegion,
  holdsPoint,
  type Region,
  regionMiddle,
  type Size,
} from "../image/geometry.ts";
import {
  bootstrap,
  type BootstrapInterval,
  groupIndex,
  type ResampleOptions,
} from "./bootstrap.ts";
import { isFlat, wilsonInterval } from "./proportion.ts";

/** A sub-tile, level-0 px, and its weight in the representation. */
export interface LocatedSubTile extends Region {
  weight: number;
}

/** The sub-tiles that were read of one image, and its annotated objects. */
export interface ObservedImage {
  image: Size;
  subTileSize: Size;
  /** The drawn sub-tiles; their weights add to 1. */
  subTiles: readonly LocatedSubTile[];
  /** Boxes, or points as boxes of 0 px; level-0 px. */
  objects: readonly Region[];
}

/** Shares in [0, 1] of one image. */
export interface AttentionHits {
  /** Share of the drawn sub-tiles that hit. */
  drawn: number;
  /** Sum of the weights of the sub-tiles that hit. */
  mass: number;
  /** 1 if the sub-tile of the greatest weight hits, else 0. */
  top: number;
  /** Expected `drawn` of uniform draws. */
  chance: number;
}

/** A figure over images with its 95 % interval. */
export interface Estimate extends BootstrapInterval {
  /** `null` if it is undefined: a ratio to a chance of 0. */
  value: number | null;
}

/** Means over images; each ratio is the mean share over the mean chance. */
export interface AttentionHitsSummary {
  /** Images with annotated objects. */
  images: number;
  /** Share of the drawn sub-tiles that hit. */
  drawn: Estimate;
  /** Sum of the weights of the sub-tiles that hit. */
  mass: Estimate;
  /** Share of the images whose sub-tile of the greatest weight hits. */
  top: Estimate;
  /** Expected `drawn` of uniform draws. */
  chance: Estimate;
  /** `drawn` over `chance`. */
  drawnToChance: Estimate;
  /** `mass` over `chance`. */
  massToChance: Estimate;
}

const STATISTICS = [
  "drawn",
  "mass",
  "top",
  "chance",
  "drawnToChance",
  "massToChance",
] as const;

type HitStatistics = Record<(typeof STATISTICS)[number], number | null>;

const WEIGHT_TOLERANCE = 1e-3; // the weights are sums of float32

/**
 * The shares of one image; `null` if it has no objects.
 *
 * @throws {RangeError} If there are no sub-tiles, or their weights do not add
 * to 1.
 *
 * @example One of two sub-tiles holds the object
 * ```ts
 * const hits = attentionHits({
 *   image: { width: 100, height: 100 },
 *   subTileSize: { width: 10, height: 10 },
 *   subTiles: [
 *     { x: 0, y: 0, width: 10, height: 10, weight: 0.7 },
 *     { x: 50, y: 50, width: 10, height: 10, weight: 0.3 },
 *   ],
 *   objects: [{ x: 2, y: 2, width: 4, height: 4 }],
 * });
 * console.log(hits); // drawn 0.5, mass 0.7, top 1, chance 0.01
 * ```
 */
export function attentionHits(
  { image, subTileSize, subTiles, objects }: ObservedImage,
): AttentionHits | null {
  const total = subTiles.reduce((sum, { weight }) => sum + weight, 0);
  if (!(Math.abs(total - 1) <= WEIGHT_TOLERANCE)) {
    throw new RangeError(
      `Cannot compute the share of attention: the weights of the ${subTiles.length} sub-tiles add to ${total}; they must add to 1`,
    );
  }
  if (objects.length === 0) return null;

  const middles = objects.map(regionMiddle);
  const isHit = (subTile: Region) =>
    middles.some((middle) => holdsPoint(subTile, middle));
  const hits = subTiles.filter(isHit);
  const heaviest = subTiles.reduce((best, subTile) =>
    subTile.weight > best.weight ? subTile : best
  );
  const hitting = middles.map((middle) =>
    clipRegion(centresHolding(middle, subTileSize), image)
  );
  return {
    drawn: hits.length / subTiles.length,
    mass: hits.reduce((sum, { weight }) => sum + weight, 0),
    top: isHit(heaviest) ? 1 : 0,
    chance: unionArea(hitting) / (image.width * image.height),
  };
}

/**
 * Means over the images that have objects; `null` if there are none.
 *
 * @param images as {@linkcode attentionHits} returned them; `groups`, if
 * given, has one entry for each of them.
 */
export function summariseHits(
  images: readonly AttentionHits[],
  options: ResampleOptions,
): AttentionHitsSummary | null {
  if (images.length === 0) return null;
  const statistics = (counts: Int32Array) => meanHits(images, counts);
  const values = statistics(new Int32Array(images.length).fill(1));
  const intervals = bootstrap(images.length, STATISTICS, {
    ...options,
    statistics,
  });
  const { groupCount } = groupIndex(options.groups, images.length);
  const estimate = (name: keyof HitStatistics): Estimate => ({
    value: values[name],
    ...intervals[name],
  });
  return {
    images: images.length,
    drawn: boundedShare(estimate("drawn"), groupCount),
    mass: boundedShare(estimate("mass"), groupCount),
    top: boundedShare(estimate("top"), groupCount),
    chance: estimate("chance"), // exact: it varies with the image alone
    drawnToChance: boundedRatio(estimate("drawnToChance")),
    massToChance: boundedRatio(estimate("massToChance")),
  };
}

/**
 * If all resamples agree, as when every image hits: Wilson's interval with as
 * many trials as groups. No mean of shares varies more than one of yes and no.
 */
function boundedShare(share: Estimate, groups: number): Estimate {
  if (!share.interval || !isFlat(share.interval)) return share;
  const tally = { successes: share.value! * groups, trials: groups };
  return { ...share, interval: wilsonInterval(tally) };
}

/** No interval if all resamples agree: they do not bound the error. */
function boundedRatio(ratio: Estimate): Estimate {
  const { interval } = ratio;
  return interval && isFlat(interval) ? { ...ratio, interval: null } : ratio;
}

/** The means where image i counts `counts[i]` times. */
function meanHits(
  images: readonly AttentionHits[],
  counts: Int32Array,
): HitStatistics {
  let drawn = 0, mass = 0, top = 0, chance = 0, weight = 0;
  images.forEach((hits, i) => {
    const count = counts[i]!;
    drawn += count * hits.drawn;
    mass += count * hits.mass;
    top += count * hits.top;
    chance += count * hits.chance;
    weight += count;
  });
  return {
    drawn: drawn / weight,
    mass: mass / weight,
    top: top / weight,
    chance: chance / weight,
    drawnToChance: chance === 0 ? null : drawn / chance,
    massToChance: chance === 0 ? null : mass / chance,
  };
}

/**
 * Area covered by at least one of `regions`, px. A vertical line sweeps from
 * left to right over their edges; between two edges the covered length of the
 * line does not change. Costs the square of the regions on the line, so it
 * suits many small regions on an image of any size.
 */
export function unionArea(regions: readonly Region[]): number {
  const edges = regions.flatMap((region) => [
    { x: region.x, region, enters: true },
    { x: region.x + region.width, region, enters: false },
  ]).sort((a, b) => a.x - b.x || Number(b.enters) - Number(a.enters));

  const onLine: Region[] = []; // sorted by y
  let area = 0, previous = 0;
  for (const { x, region, enters } of edges) {
    if (x > previous) area += (x - previous) * coveredLength(onLine);
    previous = x;
    if (enters) onLine.splice(firstFrom(onLine, region.y), 0, region);
    else onLine.splice(onLine.indexOf(region), 1);
  }
  return area;
}

/** Index of the first region that begins at `y` or below. */
function firstFrom(sortedByY: readonly Region[], y: number): number {
  const index = sortedByY.findIndex((region) => region.y >= y);
  return index === -1 ? sortedByY.length : index;
}

function coveredLength(sortedByY: readonly Region[]): number {
  let length = 0, reached = -Infinity;
  for (const { y, height } of sortedByY) {
    const bottom = y + height;
    if (bottom <= reached) continue;
    length += bottom - Math.max(y, reached);
    reached = bottom;
  }
  return length;
}
