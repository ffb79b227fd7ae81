/**
 * Predictions: the probabilities of an image, and the regions that were drawn.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { randomKey } from "../../kernels/random.ts";
import { ConfigError, shortened } from "../errors.ts";
import { type Region, storedPixels } from "../image/geometry.ts";
import type { Pyramid } from "../image/pyramid.ts";
import {
  type ForegroundChoice,
  foregroundOf,
} from "../image/foreground/tissue.ts";
import type { Memory } from "../memory.ts";
import type { Config } from "../model/config.ts";
import { closeUpOf } from "../model/close_up/close_up.ts";
import { regionOf } from "../model/close_up/squares.ts";
import type { Drawn, LookImage, Timings } from "../model/look/draws.ts";
import { stainsFor } from "../model/look/input.ts";
import type { Look } from "../model/look/look.ts";
import { lookAt } from "../model/look/look_at.ts";
import type { Model } from "../model/model.ts";
import type { Decision } from "../model/targets/target.ts";
import { targetOf } from "../model/targets/targets.ts";
import {
  type Classified,
  readFeatures,
  score,
  type Scores,
} from "../model/zoom_in.ts";
import { turn } from "../turn.ts";
import {
  evidenceHeatmap,
  type HeatKind,
  type Heatmap,
  HeatPainter,
} from "./heatmap/heatmap.ts";
import { type HeatMaps, joinedCanvas, StagePainter } from "./heatmap/stages.ts";
import { groupParts } from "./groups/parts.ts";
import type { GroupPart } from "./groups/pooling.ts";

/** A tile that was drawn in stage I, level-0 px. */
export interface PredictedTile extends Region {
  /** n_c: number of times it was drawn. */
  count: number;
}

/** A sub-tile that was read, level-0 px. */
export interface PredictedSubTile extends Region {
  /**
   * Share of the representation, or of the evidence of the class that has most;
   * all of them add to 1.
   */
  weight: number;
}

/** The prediction for one image, and the draws that it rests on. */
export interface Prediction extends Decision {
  tiles: PredictedTile[];
  subTiles: PredictedSubTile[];
  /** The object that a close-up has placed, and by which the image was read. */
  object?: Region;
  /** Heat map of the attention, if asked for. */
  attention?: Heatmap;
  /** Heat map of the evidence, beside it under the head `evidence`. */
  evidence?: Heatmap;
  /** Heat maps of each stage, if asked for. */
  stages?: HeatMaps;
  /** Its part in the evidence of a group, if asked for. */
  groupPart?: GroupPart;
}

/** `prediction` of `image`, in the pixels of its file. */
export function inStoredPixels<P extends Omit<Prediction, HeatKind | "stages">>(
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
    ...(prediction.object && { object: moved(prediction.object) }),
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
  /**
   * Name of the class or label whose evidence the weights and the heat map show;
   * that with the most evidence if omitted.
   */
  shown?: string | undefined;
  /** Kind of draws; the configuration's if omitted. */
  draws?: Config["evaluation"]["draws"] | undefined;
  /** Seed of the draws; the same seed gives the same result. */
  seed: number;
  /** Also returns a heat map of the attention, and of the evidence. */
  attention?: boolean;
  /** Also returns heat maps of each stage. */
  stages?: boolean;
  /** Also returns its part in the evidence of a group of images. */
  groupPart?: boolean;
  /** Foreground that is drawn from; the configuration's if omitted. */
  foreground?: ForegroundChoice | undefined;
  /** Memory bound of the tensors. */
  memory: Memory;
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
  const { evaluation, view } = model.config;
  const choice = options.foreground ?? { kind: view.foreground };
  const looked: (LookImage & Painted)[] = [];
  for (const pyramid of images) {
    const heat = options.attention ? new HeatPainter(pyramid) : undefined;
    const stages = options.stages ? new StagePainter(pyramid) : undefined;
    looked.push({
      pyramid,
      key: randomKey(options.seed, EVALUATION),
      foreground: await foregroundOf(pyramid, choice, options.signal),
      densities: await stainsFor(model, pyramid, options.signal),
      canvas: joinedCanvas([heat, stages]),
      heat,
      stages,
    });
  }
  const looks = lookAt(model, looked, {
    samples: options.samples ?? evaluation.samples,
    draws: options.draws ?? evaluation.draws,
    memory: options.memory,
    signal: options.signal,
  });
  const output = options.shown === undefined
    ? undefined
    : outputNamed(model, options.shown);
  const batch: PredictedBatch = { predictions: [], timings: NO_TIME };
  for await (const look of looks) {
    const { predictions, timings } = await predicted(model, look, {
      ...options,
      output,
    });
    const started = performance.now();
    for (const [i, prediction] of predictions.entries()) {
      const { heat, stages, pyramid } = looked[look.places[i]!]!;
      await takeCloseUp(model, pyramid, prediction, options.signal);
      const evidence = model.config.network.head === "evidence" &&
        evidenceHeatmap(pyramid, prediction.subTiles);
      if (heat) {
        prediction.attention = heat.heatmap();
        if (evidence) prediction.evidence = evidence;
      }
      if (stages) {
        prediction.stages = {
          ...stages.heatmaps(),
          ...(evidence && { evidence }),
        };
      }
    }
    timings.classifyMs += performance.now() - started;
    batch.predictions.push(...predictions);
    batch.timings = sum(batch.timings, timings);
  }
  return batch;
}

