/**
 * The scores of each target: figures of an epoch, and the metrics of a report.
 *
 * @module
 */
import { goalOf } from "../../data/manifest.ts";
import type { Calibration } from "../../model/calibration.ts";
import { coxLoss } from "../../model/targets/cox.ts";
import type { TargetFit } from "../../model/targets/fit.ts";
import type { TargetName } from "../../target.ts";
import { fitCalibration } from "../calibration.ts";
import { type LabelledImage, scoredImages } from "../evaluate.ts";
import { evaluateMetrics } from "../metrics.ts";
import { countedConcordance, type RiskScores } from "./concordance.ts";
import {
  averagePrecisionOf,
  chosenThresholds,
  type LabelMetrics,
  type LabelScores,
  labelsMetrics,
} from "./labels.ts";
import {
  bootstrapped,
  meanOf,
  type Metrics,
  type Resampling,
} from "./metric.ts";
import {
  confusionOf,
  gradeMetrics,
  type GradeScores,
  ordinalMetrics,
} from "./ordinal.ts";
import { countedValues, valueMetrics, type ValueScores } from "./value.ts";

type Images = readonly LabelledImage[];

/** Figures by name, in the order of the log; `loss` chooses the epoch. */
type Figures = { loss: number } & Record<string, number | null>;

/** What is fitted on validation images. */
export interface ValidationFit {
  calibration: Calibration | null;
  /** Nothing if omitted. */
  fitted?: TargetFit;
}

/** The metrics of a target other than classes. */
export interface TargetMetrics {
  /** Of all images, by name. */
  metrics: Metrics;
  /** Of several labels: those of each. */
  byLabel?: Record<string, LabelMetrics>;
  /** Of grades: images of grade [true][predicted]. */
  confusion?: number[][];
}

/** The scores of a target. */
interface Scoring {
  epoch: (images: Images, classes: readonly string[]) => Figures;
  /** Fits on validation images, drawn `samples` times each. */
  fit: (
    images: Images,
    classes: readonly string[],
    samples: number,
  ) => ValidationFit;
}

/** That of a target with a report of its own. */
interface TargetScoring extends Scoring {
  report: (
    images: Images,
    classes: readonly string[],
    resampling: Resampling,
  ) => TargetMetrics;
}

/** Targets other than classes, whose report is eval/report.ts's. */
export type OtherTarget = Exclude<TargetName, "classes">;

const nothing = (): ValidationFit => ({ calibration: null });

const CLASSES: Scoring = {
  epoch(images, classes) {
    const { logLoss, accuracy, auc } = evaluateMetrics(
      scoredImages(images, classes),
    );
    return { loss: logLoss, accuracy, auc };
  },
  fit: (images, classes, samples) => ({
    calibration: fitCalibration(scoredImages(images, classes), samples),
  }),
};

const OTHERS: Record<OtherTarget, TargetScoring> = {
  labels: {
    epoch(images, classes) {
      const { goals, probabilities } = labelScores(images, classes);
      const ofLabels = classes.map((_, place) => {
        const labels = goals.map((goal) => goal[place]!);
        const own = probabilities.map((row) => row[place]!);
        const { logLoss, auc } = evaluateMetrics({
          labels,
          probabilities: own.map((p) => [1 - p, p]),
        });
        return { logLoss, auc, precision: averagePrecisionOf(labels, own) };
      });
      return {
        loss: meanOf(ofLabels.map(({ logLoss }) => logLoss))!,
        auc: meanOf(ofLabels.map(({ auc }) => auc)),
        averagePrecision: meanOf(ofLabels.map(({ precision }) => precision)),
      };
    },
    fit: (images, classes) => ({
      calibration: null,
      fitted: {
        thresholds: chosenThresholds(labelScores(images, classes)),
      },
    }),
    report: (images, classes, resampling) =>
      labelsMetrics(labelScores(images, classes), resampling),
  },
  value: {
    epoch(images) {
      const scores = valueScores(images);
      const { mae, spearman, r2 } = countedValues(scores)(each(images));
      return { loss: mae!, mae, spearman, r2 };
    },
    fit: nothing,
    report: (images, _, resampling) => ({
      metrics: valueMetrics(valueScores(images), resampling),
    }),
  },
  ordinal: {
    epoch(images, classes) {
      const { logLoss } = evaluateMetrics(scoredImages(images, classes));
      const { accuracy, kappa, mae } = gradeMetrics(
        confusionOf(gradeScores(images, classes)),
      );
      return { loss: logLoss, accuracy, kappa, mae };
    },
    fit: nothing,
    report(images, classes, resampling) {
      const scores = gradeScores(images, classes);
      return {
        metrics: ordinalMetrics(scores, resampling),
        confusion: confusionOf(scores),
      };
    },
  },
  survival: {
    epoch(images) {
      const scores = riskScores(images);
      const { losses } = coxLoss(scores.risks, scores.goals);
      return {
        loss: losses.reduce((sum, loss) => sum + loss, 0),
        concordance: countedConcordance(scores)(each(images)),
      };
    },
    fit: nothing,
    report(images, _, resampling) {
      const counted = countedConcordance(riskScores(images));
      return {
        metrics: bootstrapped(
          images.length,
          ["concordance"],
          (counts) => ({ concordance: counted(counts) }),
          resampling,
        ),
      };
    },
  },
};

