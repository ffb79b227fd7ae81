/**
 * Trains as the configuration says: step by step on a few draws of each image, or
 * on all locations.
 *
 * @module
 */
import type { FeatureCache } from "../../encoder/cache.ts";
import { trainDense } from "../dense/train_dense.ts";
import {
  train,
  type TrainingData,
  type TrainOptions,
  type TrainResult,
} from "../trainer.ts";

/** Options of {@linkcode trainAsConfigured}. */
export interface TrainingOptions extends TrainOptions {
  /** Keeps frozen features on disk, for `training.dense`. */
  featureCache?: FeatureCache | undefined;
}

/**
 * Trains a run, as `train` or `trainDense`.
 *
 * @throws {ConfigError} If the locations are no grid, or too many.
 * @throws {TrainingError} If the loss is no longer a number.
 * @throws {ImageError} If an image cannot be read.
 * @throws {EncoderError} If the file of frozen features cannot be used.
 */
export async function trainAsConfigured(
  data: TrainingData,
  options: TrainingOptions,
): Promise<TrainResult> {
  return options.config.training.dense === null
    ? await train(data, options)
    : await trainDense(data, options);
}
