/**
 * Any of several labels, or none: a sigmoid and a binary cross-entropy each, whose
 * mean over the labels is the loss of an image.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { type Goal, LABEL_SEPARATOR } from "../../target.ts";
import type { RowLosses, Target, TargetModel, Wanted } from "./target.ts";

/** Probability above which an image has a label, if none was chosen. */
export const DEFAULT_THRESHOLD = 0.5;

/** The target of a model of several labels. */
export function labelsTarget({ classes, fitted }: TargetModel): Target {
  const places = Array.from(classes.keys());
  return {
    name: "labels",
    logits: classes,
    outputs: places,
    shown: (goal) => places.filter((place) => goal[place] === 1),
    weight: () => 1,
    loss: (logits, wanted) => binaryCrossEntropy(logits, wanted),
    losses: (rows, wanted) => binaryRowLosses(rows, wanted),
    activated: (logits) => tf.sigmoid(logits),
    activatedRow: (logits) => Float64Array.from(logits, sigmoid),
    decide(activated) {
      const probabilities = Array.from(activated);
      const labels = classes.filter((_, place) =>
        probabilities[place]! >
          (fitted?.thresholds?.[place] ?? DEFAULT_THRESHOLD)
      );
      return { label: labels.join(LABEL_SEPARATOR), probabilities, labels };
    },
    right: binaryRight,
  };
}

/** Share of the answers of a row that are on the right side of 0. */
export function binaryRight(logits: ArrayLike<number>, goal: Goal): number {
  const right = goal.filter((wanted, place) =>
    (logits[place]! > 0) === (wanted === 1)
  );
  return right.length / goal.length;
}

/**
 * Weighted sum over rows of the mean binary cross-entropy of their answers, with
 * goals of 0 and 1, or, with smoothing, of `smoothing` and 1 - `smoothing`.
 *
 * @param logits `[G, answers]`.
 */
export function binaryCrossEntropy(
  logits: tf.Tensor2D,
  { goals, weights, smoothing = 0 }: Wanted,
): tf.Scalar {
  const shape = logits.shape;
  const table = (value: (row: number, place: number) => number) =>
    tf.tensor2d(
      Float32Array.from(
        { length: shape[0] * shape[1] },
        (_, i) => value(Math.floor(i / shape[1]), i % shape[1]),
      ),
      shape,
    );
  const wanted = () =>
    table((row, place) => smoothed(goals[row]![place]!, smoothing));
  const shares = () => table((row) => weights[row]! / shape[1]);
  return tf.customGrad((input, save) => {
    const z = input as tf.Tensor2D;
    (save as tf.GradSaveFunc)([z]);
    const costs = tf.sub(tf.softplus(z), tf.mul(z, wanted()));
    return {
      value: tf.sum(tf.mul(costs, shares())) as tf.Scalar,
      gradFunc: (dy, saved) =>
        tf.mul(
          tf.mul(tf.sub(tf.sigmoid(saved[0]!), wanted()), shares()),
          dy as tf.Scalar,
        ),
    };
  })(logits) as tf.Scalar;
}

/** The same in main memory. */
export function binaryRowLosses(
  rows: readonly ArrayLike<number>[],
  { goals, weights, smoothing = 0 }: Wanted,
): RowLosses {
  const gradients: Float64Array[] = [];
  const losses = rows.map((row, i) => {
    const share = weights[i]! / row.length;
    let loss = 0;
    gradients.push(Float64Array.from(row, (z, place) => {
      const wanted = smoothed(goals[i]![place]!, smoothing);
      loss += share * (softplus(z) - z * wanted);
      return share * (sigmoid(z) - wanted);
    }));
    return loss;
  });
  return { losses, gradients };
}

function smoothed(goal: number, smoothing: number): number {
  return goal === 1 ? 1 - smoothing : smoothing;
}

function softplus(z: number): number {
  return Math.max(z, 0) + Math.log1p(Math.exp(-Math.abs(z)));
}

/** 1 / (1 + exp(-z)). */
export function sigmoid(z: number): number {
  return 1 / (1 + Math.exp(-z));
}
