/**
 * One class of several: softmax and cross-entropy.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { weightedCrossEntropy } from "../../../kernels/loss/cross_entropy.ts";
import { calibratedSoftmax } from "../calibration.ts";
import type { Decision, Target, TargetModel, Wanted } from "./target.ts";

/** The target of a model that tells classes apart. */
export function classesTarget(
  { config: { referenceClass, network }, classes }: TargetModel,
): Target {
  const all = Array.from(classes.keys());
  const background = classes.indexOf(referenceClass ?? "");
  const outputs = network.head === "evidence"
    ? all.filter((place) => place !== background)
    : all;
  return {
    name: "classes",
    logits: classes,
    outputs,
    shown: ([classIndex]) =>
      outputs.indexOf(classIndex!) < 0 ? [] : [outputs.indexOf(classIndex!)],
    weight: ([classIndex], classWeights) => classWeights[classIndex!]!,
    loss: (logits, { goals, ...wanted }) =>
      crossEntropy(logits, { ...wanted, targets: goals.map(([c]) => c!) }),
    losses: rowLosses,
    activated: calibratedSoftmax,
    activatedRow: probabilitiesOf,
    decide: (probabilities) => decideClass(probabilities, classes),
    right(logits, [classIndex]) {
      const values = Array.from(logits);
      return values.indexOf(Math.max(...values)) === classIndex ? 1 : 0;
    },
  };
}

/** The most probable class; of several the first. */
export function decideClass(
  probabilities: ArrayLike<number>,
  classes: readonly string[],
): Decision {
  const values = Array.from(probabilities);
  return {
    label: classes[values.indexOf(Math.max(...values))]!,
    probabilities: values,
  };
}

/** Class of each row, and its weight. */
export interface WantedClasses extends Omit<Wanted, "goals"> {
  /** Class index of each row, `[G]`. */
  targets: readonly number[];
}

/**
 * Weighted sum of cross-entropies: sum_i w_i (-log softmax(logits_i)[t_i]), or,
 * with smoothing, against 1 - smoothing at t_i and the rest spread over the other
 * classes.
 *
 * The contrastive term is the same with the reference class as target: places
 * that the network does not look at must look like background.
 *
 * @param logits `[G, classes]`.
 */
export function crossEntropy(
  logits: tf.Tensor2D,
  wanted: WantedClasses,
): tf.Scalar {
  return weightedCrossEntropy(
    logits,
    weightedTargets(wanted, logits.shape[1]),
  );
}

/** w_i spread over the classes that row i is to be: `[G, classes]`. */
function weightedTargets(
  { targets, weights, smoothing = 0 }: WantedClasses,
  classes: number,
): tf.Tensor2D {
  const table = new Float32Array(targets.length * classes);
  targets.forEach((target, row) => {
    const weight = weights[row]!, start = row * classes;
    table.fill(weight * smoothing / (classes - 1), start, start + classes);
    table[start + target] = weight * (1 - smoothing);
  });
  return tf.tensor2d(table, [targets.length, classes]);
}

/** The same in main memory. */
const rowLosses: Target["losses"] = (
  rows,
  { goals, weights, smoothing = 0 },
) => {
  const gradients: Float64Array[] = [];
  const losses = rows.map((row, i) => {
    const weight = weights[i]!;
    const probabilities = probabilitiesOf(row);
    let loss = 0;
    gradients.push(probabilities.map((p, c) => {
      const wanted = c === goals[i]![0]
        ? 1 - smoothing
        : smoothing / (probabilities.length - 1);
      loss -= weight * wanted * Math.log(Math.max(p, Number.MIN_VALUE));
      return weight * (p - wanted);
    }));
    return loss;
  });
  return { losses, gradients };
};

/** Softmax. */
export function probabilitiesOf(logits: ArrayLike<number>): Float64Array {
  const values = Float64Array.from(logits);
  const most = Math.max(...values);
  const weights = values.map((logit) => Math.exp(logit - most));
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return weights.map((weight) => weight / sum);
}
