/**
 * Classifies images: what the network says, and where it looked.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { randomKey } from "../../kernels/random.ts";
import type { MapSize, Region } from "../image/geometry.ts";
import type { Pyramid } from "../image/pyramid.ts";
import type { Config } from "../model/config.ts";
import { type Plan, plan, type Timings } from "../model/plan.ts";
import type { Model } from "../model/model.ts";
import { score } from "../model/zoom_in.ts";
import { argmax } from "./metrics.ts";

/** A tile that was drawn in stage I, level-0 px. */
export interface PredictedTile extends Region {
  /** n_c: how often it was drawn. */
  count: number;
}

/** A sub-tile that was read, level-0 px. */
export interface PredictedSubTile extends Region {
  /** Share of the representation; all of them add to 1. */
  weight: number;
}

/** What one image was taken for, and why. */
export interface Prediction {
  label: string;
  classIndex: number;
  /** By class, in the order of the model's classes. */
  probabilities: number[];
  tiles: PredictedTile[];
  subTiles: PredictedSubTile[];
  /** Attention maps; only if asked for. */
  attention?: AttentionMaps;
}

/** Both stages' attention as a heat map needs it. */
export interface AttentionMaps {
  /** alpha, row-major. */
  tileMap: MapSize;
  tileAttention: Float32Array;
  /** beta of each drawn tile, in the order of `tiles`. */
  subTileMap: MapSize;
  subTileAttention: Float32Array[];
  /** Index of each drawn tile in the tile map. */
  tiles: number[];
}

/** The predictions of a batch, and the time they took, ms. */
export interface PredictedBatch {
  predictions: Prediction[];
  timings: Timings & { classifyMs: number };
}

/** How to draw; the configuration's own values where left out. */
export interface PredictOptions {
  samples?: number | undefined;
  draws?: Config["evaluation"]["draws"] | undefined;
  seed: number;
  attention?: boolean;
  signal?: AbortSignal;
}

// Word of the random keys: apart from the draws of training.
const EVALUATION = 201;

/**
 * Classifies images together. The result of an image depends on the image and
 * the seed, not on its company.
 *
 * @throws {ImageError} If one of them cannot be read.
 */
export async function predict(
  model: Model,
  images: readonly Pyramid[],
  options: PredictOptions,
): Promise<PredictedBatch> {
  const { evaluation } = model.config;
  const planned = await plan(
    model,
    images.map((pyramid) => ({
      pyramid,
      key: randomKey(options.seed, EVALUATION),
    })),
    {
      samples: options.samples ?? evaluation.samples,
      draws: options.draws ?? evaluation.draws,
      ...(options.signal && { signal: options.signal }),
    },
  );
  const started = performance.now();
  try {
    const predictions = await read(model, planned, options.attention ?? false);
    const classifyMs = performance.now() - started;
    return { predictions, timings: { ...planned.timings, classifyMs } };
  } finally {
    planned.dispose();
  }
}

async function read(
  model: Model,
  planned: Plan,
  withAttention: boolean,
): Promise<Prediction[]> {
  const scored = tf.tidy(() => {
    const { logits, weights, tileAttention, subTileAttention } = score(
      model,
      planned,
    );
    return {
      probabilities: tf.softmax(logits),
      weights,
      ...(withAttention && { tileAttention, subTileAttention }),
    };
  });
  try {
    const probabilities = await scored.probabilities.array() as number[][];
    const weights = await scored.weights.data() as Float32Array;
    const alpha = await Promise.all(
      (scored.tileAttention ?? []).map((map) => map.data()),
    ) as Float32Array[];
    const beta = await scored.subTileAttention?.data() as
      | Float32Array
      | undefined;
    return probabilities.map((row, glimpse) =>
      prediction(model, planned, {
        glimpse,
        probabilities: row,
        weights,
        alpha,
        beta,
      })
    );
  } finally {
    tf.dispose(Object.values(scored).flat());
  }
}

function prediction(
  { classes }: Model,
  planned: Plan,
  { glimpse, probabilities, weights, alpha, beta }: {
    glimpse: number;
    probabilities: number[];
    weights: Float32Array;
    alpha: Float32Array[];
    beta: Float32Array | undefined;
  },
): Prediction {
  const { tileRegions, subTileRegions, tiles, image } = planned
    .glimpses[glimpse]!;
  const firstTile = planned.draws.rowOf.indexOf(glimpse);
  const firstSubTile = planned.glimpses.slice(0, glimpse)
    .reduce((sum, { subTileRegions }) => sum + subTileRegions.length, 0);
  const classIndex = argmax(probabilities);
  return {
    label: classes[classIndex]!,
    classIndex,
    probabilities,
    tiles: tileRegions.map((region, i) => ({
      ...region,
      count: planned.draws.counts[firstTile + i]!,
    })),
    subTiles: subTileRegions.map((region, i) => ({
      ...region,
      weight: weights[firstSubTile + i]!,
    })),
    ...(beta && {
      attention: {
        tileMap: planned.groups.find(({ images }) => images.includes(image))!
          .map,
        tileAttention: alpha[image]!,
        ...subTileMaps(planned, beta, firstTile, tiles.length),
        tiles,
      },
    }),
  };
}

function subTileMaps(
  { tileViews }: Plan,
  beta: Float32Array,
  first: number,
  count: number,
) {
  const [, rows, columns] = tileViews.shape;
  const locations = rows * columns;
  return {
    subTileMap: { rows, columns },
    subTileAttention: Array.from(
      { length: count },
      (_, i) =>
        beta.slice((first + i) * locations, (first + i + 1) * locations),
    ),
  };
}
