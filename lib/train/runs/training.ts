/**
 * Trains as the configuration says: step by step on a few draws of each image, or
 * on all locations.
 *
 * @module
 */
import type { LocationFeatures } from "../dense/locations.ts";
import { trainDense } from "../dense/train_dense.ts";
import {
  train,
  type TrainingData,
  type TrainOptions,
  type TrainResult,
} from "../trainer.ts";

/** Options of {@linkcode trainAsConfigured}. */
export interface TrainingOptions extends TrainOptions {
  /** Reads frozen features, for `training.dense`. */
  features?: LocationFeatures | undefined;
}

/**
 * Trains a run, as `train` or `trainDense`.
 *
 * @throws {ConfigError} If the locations are no grid, or too many.
 * @throws {TrainingError} If the loss is no longer a number.
 * @throws {ImageError} If an image cannot be read.
 */
export async function trainAsConfigured(
  data: TrainingData,
  { features, ...options }: TrainingOptions,
): Promise<TrainResult> {
  if (options.config.training.dense === null) return await train(data, options);
  if (features) return await trainDense(data, { ...options, features });
  throw new TypeError("Cannot train on all locations without their features");
}
