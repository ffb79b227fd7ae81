/**
 * Frozen features of many images, made by several Workers and kept on disk.
 *
 * @module
 */
import type { ManifestEntry } from "../../data/manifest.ts";
import type { FeatureCache } from "../../encoder/cache.ts";
import type { Model } from "../../model/model.ts";
import { runTasks } from "../../workers/pool.ts";
import type { TrainOptions } from "../trainer.ts";
import type { FeatureSetup } from "./feature_worker.ts";

/** Options of {@linkcode keepTogether}. */
export interface KeepOptions
  extends Pick<TrainOptions, "config" | "memory" | "foreground" | "signal"> {
  featureCache: FeatureCache;
  normalisation: Model["normalisation"];
  /** Called after each image. */
  onImage: () => void;
}

/**
 * Makes the features of training images and their copies, so that the cache has
 * them; an image at a time in each Worker, within the memory bound there.
 *
 * @throws {ImageError} If an image cannot be read.
 * @throws {EncoderError} If the file of the features cannot be used.
 */
export async function keepTogether(
  entries: readonly ManifestEntry[],
  workers: number,
  options: KeepOptions,
): Promise<void> {
  const { config, normalisation, foreground, memory, featureCache } = options;
  const { folder, maxBytes } = featureCache;
  await runTasks<FeatureSetup, ManifestEntry, void>(entries, {
    module: new URL("./feature_worker.ts", import.meta.url),
    setup: {
      ...{ config, normalisation, foreground, folder, maxBytes },
      memoryBytes: memory.bytes,
    },
    workers,
    onResult: options.onImage,
    signal: options.signal ?? new AbortController().signal,
    endsWorkers: true,
  });
}
