/**
 * The report of an evaluation of any target.
 *
 * @module
 */
import type { RoiSource } from "../../data/rois.ts";
import type { AnnotatedCount } from "../../model/checkpoint.ts";
import type { TargetName } from "../../target.ts";
import type { Evaluation, LabelledImage } from "../evaluate.ts";
import {
  type EvaluationReport,
  evaluationReport,
  groupsOf,
  labelReport,
} from "../report.ts";
import {
  type OtherTarget,
  type TargetMetrics,
  targetMetrics,
} from "./scoring.ts";

/** Figures of an evaluation of a target other than classes. */
export interface TargetReport
  extends TargetMetrics, Pick<EvaluationReport, "images" | "failures"> {
  /** What its labels say. */
  target: OtherTarget;
  /** Names of the outputs. */
  classes: readonly string[];
  /** Hits of annotated objects are those of classes. */
  attention: null;
  /** Models of these targets learn from labels alone. */
  annotated: null;
}

/** Figures of an evaluation. */
export type AnyReport = EvaluationReport | TargetReport;

/** Options of a report. */
export interface AnyReportOptions {
  /** That of the configuration. */
  target: TargetName;
  /** Names of the model. */
  classes: readonly string[];
  /** Annotated objects; of classes alone. */
  rois: RoiSource | undefined;
  /** Those that the model was trained on. */
  annotated?: AnnotatedCount | null;
  /** Seed of the bootstrap. */
  seed: number;
}

/** True for the report of a target other than classes. */
export function isTargetReport(report: AnyReport): report is TargetReport {
  return "target" in report;
}

/**
 * The report of an evaluation: metrics with 95 % intervals, which count images of
 * one group (patient) as dependent.
 *
 * @throws {RangeError} If no image was classified.
 *
 * @example
 * ```ts
 * import { evaluate, ImageCache, readManifest, reportOfTarget } from "@zoomin/zoomin";
 * import { readCheckpoint, startEngine } from "@zoomin/zoomin";
 *
 * await startEngine("auto");
 * const { model } = await readCheckpoint("run");
 * const { classes, config: { target } } = model;
 * const { entries } = await readManifest("manifest.csv", { classes, target });
 * const cache = new ImageCache(2 ** 28);
 * const evaluation = await evaluate(model, entries, { cache, seed: 0 });
 * const options = { target, classes, rois: undefined, seed: 0 };
 * console.log((await reportOfTarget(evaluation, options)).metrics);
 * ```
 */
export async function reportOfTarget(
  evaluation: Evaluation,
  { target, ...options }: AnyReportOptions,
): Promise<AnyReport> {
  if (target === "classes") return await evaluationReport(evaluation, options);
  return {
    ...targetReport(evaluation.images, { target, ...options }),
    failures: evaluation.failures.map(({ entry, error }) => ({
      image: entry.image,
      error: error.message,
    })),
  };
}

/** That of images of which only the answers are known. */
export function answersReport(
  images: readonly LabelledImage[],
  { target, classes, seed }: Pick<
    AnyReportOptions,
    "target" | "classes" | "seed"
  >,
): AnyReport {
  return target === "classes"
    ? labelReport(images, { classes, seed })
    : targetReport(images, { target, classes, seed });
}

function targetReport(
  images: readonly LabelledImage[],
  { target, classes, seed }: {
    target: OtherTarget;
    classes: readonly string[];
    seed: number;
  },
): TargetReport {
  const groups = groupsOf(images);
  return {
    target,
    images: images.length,
    failures: [],
    classes,
    ...targetMetrics(target, images, { classes, seed, groups }),
    attention: null,
    annotated: null,
  };
}
