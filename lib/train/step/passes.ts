/**
 * The gradients of some images of a batch.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import type { Config } from "../../model/config.ts";
import { lookAt } from "../../model/look/look_at.ts";
import type { Model } from "../../model/model.ts";
import { hasBatchStatistics } from "../../model/networks.ts";
import { type BackwardPass, disposeBackward } from "./backward.ts";
import {
  backward,
  type GradientOptions,
  lookImages,
  type TrainingImage,
} from "./micro_batch.ts";

/**
 * True if the images of a batch are computed one by one. On wasm that takes no
 * longer, and the gradients of an image are then the same bits whatever it is
 * computed together with, and by whom.
 */
export function isByImage({ network }: Pick<Config, "network">): boolean {
  return tf.getBackend() === "wasm" && !hasBatchStatistics[network.features];
}

/**
 * The backward passes of images, in order; of each image alone if
 * {@linkcode isByImage}. Their owner frees them.
 *
 * @param options.of images of the whole batch, of whose loss these are shares.
 * @throws {ImageError} If an image cannot be read.
 */
export async function backwardPasses(
  model: Model,
  images: readonly TrainingImage[],
  options: GradientOptions & { of: number },
): Promise<BackwardPass[]> {
  const passes: BackwardPass[] = [];
  const parts = isByImage(model.config) ? images.map((one) => [one]) : [images];
  try {
    for (const part of parts) await addPasses(passes, model, part, options);
    return passes;
  } catch (error) {
    passes.forEach(disposeBackward);
    throw error;
  }
}

/** Adds the passes of images that are looked at together, as far as they fit. */
async function addPasses(
  passes: BackwardPass[],
  model: Model,
  images: readonly TrainingImage[],
  options: GradientOptions & { of: number },
): Promise<void> {
  const looks = lookAt(model, await lookImages(model, images, options), {
    samples: model.config.view.samples,
    draws: "seeded",
    training: true,
    exploration: options.exploration,
    memory: options.memory,
    signal: options.signal,
  });
  for await (const look of looks) {
    const classes = look.places.map((place) => images[place]!.classIndex);
    passes.push(await backward(model, look, { ...options, classes }));
  }
}
