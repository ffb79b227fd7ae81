/**
 * The report of an evaluation: metrics with their intervals, hits of annotated
 * objects, and a table of the predictions.
 *
 * @module
 */
import type { TableImage } from "../data/manifest.ts";
import { formatTable } from "../data/table.ts";
import type { RoiSource } from "../data/rois.ts";
import {
  type AttentionHits,
  attentionHits,
  type AttentionHitsSummary,
  summariseHits,
} from "./attention_hits.ts";
import type { Classification } from "./classification.ts";
import {
  type EvaluatedImage,
  type Evaluation,
  type FailedImage,
  type LabelledImage,
  scoredImages,
} from "./evaluate.ts";
import type { AnnotatedCount } from "../model/checkpoint.ts";
import type { ResampleOptions } from "./bootstrap.ts";
import type { PredictedGroup } from "./groups/groups.ts";
import type { GroupPooling } from "./groups/pooling.ts";
import { metricIntervals } from "./intervals.ts";
import { evaluateMetrics, type MetricValues, type Scored } from "./metrics.ts";
import type { MetricWithInterval } from "./proportion.ts";

export type { MetricWithInterval } from "./proportion.ts";

/** Each metric in words. */
export const METRIC_NAMES: Record<keyof MetricValues, string> = {
  accuracy: "accuracy",
  balancedAccuracy: "balanced accuracy",
  auc: "AUC",
  f1: "F1",
  brier: "Brier score",
  expectedCalibrationError: "calibration error",
  logLoss: "log loss",
};

/** Figures of one evaluation. */
export interface EvaluationReport {
  /** Number of images that were classified. */
  images: number;
  /** Images that could not be, and why. */
  failures: { image: string; error: string }[];
  /** Names of the classes, in the order of `confusion`. */
  classes: readonly string[];
  /** Each metric with its 95 % interval. */
  metrics: Record<keyof MetricValues, MetricWithInterval>;
  /** Images of class [true][predicted]. */
  confusion: number[][];
  /** Hits of annotated objects; null if none are annotated. */
  attention: AttentionHitsSummary | null;
  /**
   * Annotated objects that the model was trained on, of training images; null
   * if it was trained on labels alone.
   */
  annotated: AnnotatedCount | null;
  /** Of groups of the images, if they were predicted. */
  byGroup?: GroupReport;
}

/** Figures of groups of images, each predicted as one. */
export interface GroupReport
  extends Pick<EvaluationReport, "metrics" | "confusion"> {
  /** How a group was predicted from its images. */
  by: GroupPooling;
  /** Number of groups. */
  groups: number;
}

/**
 * The report of an evaluation: metrics with 95 % intervals, which count images of
 * one group (patient) as dependent.
 *
 * @param options.classes names of the model's classes, in its order.
 * @param options.rois annotated objects; undefined if there are none.
 * @param options.annotated those of the checkpoint, if it was trained on any.
 * @param options.seed seed of the bootstrap.
 * @throws {RangeError} If no image was classified.
 *
 * @example
 * ```ts
 * import { evaluate, evaluationReport, ImageCache, readManifest } from "@zoomin/zoomin";
 * import { readCheckpoint, startEngine } from "@zoomin/zoomin";
 *
 * await startEngine("auto");
 * const { model } = await readCheckpoint("run");
 * const { entries } = await readManifest("manifest.csv");
 * const cache = new ImageCache(2 ** 28);
 * const evaluation = await evaluate(model, entries, { cache, seed: 0 });
 * const { metrics } = await evaluationReport(evaluation, {
 *   classes: model.classes,
 *   rois: undefined,
 *   seed: 0,
 * });
 * console.log(metrics.auc); // { value: 0.97, interval: { low: 0.91, high: 0.99 } }
 * ```
 */
