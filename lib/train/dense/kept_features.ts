/**
 * Frozen features of many images, made by the workers of a run and kept on disk.
 *
 * @module
 */
import type { ManifestEntry } from "../../data/manifest.ts";
import type { FeatureCache } from "../../encoder/cache.ts";
import { placeOf } from "../../encoder/shared_cache.ts";
import type { Model } from "../../model/model.ts";
import { ALONE, Team } from "../parallel/team.ts";
import type { TrainOptions } from "../trainer.ts";
import type { ReadImage } from "./readable_images.ts";

/** Options of {@linkcode keepFeatures}. */
export interface KeepOptions extends
  Pick<
    TrainOptions,
    "config" | "seed" | "memory" | "foreground" | "parallel" | "signal"
  > {
  featureCache: FeatureCache;
  /** Reads an image, or leaves it out. */
  readImage: ReadImage;
  /** Makes the features of an image here. */
  keep: (entry: ManifestEntry) => Promise<void>;
  /** Awaited before each image that is read here. */
  beforeImage: () => Promise<void>;
  /** Called after each image, with how many are done. */
  onImage: (done: number) => void;
}

/**
 * Makes the features of training images and their copies, so that the cache has
 * them. Each worker takes the next image that nobody has.
 *
 * @throws {ImageError} If an image cannot be read.
 * @throws {EncoderError} If the file of the features cannot be used.
 */
export async function keepFeatures(
  { classes, normalisation }: Pick<Model, "classes" | "normalisation">,
  entries: readonly ManifestEntry[],
  { config, seed, memory, foreground, signal, featureCache, ...options }:
    KeepOptions,
): Promise<void> {
  const { parallel = ALONE, keep, readImage, beforeImage, onImage } = options;
  const team = await Team.start(parallel, {
    model: { config, classes, normalisation },
    seed,
    train: [],
    foreground,
    memoryBytes: memory.bytes,
  }, signal);
  const queue = entries.values();
  let done = 0;
  const place = placeOf(featureCache);
  try {
    const theirs = team.each(async (call) => {
      for (const entry of queue) {
        await readImage(
          entry,
          () => call("keep", { entry, place }, signal),
        );
        onImage(++done);
      }
      await call("release", null, signal);
    });
    let failed = false;
    theirs.catch(() => failed = true);
    for (const entry of queue) {
      if (failed) break;
      await beforeImage();
      await readImage(entry, () => keep(entry));
      onImage(++done);
    }
    await theirs;
  } finally {
    team.close();
  }
}
