/**
 * The term of the training loss that looks at the logits of sub-tiles, with its own
 * gradient. That of images is their target's (lib/model/targets).
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import type { RowLosses } from "../../model/targets/target.ts";
import type { Goal } from "../../target.ts";

/** What a micro-batch is to be, and its place in the batch. */
export interface Labels {
  /** What the label of each image of the look says. */
  goals: readonly Goal[];
  /** Images of the whole batch. */
  of: number;
  /** The loss of each, where it depends on all images of the batch. */
  given?: RowLosses | undefined;
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