export async function evaluationReport(
  { images, failures }: Evaluation,
  { classes, rois, annotated = null, seed }: {
    classes: readonly string[];
    rois: RoiSource | undefined;
    annotated?: AnnotatedCount | null;
    seed: number;
  },
): Promise<EvaluationReport> {
  const hits = rois ? await allHits(images, rois) : [];
  const groups = groupsOf(images);
  return {
    ...labelReport(images, { classes, annotated, failures, seed }),
    attention: summariseHits(hits.filter((found) => found !== null), {
      seed,
      groups: groups.filter((_, i) => hits[i]),
    }),
  };
}

/**
 * The report of images of which only the labels are known, not where anything
 * looked: its `attention` is null.
 *
 * @throws {RangeError} If there are no images.
 */
export function labelReport(
  images: readonly LabelledImage[],
  { classes, annotated = null, failures = [], seed }: {
    classes: readonly string[];
    annotated?: AnnotatedCount | null;
    failures?: readonly FailedImage[];
    seed: number;
  },
): EvaluationReport {
  const scored = scoredImages(images, classes);
  return {
    images: images.length,
    failures: failures.map(({ entry, error }) => ({
      image: entry.image,
      error: error.message,
    })),
    classes,
    ...figuresOf(scored, { seed, groups: groupsOf(images) }),
    attention: null,
    annotated,
  };
}

/**
 * The report of groups, whose intervals are over groups.
 *
 * @throws {RangeError} If there are none, or one has no label.
 */
export function groupReport(
  groups: readonly PredictedGroup[],
  { by, classes, seed }: {
    by: GroupPooling;
    classes: readonly string[];
    seed: number;
  },
): GroupReport {
  const scored = {
    labels: groups.map(({ label }) => classes.indexOf(label ?? "")),
    probabilities: groups.map(({ classification: { probabilities } }) =>
      classes.map((name) => probabilities[name]!)
    ),
  };
  return { by, groups: groups.length, ...figuresOf(scored, { seed }) };
}

/** Metrics with their intervals, and the confusion matrix. */
function figuresOf(
  scored: Scored,
  options: ResampleOptions,
): Pick<EvaluationReport, "metrics" | "confusion"> {
  const { confusion, ...values } = evaluateMetrics(scored);
  const intervals = metricIntervals(scored, options);
  const metrics = Object.fromEntries(
    Object.entries(values).map(([name, value]) => [name, {
      value,
      interval: intervals[name as keyof MetricValues],
    }]),
  ) as EvaluationReport["metrics"];
  return { metrics, confusion };
}

/** What counts as one in the intervals: a patient, or an image of none. */
export function groupsOf(images: readonly LabelledImage[]): string[] {
  return images.map(({ entry }, i) => entry.group ?? `image ${i}`);
}

/** Hits of each image; null where it has no objects of its label. */
async function allHits(
  images: readonly EvaluatedImage[],
  rois: RoiSource,
): Promise<(AttentionHits | null)[]> {
  const hits: (AttentionHits | null)[] = [];
  for (const { entry, classification: { image, subTiles } } of images) {
    const all = await rois.of(entry);
    const objects = all.filter((object) => rois.relevant(entry, object));
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

/** An image of a table, labelled or not, and the class it was given. */
export interface PredictedImage {
  /** Its line of the table. */
  entry: Pick<TableImage, "image" | "label" | "group">;
  /** Its result. */
  classification: Pick<Classification, "label" | "probabilities">;
}

/**
 * A CSV table with one classified image a line; groups and labels if there are
 * any, and of numbers no probabilities.
 */
export function predictionTable(
  images: readonly PredictedImage[],
  classes: readonly string[],
): string {
  const known = (["group", "label"] as const)
    .filter((column) =>
      images.some(({ entry }) => entry[column] !== undefined)
    );
  const [first] = images;
  const shares = first?.classification.probabilities ?? {};
  const names = first ? classes.filter((name) => name in shares) : classes;
  return formatTable(
    ["image", ...known, "predicted", ...names.map((name) => `p(${name})`)],
    images.map(({ entry, classification: { label, probabilities } }) => [
      entry.image,
      ...known.map((column) => entry[column]),
      label,
      ...names.map((name) => probabilities[name]!.toFixed(6)),
    ]),
  );
}