/** Metrics of the targets in words. */
export const TARGET_METRIC_NAMES: Readonly<Record<string, string>> = {
  accuracy: "accuracy",
  auc: "AUC",
  averagePrecision: "average precision",
  concordance: "concordance index",
  exact: "all labels right",
  f1: "F1",
  kappa: "weighted kappa",
  mae: "mean absolute error",
  r2: "R2",
  spearman: "Spearman",
};

/** Metrics that are no shares in [0, 1]. */
export const UNBOUNDED_METRICS: ReadonlySet<string> = new Set([
  "mae",
  "r2",
  "kappa",
  "spearman",
]);

function scoringOf(target: TargetName): Scoring {
  return target === "classes" ? CLASSES : OTHERS[target];
}

/** Loss and metrics of an epoch, as the log names them: with `name` before each. */
export function epochFiguresOf(
  target: TargetName,
  images: Images,
  classes: readonly string[],
  name: string,
): Record<string, number | null> {
  return Object.fromEntries(
    Object.entries(scoringOf(target).epoch(images, classes)).map((
      [key, value],
    ) => [`${name}${key[0]!.toUpperCase()}${key.slice(1)}`, value]),
  );
}

/** What is fitted on validation images that were drawn `samples` times each. */
export function fitOnValidation(
  target: TargetName,
  images: Images,
  { classes, samples }: { classes: readonly string[]; samples: number },
): ValidationFit {
  return scoringOf(target).fit(images, classes, samples);
}

/** The metrics of a target other than classes. */
export function targetMetrics(
  target: OtherTarget,
  images: Images,
  { classes, ...resampling }: Resampling & { classes: readonly string[] },
): TargetMetrics {
  return OTHERS[target].report(images, classes, resampling);
}

function each(images: Images): Int32Array {
  return new Int32Array(images.length).fill(1);
}

function labelScores(images: Images, names: readonly string[]): LabelScores {
  return {
    names,
    goals: images.map(({ entry }) => goalOf(entry)),
    probabilities: images.map(({ classification: { probabilities } }) =>
      names.map((name) => probabilities[name]!)
    ),
    said: images.map(({ classification: { labels = [] } }) =>
      names.map((name) => labels.includes(name))
    ),
  };
}

function valueScores(images: Images): ValueScores {
  return {
    goals: images.map(({ entry }) => goalOf(entry)[0]!),
    values: images.map(({ classification }) => classification.value!),
  };
}

function gradeScores(images: Images, classes: readonly string[]): GradeScores {
  return {
    grades: classes.length,
    goals: images.map(({ entry }) => goalOf(entry)[0]!),
    predicted: images.map(({ classification }) =>
      classes.indexOf(classification.label)
    ),
  };
}

function riskScores(images: Images): RiskScores {
  return {
    goals: images.map(({ entry }) => goalOf(entry)),
    risks: images.map(({ classification }) => classification.risk!),
  };
}
