/**
 * The Zoom-In network: look at a small view, draw tiles, look closer, draw
 * sub-tiles, read only those, and classify (Kong & Henao, CVPR 2022).
 *
 * A forward pass has two halves, because tfjs records no gradient across an
 * await: {@linkcode plan} looks, draws and reads; {@linkcode score} computes the
 * logits of the draws, inside or outside a gradient. An image that is too large
 * to be looked at as a whole is looked at in blocks: `planInBlocks`, then
 * {@linkcode scoreDrawn} with the attention that it found. Sub-tiles that do not
 * fit at once are read before, by {@linkcode readFeatures}.
 *
 *     B images, G representations (one an image, one more for each contrastive
 *     draw), T tiles and S sub-tiles of all of them, K features
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { attentionSoftmax } from "../../kernels/softmax/softmax.ts";
import { expectation } from "../sampling/expectation.ts";
import { subTileLogits } from "./look/attention.ts";
import type { Drawn, SubTiles } from "./look/draws.ts";
import { instancePooling } from "./mil_pooling.ts";
import { classify } from "./head.ts";
import type { Model } from "./model.ts";
import {
  features,
  meanUpdates,
  type Mode,
  type StatisticUpdates,
} from "./networks.ts";
import { groupLogits, type Plan } from "./look/whole.ts";

/** Result of {@linkcode scoreDrawn}. All tensors belong to the caller. */
export interface DrawnScores {
  logits: tf.Tensor2D; // [G, classes]
  weights: tf.Tensor1D; // [S] of each sub-tile in its representation
  features: tf.Tensor2D; // [S, K]
}

/** Result of {@linkcode score}. */
export interface Scores extends DrawnScores {
  /** alpha of each image, `[1, rows x columns]`. */
  tileAttention: tf.Tensor2D[]; // [B]
  /** beta of each tile. */
  subTileAttention: tf.Tensor2D; // [T, u x v]
}

/** Attention of the draws, before it is inverted for a contrastive draw. */
export interface DrawnAttention {
  tiles: tf.Tensor1D; // [T]
  subTiles: tf.Tensor1D; // [S]
}

/** Options of {@linkcode score}. */
export interface ScoreOptions extends Mode {
  /** Features of the sub-tiles `[S, K]`; computed here, at once, if omitted. */
  read?: tf.Tensor2D | undefined;
}

/** The logits of a plan's draws. */
export function score(
  model: Model,
  plan: Plan,
  options: ScoreOptions = {},
): Scores {
  const tileAttention = tileAttentions(model, plan);
  const subTileAttention = attentionSoftmax(
    subTileLogits(model.parameters, plan.tileViews),
  );
  return {
    ...scoreDrawn(model, plan, {
      tiles: drawnTileAttention(tileAttention, plan),
      subTiles: drawnSubTileAttention(subTileAttention, plan),
    }, options),
    tileAttention,
    subTileAttention,
  };
}

/** The logits of draws whose attention is given. */
export function scoreDrawn(
  { parameters, config }: Model,
  drawn: Drawn,
  attention: DrawnAttention,
  options: ScoreOptions = {},
): DrawnScores {
  const read = options.read ??
    features(parameters, config.network, drawn.subTiles!, options);
  const { representation, weights } = config.network.attention === "instances"
    ? instancePooling(parameters, read, drawn.draws)
    : expectation(
      {
        features: read,
        subTileAttention: turnedSubTiles(attention.subTiles, drawn),
        tileAttention: turnedTiles(attention.tiles, drawn),
      },
      drawn.draws,
      config.training.gradient,
    );
  return {
    logits: classify(parameters, representation),
    weights,
    features: read,
  };
}

/**
 * Features of all sub-tiles outside a gradient, batch by batch.
 *
 * @param mode of all of them: the updates are those of one batch.
 */
export async function readFeatures(
  { parameters, config }: Model,
  drawn: SubTiles,
  { updates }: Mode = {},
): Promise<tf.Tensor2D> {
  const parts: tf.Tensor2D[] = [];
  const ofParts: StatisticUpdates[] = [];
  try {
    for await (const batch of drawn.subTileBatches()) {
      const own: StatisticUpdates = new Map();
      const mode = updates ? { updates: own } : {};
      parts.push(tf.tidy(() => {
        const part = features(parameters, config.network, batch, mode);
        for (const update of own.values()) tf.keep(update);
        return part;
      }));
      ofParts.push(own);
    }
    const counts = parts.map(({ shape }) => shape[0]);
    for (const [name, update] of meanUpdates(ofParts, counts)) {
      updates?.set(name, update);
    }
    return tf.concat2d(parts, 0);
  } finally {
    tf.dispose([...parts, ...ofParts.flatMap((own) => [...own.values()])]);
  }
}

