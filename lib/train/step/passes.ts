/**
 * The gradients of some images of a batch. Where the loss of an image depends on the
 * others of its batch, the logits of all are computed first, their loss and its
 * gradient from them, and then the gradients of the parameters image by image: the
 * same bits, whoever computes which image.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import type { Config } from "../../model/config.ts";
import { lookAt } from "../../model/look/look_at.ts";
import type { Look } from "../../model/look/look.ts";
import type { Model } from "../../model/model.ts";
import {
  hasBatchStatistics,
  type StatisticUpdates,
} from "../../model/networks.ts";
import type { RowLosses } from "../../model/targets/target.ts";
import { targetOf } from "../../model/targets/targets.ts";
import { readFeatures, score } from "../../model/zoom_in.ts";
import type { Goal } from "../../target.ts";
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
 * @param options.given the loss of each, where it depends on all images of the batch;
 *   if omitted, these images are all.
 * @throws {ImageError} If an image cannot be read.
 */
export async function backwardPasses(
  model: Model,
  images: readonly TrainingImage[],
  options: GradientOptions & { of: number; given?: RowLosses | undefined },
): Promise<BackwardPass[]> {
  const given = options.given ?? await jointLosses(model, images, options);
  const passes: BackwardPass[] = [];
  try {
    for (const places of partsOf(model, images)) {
      await addPasses(passes, model, places.map((place) => images[place]!), {
        ...options,
        given: given && lossesAt(given, places),
      });
    }
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
  options: GradientOptions & { of: number; given?: RowLosses | undefined },
): Promise<void> {
  const { given } = options;
  for await (const look of looksAt(model, images, options)) {
    const goals = look.places.map((place) => images[place]!.goal);
    const own = given && lossesAt(given, look.places);
    passes.push(await backward(model, look, { ...options, goals, given: own }));
  }
}

/** The looks of a training step. */
async function* looksAt(
  model: Model,
  images: readonly TrainingImage[],
  options: GradientOptions,
): AsyncGenerator<Look> {
  yield* lookAt(model, await lookImages(model, images, options), {
    samples: model.config.view.samples,
    draws: "seeded",
    training: true,
    exploration: options.exploration,
    memory: options.memory,
    signal: options.signal,
  });
}

/** Places of the images that are looked at together. */
function partsOf(
  { config }: Model,
  images: readonly TrainingImage[],
): number[][] {
  const places = Array.from(images.keys());
  return isByImage(config) ? places.map((place) => [place]) : [places];
}

/**
 * The logits of images as their gradients will see them, in order.
 *
 * @throws {ImageError} If an image cannot be read.
 */
export async function imageLogits(
  model: Model,
  images: readonly TrainingImage[],
  options: GradientOptions,
): Promise<number[][]> {
  const rows: number[][] = [];
  for (const places of partsOf(model, images)) {
    const part = places.map((place) => images[place]!);
    for await (const look of looksAt(model, part, options)) {
      rows.push(...await logitsOf(model, look));
    }
  }
  return rows;
}

async function logitsOf(model: Model, look: Look): Promise<number[][]> {
  const updates: StatisticUpdates = new Map();
  const read = look.subTiles
    ? undefined
    : await readFeatures(model, look, { updates });
  const logits = tf.tidy(() =>
    score(model, look, { read, updates, asDrawn: true }).logits
  );
  try {
    return await logits.array();
  } finally {
    tf.dispose([logits, ...read ? [read, ...updates.values()] : []]);
  }
}

/** The losses of a whole batch; undefined if those of its images are apart. */
async function jointLosses(
  model: Model,
  images: readonly TrainingImage[],
  options: GradientOptions,
): Promise<RowLosses | undefined> {
  if (targetOf(model).loss !== null) return undefined;
  const goals = images.map(({ goal }) => goal);
  return lossesOf(model, await imageLogits(model, images, options), goals);
}

/** The losses of a whole batch from its logits. */
export function lossesOf(
  model: Model,
  rows: readonly number[][],
  goals: readonly Goal[],
): RowLosses {
  return targetOf(model).losses(rows, {
    goals,
    weights: goals.map(() => 1 / goals.length),
  });
}

/** The losses of some images of a batch. */
export function lossesAt(
  { losses, gradients }: RowLosses,
  places: readonly number[],
): RowLosses {
  return {
    losses: places.map((place) => losses[place]!),
    gradients: places.map((place) => gradients[place]!),
  };
}
