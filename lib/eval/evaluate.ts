/**
 * Scores a model on labelled images.
 *
 * @module
 */
import { setTimeout } from "node:timers/promises";
import type { ImageError } from "../errors.ts";
import type { ManifestEntry } from "../data/manifest.ts";
import type { ImageCache } from "../image/image_cache.ts";
import { Memory, type WithDefaultMemory } from "../memory.ts";
import type { Model } from "../model/model.ts";
import type { Decision } from "../model/targets/target.ts";
import { type Answer, answerOf } from "./answer.ts";
import { atMpp } from "../image/resampled.ts";
import type { Classification } from "./classification.ts";
import { classifyEach } from "./batches.ts";
import { classifyOpened, type OpenedImage } from "./classify.ts";
import type { PredictOptions } from "./predict.ts";
import type { Scored } from "./metrics.ts";

/** An image that was classified. */
export interface EvaluatedImage {
  /** Its line of the manifest. */
  entry: ManifestEntry;
  /** Its result. */
  classification: Classification;
}

/** An image and the class it was given, whatever by. */
export interface LabelledImage {
  /** Its line of the manifest. */
  entry: ManifestEntry;
  /** Its result. */
  classification: Answer;
}

/** An image that could not be classified. */
export interface FailedImage {
  /** Its line of the manifest. */
  entry: ManifestEntry;
  /** The reason. */
  error: ImageError;
}

/** All images of an evaluation, in the order of the entries. */
export interface Evaluation {
  /** Images that were classified. */
  images: EvaluatedImage[];
  /** Images that could not be. */
  failures: FailedImage[];
}

/** Options of {@linkcode evaluate}. */
export type EvaluateOptions = WithDefaultMemory<PredictOptions> & {
  /** Keeps decoded images between evaluations. */
  cache: ImageCache;
  /** Awaited before each image: more urgent work goes first. */
  turn?: (() => Promise<void>) | undefined;
};

/**
 * Classifies every entry, on a GPU several small images at a time. An image that cannot be read is
 * listed in `failures`, and the evaluation continues.
 *
 * @param entries labelled images of a manifest, whose classes the model knows.
 * @throws {EngineError} If the engine was lost.
 *
 * @example
 * ```ts
 * import { evaluate, ImageCache, readCheckpoint, readManifest } from "@zoomin/zoomin";
 *
 * const { model } = await readCheckpoint("run"); // after startEngine
 * const { entries } = await readManifest("manifest.csv");
 * const cache = new ImageCache(2 ** 28); // bytes
 * const { images } = await evaluate(model, entries, { cache, seed: 0 });
 * for (const { entry, classification } of images) {
 *   console.log(entry.image, classification.label);
 * }
 * ```
 */
export async function evaluate(
  model: Model,
  entries: readonly ManifestEntry[],
  { cache, memory = new Memory(), turn, ...options }: EvaluateOptions,
): Promise<Evaluation> {
  const evaluation: Evaluation = { images: [], failures: [] };
  const results = classifyEach(entries, {
    memory,
    async open(entry) {
      await turn?.();
      return await openEntry(model, entry, cache, options.signal);
    },
    classify: (images) => classifyOpened(model, images, { ...options, memory }),
  });
  for await (const { item: entry, ...result } of results) {
    if ("error" in result) {
      evaluation.failures.push({ entry, error: result.error });
    } else {
      const { classification } = result.classified;
      evaluation.images.push({ entry, classification });
    }
  }
  return evaluation;
}

async function openEntry(
  { config }: Model,
  { path, mpp }: ManifestEntry,
  cache: ImageCache,
  signal: AbortSignal | undefined,
): Promise<OpenedImage> {
  await setTimeout(0); // wasm blocks the event loop: let signals and messages in
  signal?.throwIfAborted();
  const started = performance.now();
  const file = await cache.open(path, signal);
  try {
    const seen = atMpp(file, config.mpp, mpp);
    const openMs = performance.now() - started;
    return { file, seen, mpp: mpp ?? file.mpp, openMs };
  } catch (error) {
    file.close();
    throw error;
  }
}

/** `entry` with what is said of it. */
export function labelledImage(
  entry: ManifestEntry,
  decision: Decision,
  classes: readonly string[],
): LabelledImage {
  return { entry, classification: answerOf(decision, classes) };
}

/** Labels and probabilities as the metrics take them. */
export function scoredImages(
  images: readonly LabelledImage[],
  classes: readonly string[],
): Scored {
  return {
    labels: images.map(({ entry }) => entry.classIndex),
    probabilities: images.map(({ classification: { probabilities } }) =>
      classes.map((name) => probabilities[name]!)
    ),
  };
}
