/**
 * The terms of the training loss that look at logits (Kong & Henao, CVPR 2022,
 * section 2.3), with their own gradient.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";

/**
 * Weighted sum of cross-entropies: sum_i w_i (-log softmax(logits_i)[t_i]).
 *
 * The contrastive term is the same with the reference class as target: places
 * that the network does not look at must look like background.
 *
 * @param logits `[G, classes]`.
 * @param targets class index of each row, `[G]`.
 * @param weights w, `[G]`.
 */
export function crossEntropy(
  logits: tf.Tensor2D,
  { targets, weights }: { targets: readonly number[]; weights: number[] },
): tf.Scalar {
  const classes = logits.shape[1];
  const operation = tf.customGrad((input, save) => {
    const probabilities = tf.softmax(input as tf.Tensor2D);
    const logs = tf.logSoftmax(input as tf.Tensor2D);
    const wanted = weightedTargets({ targets, weights }, classes);
    (save as tf.GradSaveFunc)([probabilities]);
    return {
      value: tf.neg(tf.sum(tf.mul(logs, wanted))) as tf.Scalar,
      gradFunc: (dy, saved) => {
        const share = tf.mul(
          saved[0]!,
          tf.tensor2d(weights, [weights.length, 1]),
        );
        const wanted = weightedTargets({ targets, weights }, classes);
        return tf.mul(tf.sub(share, wanted), dy as tf.Scalar);
      },
    };
  });
  return operation(logits) as tf.Scalar;
}

/** w_i where row i's target is, 0 elsewhere: `[G, classes]`. */
function weightedTargets(
  { targets, weights }: { targets: readonly number[]; weights: number[] },
  classes: number,
): tf.Tensor2D {
  const table = new Float32Array(targets.length * classes);
  targets.forEach((target, row) => {
    table[row * classes + target] = weights[row]!;
  });
  return tf.tensor2d(table, [targets.length, classes]);
}
