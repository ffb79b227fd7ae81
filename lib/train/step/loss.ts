/**
 * The terms of the training loss that look at logits (Kong & Henao, CVPR 2022,
 * section 2.3), with their own gradients.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { weightedCrossEntropy } from "../../../kernels/loss/cross_entropy.ts";

/** What rows of logits are to be. */
export interface Wanted {
  /** Class index of each row, `[G]`. */
  targets: readonly number[];
  /** w, `[G]`. */
  weights: number[];
  /** Share of the target that the other classes get; 0 if omitted. */
  smoothing?: number;
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
  wanted: Wanted,
): tf.Scalar {
  return weightedCrossEntropy(
    logits,
    weightedTargets(wanted, logits.shape[1]),
  );
}

/** w_i spread over the classes that row i is to be: `[G, classes]`. */
function weightedTargets(
  { targets, weights, smoothing = 0 }: Wanted,
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

/**
 * Weighted sum of softplus(z) = log(1 + exp(z)), the mean over classes: what
 * sub-tiles cost that show none of them.
 *
 * @param logits z, `[S, classes]`.
 * @param weights `[S]`.
 */
export function weightedSoftplus(
  logits: tf.Tensor2D,
  weights: readonly number[],
): tf.Scalar {
  const share = () =>
    tf.tensor2d(
      weights.map((weight) => weight / logits.shape[1]),
      [weights.length, 1],
    );
  return tf.customGrad((input, save) => {
    (save as tf.GradSaveFunc)([input as tf.Tensor2D]);
    return {
      value: tf.sum(
        tf.mul(tf.softplus(input as tf.Tensor2D), share()),
      ) as tf.Scalar,
      gradFunc: (dy, saved) =>
        tf.mul(tf.mul(tf.sigmoid(saved[0]!), share()), dy as tf.Scalar),
    };
  })(logits) as tf.Scalar;
}
