/**
 * Predictions: the probabilities of an image, and the regions that were drawn.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { randomKey } from "../../kernels/random.ts";
import {
  locationAt,
  type Region,
  type Size,
  storedPixels,
} from "../image/geometry.ts";
import type { Pyramid } from "../image/pyramid.ts";
import {
  type ForegroundChoice,
  foregroundOf,
} from "../image/foreground/tissue.ts";
import type { Memory } from "../memory.ts";
import { calibratedSoftmax } from "../model/calibration.ts";
import type { Config } from "../model/config.ts";
import type {
  Drawn,
  PlanImage,
  PlanOptions,
  Timings,
} from "../model/look/draws.ts";
import { stainsFor } from "../model/look/input.ts";
import type { Model } from "../model/model.ts";
import { microBatches } from "../model/look/micro_batches.ts";
import { type Plan, plan } from "../model/look/whole.ts";
import {
  type BlockPlan,
  planInBlocks,
  type SeenTiles,
} from "../model/look/blocks.ts";
import {
  type DrawnScores,
  readFeatures,
  score,
  scoreDrawn,
} from "../model/zoom_in.ts";
import { indexInMap } from "../sampling/streams.ts";
import { type Heatmap, heatmap, HeatPainter } from "./heatmap/heatmap.ts";
import { argmax } from "./metrics.ts";

/** A tile that was drawn in stage I, level-0 px. */
export interface PredictedTile extends Region {
  /** n_c: number of times it was drawn. */
  count: number;
}

/** A sub-tile that was read, level-0 px. */
export interface PredictedSubTile extends Region {
  /** Share of the representation; all of them add to 1. */
  weight: number;
}

/** The prediction for one image, and the draws that it rests on. */
export interface Prediction {
  label: string;
  classIndex: number;
  /** By class, in the order of the model's classes. */
  probabilities: number[];
  tiles: PredictedTile[];
  subTiles: PredictedSubTile[];
  /** Heat map of the attention, if asked for. */
  attention?: Heatmap;
}

/** `prediction` of `image`, in the pixels of its file. */
export function inStoredPixels<P extends Omit<Prediction, "attention">>(
  prediction: P,
  image: Pyramid,
): P {
  const { stored } = image;
  if (stored === undefined) return prediction;
  const moved = <R extends Region>(region: R): R => ({
    ...region,
    ...storedPixels(region, image, stored),
  });
  return {
    ...prediction,
    tiles: prediction.tiles.map(moved),
    subTiles: prediction.subTiles.map(moved),
  };
}

/** Time by stage, ms. */
export type PredictTimings = Timings & { classifyMs: number };

/** The predictions of a batch, and the time they took. */
export interface PredictedBatch {
  predictions: Prediction[];
  timings: PredictTimings;
}

/** Options of a prediction. */
export interface PredictOptions {
  /** N: sub-tiles to draw; the configuration's if omitted. */
  samples?: number | undefined;
  /** Kind of draws; the configuration's if omitted. */
  draws?: Config["evaluation"]["draws"] | undefined;
  /** Seed of the draws; the same seed gives the same result. */
  seed: number;
  /** Also returns a heat map of the attention. */
  attention?: boolean;
  /** Foreground that is drawn from; the configuration's if omitted. */
  foreground?: ForegroundChoice | undefined;
  /** Memory bound of the tensors; the default if omitted. */
  memory?: Memory | undefined;
  /** Stops the prediction. */
  signal?: AbortSignal | undefined;
}

// Word of the random keys: separates these from the draws of training.
const EVALUATION = 201;

/**
 * Classifies images, as many at once as the memory bound allows. The result of an
 * image depends on the image and the seed alone, not on the others.
 *
 * @throws {ImageError} If one of them cannot be read.
 */
export async function predict(
  model: Model,
  images: readonly Pyramid[],
  options: PredictOptions,
): Promise<PredictedBatch> {
  const { evaluation } = model.config;
  const planOptions: PlanOptions = {
    samples: options.samples ?? evaluation.samples,
    draws: options.draws ?? evaluation.draws,
    memory: options.memory,
    signal: options.signal,
  };
  const choice = options.foreground ?? { kind: model.config.view.foreground };
  const looked: PlanImage[] = [];
  for (const pyramid of images) {
    looked.push({
      pyramid,
      key: randomKey(options.seed, EVALUATION),
      foreground: await foregroundOf(pyramid, choice, options.signal),
      densities: await stainsFor(model, pyramid, options.signal),
    });
  }
  const { attention = false } = options;
  const predicted: PredictedBatch = { predictions: [], timings: NO_TIME };
  for (const batch of microBatches(looked, model.config, planOptions)) {
    const own = batch.images.map((i) => looked[i]!);
    const { predictions, timings } = batch.inBlocks
      ? await predictInBlocks(model, own[0]!, planOptions, attention)
      : await predictTogether(model, own, planOptions, attention);
    predicted.predictions.push(...predictions);
    predicted.timings = sum(predicted.timings, timings);
  }
  return predicted;
}

const NO_TIME = { readMs: 0, stage1Ms: 0, stage2Ms: 0, classifyMs: 0 };

function sum(a: PredictTimings, b: PredictTimings): PredictTimings {
  return {
    readMs: a.readMs + b.readMs,
    stage1Ms: a.stage1Ms + b.stage1Ms,
    stage2Ms: a.stage2Ms + b.stage2Ms,
    classifyMs: a.classifyMs + b.classifyMs,
  };
}

