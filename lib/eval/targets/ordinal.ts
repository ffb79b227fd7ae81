/**
 * Metrics of grades in order, from the confusion n_ij of true and predicted grades:
 *
 *     accuracy  share of images of the right grade
 *     kappa     1 - sum w_ij n_ij / sum w_ij e_ij with w_ij = (i - j)^2 and e_ij the
 *               counts by chance: quadratic weighted kappa; Cohen, Psychol. Bull. 70
 *               (1968)
 *     mae       mean of |i - j|, grades
 *
 * @module
 */
import { metricIntervals } from "../intervals.ts";
import { bootstrapped, type Metrics, type Resampling } from "./metric.ts";

/** True grades and predicted ones, by place. */
export interface GradeScores {
  grades: number;
  goals: readonly number[];
  predicted: readonly number[];
}

const METRICS = ["accuracy", "kappa", "mae"] as const;

type GradeMetrics = Record<(typeof METRICS)[number], number | null>;

/** The metrics with their intervals. */
export function ordinalMetrics(
  scores: GradeScores,
  resampling: Resampling,
): Metrics {
  const { grades, goals, predicted } = scores;
  const found = bootstrapped(
    goals.length,
    METRICS,
    (counts) => gradeMetrics(confusionOf(scores, counts)),
    resampling,
  );
  const { accuracy } = metricIntervals({
    labels: goals,
    probabilities: predicted.map((grade) =>
      Array.from({ length: grades }, (_, one) => one === grade ? 1 : 0)
    ),
  }, resampling);
  return {
    ...found,
    accuracy: { ...found.accuracy, interval: accuracy },
  };
}

/** Images of grade [true][predicted], of which image i counts `counts[i]` times. */
export function confusionOf(
  { grades, goals, predicted }: GradeScores,
  counts: ArrayLike<number> = goals.map(() => 1),
): number[][] {
  const confusion = Array.from(
    { length: grades },
    () => new Array<number>(grades).fill(0),
  );
  goals.forEach((goal, i) => confusion[goal]![predicted[i]!]! += counts[i]!);
  return confusion;
}

/** The metrics of a confusion; kappa is null if chance makes no error. */
export function gradeMetrics(
  confusion: readonly (readonly number[])[],
): GradeMetrics {
  const rows = confusion.map(sum);
  const columns = confusion.map((_, j) => sum(confusion.map((row) => row[j]!)));
  const total = sum(rows);
  let right = 0, distance = 0, observed = 0, expected = 0;
  confusion.forEach((row, i) =>
    row.forEach((count, j) => {
      if (i === j) right += count;
      distance += Math.abs(i - j) * count;
      observed += (i - j) ** 2 * count;
      expected += (i - j) ** 2 * rows[i]! * columns[j]! / total;
    })
  );
  return {
    accuracy: right / total,
    kappa: expected > 0 ? 1 - observed / expected : null,
    mae: distance / total,
  };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