/**
 * Place of an output by its name.
 *
 * @throws {ConfigError} If the model has none, or no evidence.
 */
export function outputNamed(
  model: Pick<Model, "config" | "classes">,
  name: string,
): number {
  if (model.config.network.head !== "evidence") {
    throw new ConfigError(
      `Cannot show the evidence of "${
        shortened(name)
      }": the model has no evidence by class (network.head = mean)`,
    );
  }
  const { logits, outputs } = targetOf(model);
  const names = outputs.map((place) => logits[place]!);
  if (names.includes(name)) return names.indexOf(name);
  throw new ConfigError(
    `Cannot show the evidence of "${shortened(name)}": the model has that of ${
      names.join(", ")
    }`,
  );
}

/** What an image's attention is painted on. */
interface Painted {
  heat: HeatPainter | undefined;
  stages: StagePainter | undefined;
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

/** The predictions of a look, whose heat maps are painted. */
async function predicted(
  model: Model,
  look: Look,
  { groupPart, signal, output }:
    & Pick<PredictOptions, "groupPart" | "signal">
    & { output: number | undefined },
): Promise<PredictedBatch> {
  const started = performance.now();
  const kept: tf.TensorContainer[] = [];
  try {
    await turn(signal); // wasm computes without a pause
    const read = await readFeatures(model, look, { signal });
    kept.push(read);
    await turn(signal);
    const scores = tf.tidy(() => ({
      ...score(model, look, { read, output, asDrawn: true }),
    }));
    kept.push({ ...scores, attention: { ...scores.attention } });
    const predictions = await readPredictions(model, look, scores);
    if (groupPart) {
      const parts = await groupParts(model, look, scores.logits);
      predictions.forEach((prediction, i) => prediction.groupPart = parts[i]!);
    }
    await turn(signal);
    await look.paint(scores.attention);
    const classifyMs = performance.now() - started;
    return { predictions, timings: { ...look.timings, classifyMs } };
  } finally {
    tf.dispose(kept);
  }
}

/** Decides by a close-up, if the model takes one. */
async function takeCloseUp(
  model: Model,
  pyramid: Pyramid,
  prediction: Prediction,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { subTiles } = prediction;
  const closeUp = await closeUpOf(model, pyramid, subTiles, signal);
  if (!closeUp) return;
  const logits = tf.tensor2d(Float32Array.from(closeUp.logits), [
    1,
    closeUp.logits.length,
  ]);
  const target = targetOf(model);
  const activated = target.activated(logits, model.calibration);
  Object.assign(prediction, target.decide(await activated.data()));
  tf.dispose([logits, activated]);
  prediction.object = regionOf(closeUp.object);
}

/** One prediction a glimpse. */
async function readPredictions(
  model: Model,
  { glimpses, draws }: Drawn,
  scored: Classified & Pick<Scores, "attention">,
): Promise<Prediction[]> {
  const target = targetOf(model);
  const activated = tf.tidy(() => {
    const { tiles, subTiles } = scored.attention;
    // Attention that is no number must not pass as a draw: 0 x NaN is NaN.
    const nothing = tf.mul(tf.add(tf.sum(tiles), tf.sum(subTiles)), 0);
    return tf.add(
      target.activated(scored.logits, model.calibration),
      nothing,
    );
  });
  const [rows, weights] = await Promise.all([
    activated.array() as Promise<number[][]>,
    scored.weights.data() as Promise<Float32Array>,
  ]);
  activated.dispose();
  let tile = 0, subTile = 0;
  return glimpses.map(({ tileRegions, subTileRegions }, glimpse) => {
    return {
      ...target.decide(rows[glimpse]!),
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
