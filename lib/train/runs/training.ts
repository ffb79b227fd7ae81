/**
 * Trains as the configuration says: step by step on a few draws of each image, or
 * on all locations.
 *
 * @module
 */
import { FeatureCache } from "../../encoder/cache.ts";
import {
  type FeatureSharing,
  SharedFeatureCache,
} from "../../encoder/shared_cache.ts";
import { trainDense } from "../dense/train_dense.ts";
import {
  train,
  type TrainingData,
  type TrainOptions,
  type TrainResult,
} from "../trainer.ts";

// Bound of a folder of frozen features, bytes.
const FEATURE_BYTES = 10e9;

/**
 * The frozen features in a folder, if there is one.
 *
 * @param remark told what the user should know of it.
 */
export function featureCache(
  folder: string | undefined,
  remark?: (text: string) => void,
): FeatureCache | undefined {
  return folder === undefined
    ? undefined
    : new FeatureCache(folder, FEATURE_BYTES, remark);
}

/** The frozen features in a folder, and those that other hosts have made. */
export function sharedFeatureCache(
  folder: string,
  options: FeatureSharing & { remark?: ((text: string) => void) | undefined },
): FeatureCache {
  return new SharedFeatureCache({ folder, maxBytes: FEATURE_BYTES }, options);
}

export type { FeatureCache };
export type { CachePlace, FeatureStore } from "../../encoder/shared_cache.ts";

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
