/**
 * Calibrated probabilities: softmax(z / T + b e_1), with z the logits, T one
 * temperature for all images and b a bias of the second class of two. It is the
 * bias-corrected temperature scaling of Alexandari, Kundaje & Shrikumar (ICML
 * 2020); for b = 0 the temperature scaling of Guo et al. (ICML 2017).
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { z } from "zod";

/** What turns a model's logits into calibrated probabilities. */
export interface Calibration {
  /** T: below 1 the network is too timid, above 1 too sure. */
  temperature: number;
  /** b: added to the second of two classes after the division; 0 moves no label. */
  bias: number;
  /** Validation images that it was fitted on. */
  images: number;
  /** N: sub-tiles drawn an image when it was fitted. */
  samples: number;
}

/** The calibration as a checkpoint holds it. */
export const calibrationSchema: z.ZodType<Calibration> = z.strictObject({
  temperature: z.number().positive(),
  bias: z.number(),
  images: z.number().int().positive(),
  samples: z.number().int().positive(),
});

/**
 * The probabilities of the classes, `[images, classes]`.
 *
 * @param logits `[images, classes]`.
 * @param calibration null: their plain softmax.
 */
export function calibratedSoftmax(
  logits: tf.Tensor2D,
  calibration: Calibration | null,
): tf.Tensor2D {
  if (calibration === null) return tf.softmax(logits);
  const { temperature, bias } = calibration;
  return tf.tidy(() => {
    const biases = Array.from(
      { length: logits.shape[1] },
      (_, c) => c === 1 ? bias : 0,
    );
    return tf.softmax(
      tf.add(tf.div(logits, temperature), tf.tensor1d(biases)) as tf.Tensor2D,
    );
  });
}
