/**
 * The training loss (Kong & Henao, CVPR 2022, section 2.3), term by term, each
 * with its own gradient.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";

// The paper's constant inside the logarithm.
const ENTROPY_EPSILON = 1e-6;

/**
 * Weighted sum of cross-entropies: sum_i w_i (-log softmax(logits_i)[t_i]).
 *
 * The contrastive term is the same with the reference class as target: what
 * the network does not look at must look like background.
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

/**
 * The regulariser: sum over rows of w_r sum_i p_i log(p_i + 1e-6), the negative
 * entropy of each attention map. Lower is broader.
 *
 * @param attention `[rows, locations]`.
 * @param weights w, `[rows]`.
 */
export function negativeEntropy(
  attention: tf.Tensor2D,
  weights: number[],
): tf.Scalar {
  const operation = tf.customGrad((input, save) => {
    const p = input as tf.Tensor2D;
    const rowWeights = tf.tensor2d(weights, [weights.length, 1]);
    const log = tf.log(tf.add(p, ENTROPY_EPSILON));
    (save as tf.GradSaveFunc)([p, log, rowWeights]);
    return {
      value: tf.sum(tf.mul(tf.mul(p, log), rowWeights)) as tf.Scalar,
      gradFunc: (dy, saved) => {
        const [p, log, rowWeights] = saved as tf.Tensor2D[];
        const slope = tf.add(log!, tf.div(p!, tf.add(p!, ENTROPY_EPSILON)));
        return tf.mul(tf.mul(slope, rowWeights!), dy as tf.Scalar);
      },
    };
  });
  return operation(attention) as tf.Scalar;
}
