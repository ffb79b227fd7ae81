/**
 * A number: half the squared error of the value, standardised by the mean and the
 * deviation of the training images.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import type { Goal } from "../../target.ts";
import type { TargetFit } from "./fit.ts";
import type { Target, TargetModel } from "./target.ts";

// Digits of a value as a label: a float32 has no more.
const DIGITS = 6;

/** The target of a model of a number. */
export function valueTarget({ classes, fitted }: TargetModel): Target {
  const { mean, deviation } = fitted?.scale ?? { mean: 0, deviation: 1 };
  const standard = ([value]: Goal) => (value! - mean) / deviation;
  return {
    name: "value",
    logits: classes,
    outputs: [0],
    shown: () => [0],
    weight: () => 1,
    loss(logits, { goals, weights }) {
      const column = (values: readonly number[]) =>
        tf.tensor2d([...values], [values.length, 1]);
      return tf.customGrad((input, save) => {
        const error = tf.sub(input as tf.Tensor2D, column(goals.map(standard)));
        (save as tf.GradSaveFunc)([error]);
        const weighted = tf.mul(tf.mul(error, error), column(weights));
        return {
          value: tf.mul(tf.sum(weighted), 0.5) as tf.Scalar,
          gradFunc: (dy, saved) =>
            tf.mul(tf.mul(saved[0]!, column(weights)), dy as tf.Scalar),
        };
      })(logits) as tf.Scalar;
    },
    losses(rows, { goals, weights }) {
      const errors = rows.map((row, i) => row[0]! - standard(goals[i]!));
      return {
        losses: errors.map((error, i) => weights[i]! * error ** 2 / 2),
        gradients: errors.map((error, i) =>
          Float64Array.of(weights[i]! * error)
        ),
      };
    },
    activated: (logits) => tf.add(tf.mul(logits, deviation), mean),
    activatedRow: (logits) =>
      Float64Array.from(logits, (logit) => logit * deviation + mean),
    decide(activated) {
      const value = activated[0]!;
      return {
        label: String(Number(value.toPrecision(DIGITS))),
        probabilities: [],
        value,
      };
    },
    right: () => null,
  };
}

/** Mean and deviation of the values of training images. */
export function fitScale(goals: readonly Goal[]): TargetFit {
  const values = goals.map(([value]) => value!);
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) /
    values.length;
  return { scale: { mean, deviation: Math.sqrt(variance) || 1 } };
}
