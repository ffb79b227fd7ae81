/**
 * The entropy of an attention map, as in the regulariser (Kong & Henao, CVPR
 * 2022, section 2.3).
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";

// The paper's constant inside the logarithm.
const EPSILON = 1e-6;

/** Contribution of one location to the negative entropy. */
export function entropyTerm(p: number): number {
  return p * Math.log(p + EPSILON);
}

/** Sums over the locations of one map. */
export interface Entropy {
  /** sum p log(p + 1e-6): the regulariser's term. */
  negative: number;
  /** -sum p log p, nats. */
  entropy: number;
}

/** Both sums over a map in memory. */
export function entropyOf(attention: Float32Array): Entropy {
  const sums: Entropy = { negative: 0, entropy: 0 };
  for (const p of attention) {
    sums.negative += entropyTerm(p);
    if (p > 0) sums.entropy -= p * Math.log(p);
  }
  return sums;
}

/** The derivative of {@linkcode entropyTerm}. */
export function entropySlope(p: number): number {
  return Math.log(p + EPSILON) + p / (p + EPSILON);
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
    const log = tf.log(tf.add(p, EPSILON));
    (save as tf.GradSaveFunc)([p, log, rowWeights]);
    return {
      value: tf.sum(tf.mul(tf.mul(p, log), rowWeights)) as tf.Scalar,
      gradFunc: (dy, saved) => {
        const [p, log, rowWeights] = saved as tf.Tensor2D[];
        const slope = tf.add(log!, tf.div(p!, tf.add(p!, EPSILON)));
        return tf.mul(tf.mul(slope, rowWeights!), dy as tf.Scalar);
      },
    };
  });
  return operation(attention) as tf.Scalar;
}
