/**
 * The entropy of an attention map, as in the regulariser (Kong & Henao, CVPR
 * 2022, section 2.3).
 *
 * @module
 */
import type * as tf from "@tensorflow/tfjs-core";
import {
  entropySums,
  entropyTerm,
  weightedEntropy,
} from "../../kernels/entropy/entropy.ts";

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

/**
 * The regulariser: sum over rows of w_r sum_i p_i log(p_i + 1e-6), the negative
 * entropy of each attention map. Lower is broader.
 *
 * @param attention `[rows, locations]`.
 * @param weights w, `[rows]`.
 */
export function negativeEntropy(
  attention: tf.Tensor2D,
  weights: readonly number[],
): tf.Scalar {
  return weightedEntropy(attention, entropySums(attention), weights);
}
