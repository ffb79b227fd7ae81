/**
 * Scores the dense teacher of a trained model, which sees all locations of an
 * image, beside the model itself, which draws a few.
 *
 * @module
 */
import { setTimeout } from "node:timers/promises";
import type { ManifestEntry } from "../../data/manifest.ts";
import type { FeatureCache } from "../../encoder/cache.ts";
import { ConfigError, ImageError } from "../../errors.ts";
import type { LabelledImage } from "../../eval/evaluate.ts";
import type { ForegroundChoice } from "../../image/foreground/tissue.ts";
import type { ImageCache } from "../../image/image_cache.ts";
import type { Memory } from "../../memory.ts";
import type { Model } from "../../model/model.ts";
import { targetOf } from "../../model/targets/targets.ts";
import { readScoredBags } from "./bags.ts";
import { modelFeatures } from "./encoder_features.ts";
import { readHead } from "./head/head_arrays.ts";
import { Locations } from "./locations.ts";
import type { ReadImage } from "./readable_images.ts";
import { readProjection } from "./projection.ts";
import { teacherSays } from "./teacher_scores.ts";

/** Where features are read from. */
export interface TeacherSource {
  cache: ImageCache;
  memory: Memory;
  /** Foreground that counts; the configuration's if omitted. */
  foreground?: ForegroundChoice | undefined;
  /** Keeps frozen features on disk; computed if omitted. */
  featureCache?: FeatureCache | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * Classifies every image by all its locations.
 *
 * @param model as `trainDense` writes it: its head is the teacher.
 * @returns the images that can be read; none at all if one has more locations
 *   than `training.dense.maxLocations`, because then only draws can see it.
 */
export async function evaluateTeacher(
  model: Model,
  entries: readonly ManifestEntry[],
  { cache, memory, foreground, featureCache, signal }: TeacherSource,
): Promise<LabelledImage[]> {
  const { parameters, classes, config } = model;
  const head = await readHead(parameters);
  const options = {
    locations: new Locations({
      cache,
      memory,
      foreground,
      signal,
      config,
      features: modelFeatures(model, featureCache),
      side: config.network.places,
      normalisation: model.normalisation,
    }),
    projection: await readProjection(parameters),
    readImage: asIs,
    async beforeImage() {
      await setTimeout(0); // let signals and messages in
      signal?.throwIfAborted();
    },
  };
  const task = {
    target: targetOf(model),
    classes,
    evidence: config.network.evidence,
  };
  const images: LabelledImage[] = [];
  for (const entry of entries) {
    try {
      const [bag] = await readScoredBags([entry], options);
      images.push(teacherSays(head, bag!, task));
    } catch (error) {
      if (error instanceof ConfigError) return [];
      if (!(error instanceof ImageError)) throw error;
    }
  }
  return images;
}

/** What cannot be read is an error. */
const asIs: ReadImage = (_, read) => read();
