/**
 * What an evaluation comes to: metrics with their intervals, where the network
 * looked, and a table of the predictions.
 *
 * @module
 */
import { formatTable } from "../data/table.ts";
import type { RegionSource } from "../data/rois.ts";
import {
  type AttentionHits,
  attentionHits,
  type AttentionHitsSummary,
  summariseHits,
} from "./attention_hits.ts";
import {
  type EvaluatedImage,
  type Evaluation,
  scoredImages,
} from "./evaluate.ts";
import { metricIntervals } from "./intervals.ts";
import { evaluateMetrics, type MetricValues } from "./metrics.ts";
import type { Interval } from "./proportion.ts";

/** A metric and its 95 % interval (intervals.ts). */
export interface MetricWithInterval {
  /** `null` where it is undefined. */
  value: number | null;
  /** `null` where nothing tells how far off the value may be. */
  interval: Interval | null;
}

/** Figures of one evaluation. */
export interface EvaluationReport {
  images: number;
  failures: { image: string; error: string }[];
  classes: readonly string[];
  metrics: Record<keyof MetricValues, MetricWithInterval>;
  /** Images of class [true][predicted]. */
  confusion: number[][];
  /** Null where no objects are annotated. */
  attention: AttentionHitsSummary | null;
}

/**
 * The report of an evaluation.
 *
 * @param options.seed seed of the bootstrap.
 * @throws {RangeError} If no image was classified.
 */
export async function evaluationReport(
  { images, failures }: Evaluation,
  { classes, regions, seed }: {
    classes: readonly string[];
    regions: RegionSource | undefined;
    seed: number;
  },
): Promise<EvaluationReport> {
  const scored = scoredImages(images, classes);
  const { confusion, ...values } = evaluateMetrics(scored);
  const groups = images.map(({ entry }, i) => entry.group ?? `image ${i}`);
  const intervals = metricIntervals(scored, { seed, groups });
  const metrics = Object.fromEntries(
    Object.entries(values).map(([name, value]) => [name, {
      value,
      interval: intervals[name as keyof MetricValues],
    }]),
  ) as EvaluationReport["metrics"];
  const hits = regions ? await allHits(images, regions) : [];
  return {
    images: images.length,
    failures: failures.map(({ entry, error }) => ({
      image: entry.image,
      error: error.message,
    })),
    classes,
    metrics,
    confusion,
    attention: summariseHits(hits.filter((found) => found !== null), {
      seed,
      groups: groups.filter((_, i) => hits[i]),
    }),
  };
}

/** Hits of each image; null where it has no objects of its label. */
async function allHits(
  images: readonly EvaluatedImage[],
  regions: RegionSource,
): Promise<(AttentionHits | null)[]> {
  const hits: (AttentionHits | null)[] = [];
  for (const { entry, classification: { image, subTiles } } of images) {
    const all = await regions.of(entry);
    const objects = all.filter((object) => regions.relevant(entry, object));
    const { width, height } = subTiles[0]!;
    hits.push(attentionHits({
      image,
      subTileSize: { width, height },
      subTiles,
      objects,
    }));
  }
  return hits;
}

/** A CSV table with one classified image a line. */
export function predictionTable(
  images: readonly EvaluatedImage[],
  classes: readonly string[],
): string {
  return formatTable(
    ["image", "label", "predicted", ...classes.map((name) => `p(${name})`)],
    images.map(({ entry, classification: { label, probabilities } }) => [
      entry.image,
      entry.label,
      label,
      ...classes.map((name) => probabilities[name]!.toFixed(6)),
    ]),
  );
}
