/**
 * Logistic regression with an L2 penalty, for two classes and more: the minimum
 * of the sum of the log losses + strength / 2 |weights|^2, as scikit-learn has it
 * with C = 1 / strength.
 *
 * @module
 */
import { minimise } from "./lbfgs.ts";

/** Weights of one logit a class; with two classes only that of the second. */
export interface LogisticRegression {
  /** `[outputs, channels]`. */
  weight: Float64Array;
  /** `[outputs]`. */
  bias: Float64Array;
  /** Number of classes. */
  classes: number;
}

/** Examples with their classes. */
export interface LabelledRows {
  /** `[rows][channels]`. */
  rows: readonly Float64Array[];
  /** Index of the class of each row. */
  labels: readonly number[];
  /** Weight of the loss of each row; 1 if omitted. */
  weights?: readonly number[];
}

/** Options of {@linkcode fitLogisticRegression}. */
export interface FitOptions {
  classes: number;
  /** Strength of the penalty; the biases have none. */
  strength: number;
}

const TOLERANCE = 1e-8; // of the gradient, a row

/** Fits a regression. */
export function fitLogisticRegression(
  examples: LabelledRows,
  { classes, strength }: FitOptions,
): LogisticRegression {
  const { rows } = examples;
  const channels = rows[0]!.length;
  const outputs = classes === 2 ? 1 : classes;
  const regressionAt = (x: Float64Array): LogisticRegression => ({
    weight: x.subarray(0, outputs * channels),
    bias: x.subarray(outputs * channels),
    classes,
  });
  const x = minimise(
    (x) => penalisedLoss(regressionAt(x), examples, strength),
    new Float64Array(outputs * (channels + 1)),
    TOLERANCE * rows.length,
  );
  return regressionAt(x);
}

/** The sum of the log losses + the penalty, and its gradient. */
function penalisedLoss(
  regression: LogisticRegression,
  { rows, labels, weights }: LabelledRows,
  strength: number,
): { value: number; gradient: Float64Array } {
  const { weight, bias, classes } = regression;
  const gradient = new Float64Array(weight.length + bias.length);
  let value = 0;
  weight.forEach((w, i) => {
    value += strength / 2 * w ** 2;
    gradient[i] = strength * w;
  });
  rows.forEach((row, i) => {
    const logs = logProbabilities(regression, row);
    const share = weights?.[i] ?? 1;
    value -= share * logs[labels[i]!]!;
    bias.forEach((_, output) => {
      const index = output + classes - bias.length;
      const error = share *
        (Math.exp(logs[index]!) - (labels[i] === index ? 1 : 0));
      const at = output * row.length;
      row.forEach((x, channel) => gradient[at + channel]! += error * x);
      gradient[weight.length + output]! += error;
    });
  });
  return { value, gradient };
}

/** Logarithms of the probabilities of the classes of a row. */
export function logProbabilities(
  { weight, bias, classes }: LogisticRegression,
  row: Float64Array,
): Float64Array {
  const logits = new Float64Array(classes); // the first of two stays 0
  bias.forEach((value, output) => {
    const at = output * row.length;
    row.forEach((x, channel) => value += weight[at + channel]! * x);
    logits[output + classes - bias.length] = value;
  });
  const largest = Math.max(...logits);
  const sum = logits.reduce((sum, z) => sum + Math.exp(z - largest), 0);
  return logits.map((z) => z - largest - Math.log(sum));
}