async function predictTogether(
  model: Model,
  images: readonly PlanImage[],
  options: PlanOptions,
  withAttention: boolean,
): Promise<PredictedBatch> {
  const planned = await plan(model, images, options);
  return await predicted(model, planned, {
    score: (read) => tf.tidy(() => ({ ...score(model, planned, { read }) })),
    async addTo(predictions, { tileAttention, subTileAttention }) {
      if (!withAttention) return;
      const beta = await subTileAttention.data() as Float32Array;
      for (const [i, prediction] of predictions.entries()) {
        const { image } = planned.glimpses[i]!;
        prediction.attention = heatmapOf(planned, i, {
          image: images[image]!.pyramid,
          alpha: await tileAttention[image]!.data() as Float32Array,
          beta,
        });
      }
    },
  });
}

async function predictInBlocks(
  model: Model,
  image: PlanImage,
  options: PlanOptions,
  withAttention: boolean,
): Promise<PredictedBatch> {
  const painter = withAttention ? new HeatPainter(image.pyramid) : undefined;
  const planned = await planInBlocks(model, image, {
    ...options,
    onTiles: (tiles) => painter && addTiles(painter, tiles),
  });
  return await predicted(model, planned, {
    score: (read) =>
      tf.tidy(() => ({
        ...scoreDrawn(model, planned, {
          tiles: tf.tensor1d(planned.tileAttention),
          subTiles: tf.tensor1d(planned.subTileAttention),
        }, { read }),
      })),
    async addTo(predictions) {
      if (!painter) return;
      await addTileMap(painter, planned);
      predictions[0]!.attention = painter.heatmap();
    },
  });
}

/** The predictions from draws, which are disposed of. */
async function predicted<S extends DrawnScores>(
  model: Model,
  planned: Drawn,
  { score, addTo }: {
    score: (features: tf.Tensor2D) => S;
    /** Adds the heat maps, if asked for. */
    addTo: (predictions: Prediction[], scores: S) => Promise<void>;
  },
): Promise<PredictedBatch> {
  const started = performance.now();
  const kept: tf.TensorContainer[] = [];
  try {
    const read = await readFeatures(model, planned);
    kept.push(read);
    const scores = score(read);
    kept.push({ ...scores as DrawnScores }); // with all further tensors
    const predictions = await readPredictions(model, planned, scores);
    await addTo(predictions, scores);
    const classifyMs = performance.now() - started;
    return { predictions, timings: { ...planned.timings, classifyMs } };
  } finally {
    tf.dispose(kept);
    planned.dispose();
  }
}

/** One prediction a glimpse. */
async function readPredictions(
  { classes, calibration }: Model,
  { glimpses, draws }: Drawn,
  scored: DrawnScores,
): Promise<Prediction[]> {
  const shares = calibratedSoftmax(scored.logits, calibration);
  const probabilities = await shares.array() as number[][];
  shares.dispose();
  const weights = await scored.weights.data() as Float32Array;
  let tile = 0, subTile = 0;
  return glimpses.map(({ tileRegions, subTileRegions }, glimpse) => {
    const classIndex = argmax(probabilities[glimpse]!);
    return {
      label: classes[classIndex]!,
      classIndex,
      probabilities: probabilities[glimpse]!,
      tiles: tileRegions.map((region) => ({
        ...region,
        count: draws.counts[tile++]!,
      })),
      subTiles: subTileRegions.map((region) => ({
        ...region,
        weight: weights[subTile++]!,
      })),
    };
  });
}

/** The heat map of one glimpse, from the maps of all. */
function heatmapOf(
  { glimpses, subTileMap }: Plan,
  glimpse: number,
  { image, alpha, beta }: {
    image: Size;
    alpha: Float32Array;
    beta: Float32Array;
  },
): Heatmap {
  const { map, tiles, tileRegions } = glimpses[glimpse]!;
  const first = glimpses.slice(0, glimpse)
    .reduce((sum, { tiles }) => sum + tiles.length, 0);
  const locations = subTileMap.rows * subTileMap.columns;
  return heatmap(image, {
    tileAttention: { ...map, attention: alpha },
    tiles: tiles.map((tile, i) => ({
      location: locationAt(tile, map.columns),
      region: tileRegions[i]!,
      subTileAttention: {
        ...subTileMap,
        attention: beta.subarray(
          (first + i) * locations,
          (first + i + 1) * locations,
        ),
      },
    })),
  });
}

/** Paints tiles that stage II has just seen. */
function addTiles(
  painter: HeatPainter,
  { regions, tileAttention, map, subTileAttention }: SeenTiles,
): void {
  const locations = map.rows * map.columns;
  for (const [i, region] of regions.entries()) {
    const attention = subTileAttention.subarray(
      i * locations,
      (i + 1) * locations,
    );
    painter.addTile({ ...map, attention }, region, tileAttention[i]!);
  }
}

/** Paints alpha where no tile was drawn. */
async function addTileMap(
  painter: HeatPainter,
  { tileMap, glimpses }: BlockPlan,
): Promise<void> {
  const { map, logNormaliser } = tileMap;
  const drawn = new Set(glimpses[0]!.tiles);
  for await (const { block, logits } of tileMap.logits()) {
    const attention = logits.map((logit, i) =>
      drawn.has(indexInMap(block, i, map.columns))
        ? 0
        : Math.exp(logit - logNormaliser)
    );
    painter.addBlock(block, map, attention);
  }
}
