/**
 * Saliency warm start, ours and not the paper's: before training, a and b are
 * fitted to the local contrast of their views, so that the first draws fall on
 * objects rather than on background. Off by default.
 *
 * @module
 */
import { setTimeout } from "node:timers/promises";
import * as tf from "@tensorflow/tfjs-core";
import { type Key, randomKey, RandomStream } from "../../kernels/random.ts";
import { attentionSoftmax } from "../../kernels/softmax/softmax.ts";
import type { ManifestEntry } from "../data/manifest.ts";
import { ConfigError } from "../errors.ts";
import type { ImageCache } from "../image/image_cache.ts";
import { openAtMpp } from "../image/resampled.ts";
import {
  type ForegroundChoice,
  foregroundOf,
} from "../image/foreground/tissue.ts";
import { microBatches } from "../model/look/micro_batches.ts";
import { lookWhole } from "../model/look/whole.ts";
import type { Pyramid } from "../image/pyramid.ts";
import type { Memory } from "../memory.ts";
import { stainsFor } from "../model/look/input.ts";
import type { Model } from "../model/model.ts";
import { subTileLogits, tileLogits } from "../model/look/attention.ts";
import { AdamW } from "./optimizer.ts";
import { netParameters } from "./step/step.ts";

const NEIGHBOURHOOD = 9; // px of the view that a pixel is compared with
const LEARNING_RATE = 1e-2;
// Contrast counts from this many times its mean on (the rest is texture), and
// up to this many (an edge of tissue should not outshine everything else).
const FLOOR = 2, CAP = 6;
// Share of the mean contrast that every location has: none is ruled out.
const EVERYWHERE = 0.01;
// A view with less contrast is flat: its differences are rounding.
const MIN_CONTRAST = 1e-5;
// Word of the random keys.
const WARM_START = 104;

/**
 * Fits a and b on `steps` random images, one a step.
 *
 * @throws {ConfigError} If an image can only be looked at in blocks.
 */
export async function saliencyWarmStart(
  model: Model,
  entries: readonly ManifestEntry[],
  { cache, foreground, memory, seed, steps, signal }: {
    cache: ImageCache;
    /** Foreground that is drawn from; the configuration's if omitted. */
    foreground?: ForegroundChoice | undefined;
    memory: Memory;
    seed: number;
    steps: number;
    signal?: AbortSignal | undefined;
  },
): Promise<void> {
  const optimizer = new AdamW();
  const random = new RandomStream(randomKey(seed, WARM_START));
  try {
    for (let step = 0; step < steps; step++) {
      await setTimeout(0); // wasm blocks the event loop: let signals and messages in
      signal?.throwIfAborted();
      const entry = entries[random.below(entries.length)]!;
      const key = randomKey(seed, WARM_START, step);
      const options = { entry, cache, foreground, memory, key, signal };
      await fitOne(model, optimizer, options);
    }
  } finally {
    optimizer.dispose();
  }
}

interface FitOptions {
  foreground: ForegroundChoice | undefined;
  memory: Memory;
  key: Key;
  signal: AbortSignal | undefined;
}

async function fitOne(
  model: Model,
  optimizer: AdamW,
  { entry, cache, ...options }: FitOptions & {
    entry: ManifestEntry;
    cache: ImageCache;
  },
): Promise<void> {
  const { mpp } = model.config;
  const pyramid = await openAtMpp(cache, entry, mpp, options.signal);
  try {
    await fitTo(model, optimizer, pyramid, options);
  } finally {
    pyramid.close();
  }
}

async function fitTo(
  model: Model,
  optimizer: AdamW,
  pyramid: Pyramid,
  { foreground: choice, memory, key, signal }: FitOptions,
): Promise<void> {
  const { samples, foreground: kind } = model.config.view;
  const [batch] = microBatches([{ pyramid }], model.config, {
    samples,
    memory,
  });
  if (batch!.inBlocks) {
    throw new ConfigError(
      `Cannot warm-start on ${pyramid.source}: its views do not fit the memory bound, or exceed what a GPU binds at once; raise --memory, or set training.saliencyWarmStart to null`,
    );
  }
  const foreground = await foregroundOf(pyramid, choice ?? { kind }, signal);
  const densities = await stainsFor(model, pyramid, signal);
  const image = { pyramid, foreground, densities, key };
  const planned = await lookWhole(model, [image], {
    samples,
    draws: "seeded",
    memory,
    signal,
  });
  try {
    const { groups: [group], tileViews, subTileMap } = planned;
    const { views, map } = group!;
    fitNet(model, optimizer, "a", {
      views,
      logits: () => tileLogits(model.parameters, views, map),
    });
    fitNet(model, optimizer, "b", {
      views: tileViews,
      logits: () => subTileLogits(model.parameters, tileViews, subTileMap),
    });
  } finally {
    planned.dispose();
  }
}

function fitNet(
  { parameters }: Model,
  optimizer: AdamW,
  net: "a" | "b",
  { views, logits }: { views: tf.Tensor4D; logits: () => tf.Tensor2D },
): void {
  const own = netParameters(parameters, net);
  tf.tidy(() => {
    const goal = contrastDistribution(views, logits().shape[1]);
    const { grads } = tf.variableGrads(
      () => distributionLoss(logits(), goal),
      [...own.values()],
    );
    optimizer.step(
      new Map(
        [...own].map(([name, variable]) => [name, {
          variable,
          gradient: grads[variable.name]!,
          learningRate: LEARNING_RATE,
          weightDecay: 0,
        }]),
      ),
    );
  });
}

/** Cross-entropy of softmax(logits) against `goal`, mean over the rows. */
function distributionLoss(logits: tf.Tensor2D, goal: tf.Tensor2D): tf.Scalar {
  const rows = logits.shape[0];
  const operation = tf.customGrad((input, save) => {
    const attention = attentionSoftmax(input as tf.Tensor2D);
    (save as tf.GradSaveFunc)([attention]);
    const logs = tf.log(tf.add(attention, 1e-30));
    return {
      value: tf.mul(tf.sum(tf.mul(goal, logs)), -1 / rows) as tf.Scalar,
      gradFunc: (dy, saved) =>
        tf.mul(tf.sub(saved[0]!, goal), tf.mul(dy as tf.Scalar, 1 / rows)),
    };
  });
  return operation(logits) as tf.Scalar;
}

/**
 * Capped local contrast as one distribution a view: `[N, h, w, 3]` ->
 * `[N, locations]`; a flat view, or a map coarser than its view, gets a uniform
 * one.
 */
function contrastDistribution(
  views: tf.Tensor4D,
  locations: number,
): tf.Tensor2D {
  const [count, height, width] = views.shape;
  if (height * width !== locations) {
    return tf.fill([count, locations], 1 / locations);
  }
  const around = tf.avgPool(views, NEIGHBOURHOOD, 1, "same");
  const contrast = tf.reshape(
    tf.sum(tf.abs(tf.sub(views, around)), 3),
    [count, locations],
  );
  const mean = tf.mean(contrast, 1, true);
  const floor = tf.mul(mean, FLOOR), cap = tf.mul(mean, CAP);
  const salient = tf.add(
    tf.sub(tf.minimum(tf.maximum(contrast, floor), cap), floor),
    tf.mul(mean, EVERYWHERE),
  );
  return tf.where(
    tf.greater(mean, MIN_CONTRAST),
    tf.div(salient, tf.sum(salient, 1, true)),
    1 / locations,
  );
}