/** alpha of every image; images of one view size are one batch of a. */
function tileAttentions(model: Model, plan: Plan): tf.Tensor2D[] {
  const attentions: tf.Tensor2D[] = [];
  for (const group of plan.groups) {
    const all = attentionSoftmax(groupLogits(model, group));
    group.images.forEach((image, row) => {
      attentions[image] = group.images.length === 1 ? all : rowOf(all, row);
    });
  }
  return attentions;
}

/** alpha of each drawn tile, `[T]`. */
function drawnTileAttention(
  tileAttention: tf.Tensor2D[],
  { glimpses }: Plan,
): tf.Tensor1D {
  return concatenated(
    glimpses.map(({ image, tiles }) =>
      pick(flat(tileAttention[image]!), Int32Array.from(tiles))
    ),
  );
}

/** beta of each drawn sub-tile, `[S]`. */
function drawnSubTileAttention(
  subTileAttention: tf.Tensor2D,
  { draws, locations }: Plan,
): tf.Tensor1D {
  return pick(
    flat(subTileAttention),
    subTileIndices(draws.drawn, locations, subTileAttention.shape[1]),
  );
}

/**
 * Index of each drawn sub-tile among those of all tiles, `[S]`.
 *
 * @param drawn number of sub-tiles of each tile.
 * @param locations of the sub-tiles, each within its tile.
 */
export function subTileIndices(
  drawn: Int32Array,
  locations: ArrayLike<number>,
  ofTile: number,
): Int32Array {
  const indices = Int32Array.from(locations);
  let at = 0;
  drawn.forEach((drawn, tile) => {
    for (let k = 0; k < drawn; k++) indices[at++]! += tile * ofTile;
  });
  return indices;
}

/** Attention of drawn tiles, inverted for a contrastive draw. */
function turnedTiles(attention: tf.Tensor1D, drawn: Drawn): tf.Tensor1D {
  const { glimpses, draws } = drawn;
  return turnedWhere(
    attention,
    Array.from(draws.rowOf, (row) => glimpses[row]!),
  );
}

/** Attention of drawn sub-tiles, inverted for a contrastive draw. */
function turnedSubTiles(
  attention: tf.Tensor1D,
  { glimpses, draws, subTileMap }: Drawn,
): tf.Tensor1D {
  const locations = subTileMap.rows * subTileMap.columns;
  const ofEach = Array.from(draws.drawn).flatMap((drawn, tile) => {
    const { contrastive } = glimpses[draws.rowOf[tile]!]!;
    return new Array<Turn>(drawn).fill({ contrastive, locations });
  });
  return turnedWhere(attention, ofEach);
}

/** A location's kind of draw, and the number of locations of its map. */
interface Turn {
  contrastive: boolean;
  locations: number;
}

/**
 * (1 - p) / (n - 1) for a contrastive draw, which is where the network does not
 * look (section 2.3); p for others, and for the only location of a map.
 */
function turnedWhere(
  attention: tf.Tensor1D,
  turns: readonly Turn[],
): tf.Tensor1D {
  const isTurned = ({ contrastive, locations }: Turn) =>
    contrastive && locations > 1;
  if (!turns.some(isTurned)) return attention;
  const share = turns.map((turn) =>
    isTurned(turn) ? 1 / (turn.locations - 1) : 0
  );
  const factor = turns.map((turn, i) => isTurned(turn) ? -share[i]! : 1);
  return tf.add(tf.mul(attention, tf.tensor1d(factor)), tf.tensor1d(share));
}

function concatenated(parts: tf.Tensor1D[]): tf.Tensor1D {
  return parts.length === 1 ? parts[0]! : tf.concat1d(parts);
}

/** Elements of a vector by index; the gradient adds up at each index. */
export function pick(values: tf.Tensor1D, indices: Int32Array): tf.Tensor1D {
  const operation = tf.customGrad((input) => ({
    value: tf.gather(input as tf.Tensor1D, tf.tensor1d(indices, "int32")),
    gradFunc: (dy) =>
      tf.scatterND(
        tf.tensor2d(indices, [indices.length, 1], "int32"),
        dy,
        values.shape,
      ),
  }));
  return operation(values) as tf.Tensor1D;
}

/** One row of a matrix, as a matrix; the gradient is zero elsewhere. */
function rowOf(values: tf.Tensor2D, row: number): tf.Tensor2D {
  const [rows, columns] = values.shape;
  const operation = tf.customGrad((input) => ({
    value: tf.slice(input as tf.Tensor2D, [row, 0], [1, columns]),
    gradFunc: (dy) =>
      tf.pad(dy as tf.Tensor2D, [[row, rows - 1 - row], [0, 0]]),
  }));
  return operation(values) as tf.Tensor2D;
}

function flat(values: tf.Tensor): tf.Tensor1D {
  return tf.reshape(values, [-1]);
}
