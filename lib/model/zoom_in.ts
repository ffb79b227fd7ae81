/**
 * The Zoom-In network: look at a small view, draw tiles, look closer, draw
 * sub-tiles, read only those, and classify (Kong & Henao, CVPR 2022).
 *
 * A pass has two halves, because tfjs records no gradient across an await:
 * {@linkcode plan} looks, draws and reads; {@linkcode score} computes the
 * logits of what was drawn, inside or outside a gradient.
 *
 *     B images, G representations (one an image, one more for each contrastive
 *     draw), T tiles and S sub-tiles of all of them, K features
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { attentionSoftmax } from "../../kernels/softmax.ts";
import { expectation } from "../sampling/expectation.ts";
import { subTileLogits, tileLogits } from "./attention.ts";
import { instancePooling } from "./instances.ts";
import type { Model } from "./model.ts";
import { classify, features, type Mode } from "./networks.ts";
import type { Plan } from "./plan.ts";

/** What {@linkcode score} computes. All tensors belong to the caller. */
export interface Scores {
  logits: tf.Tensor2D; // [G, classes]
  weights: tf.Tensor1D; // [S] of each sub-tile in its representation
  features: tf.Tensor2D; // [S, K]
  /** alpha of each image, `[1, rows x columns]`. */
  tileAttention: tf.Tensor2D[]; // [B]
  /** beta of each tile. */
  subTileAttention: tf.Tensor2D; // [T, u x v]
}

/** The logits of what a plan has drawn. */
export function score(model: Model, plan: Plan, mode: Mode = {}): Scores {
  const { parameters, config } = model;
  const tileAttention = tileAttentions(model, plan);
  const subTileAttention = attentionSoftmax(
    subTileLogits(parameters, plan.tileViews),
  );
  const read = features(
    parameters,
    config.network.features,
    plan.subTiles,
    mode,
  );
  const { representation, weights } = config.network.attention === "instances"
    ? instancePooling(parameters, read, plan.draws)
    : expectation(
      {
        features: read,
        subTileAttention: drawnSubTileAttention(subTileAttention, plan),
        tileAttention: drawnTileAttention(tileAttention, plan),
      },
      plan.draws,
      config.training.gradient,
    );
  return {
    logits: classify(parameters, representation),
    weights,
    features: read,
    tileAttention,
    subTileAttention,
  };
}

/** alpha of every image; images of one view size go through a together. */
function tileAttentions(model: Model, plan: Plan): tf.Tensor2D[] {
  const attentions: tf.Tensor2D[] = [];
  for (const group of plan.groups) {
    const all = attentionSoftmax(
      tileLogits(model.parameters, group.views, group.map),
    );
    group.images.forEach((image, row) => {
      attentions[image] = group.images.length === 1 ? all : rowOf(all, row);
    });
  }
  return attentions;
}

/** alpha of each drawn tile, `[T]`, turned for a contrastive draw. */
function drawnTileAttention(
  tileAttention: tf.Tensor2D[],
  plan: Plan,
): tf.Tensor1D {
  const parts = plan.glimpses.map(({ image, contrastive, tiles }) => {
    const attention = tileAttention[image]!;
    const drawn = pick(flat(attention), Int32Array.from(tiles));
    return contrastive ? turned(drawn, attention.shape[1]) : drawn;
  });
  return parts.length === 1 ? parts[0]! : tf.concat1d(parts);
}

/** beta of each drawn sub-tile, `[S]`, turned for a contrastive draw. */
function drawnSubTileAttention(
  subTileAttention: tf.Tensor2D,
  plan: Plan,
): tf.Tensor1D {
  const [, locations] = subTileAttention.shape;
  const indices: number[] = [], contrastive: number[] = [];
  let at = 0;
  plan.draws.drawn.forEach((drawn, tile) => {
    const turn = plan.glimpses[plan.draws.rowOf[tile]!]!.contrastive;
    for (let k = 0; k < drawn; k++, at++) {
      indices.push(tile * locations + plan.locations[at]!);
      contrastive.push(turn ? 1 : 0);
    }
  });
  const drawn = pick(flat(subTileAttention), Int32Array.from(indices));
  if (!contrastive.includes(1)) return drawn;
  const turn = tf.tensor1d(contrastive);
  return tf.add(
    tf.mul(drawn, tf.sub(1, turn)),
    tf.mul(turned(drawn, locations), turn),
  );
}

/** (1 - p) / (n - 1): where the network does not look (section 2.3). */
function turned(attention: tf.Tensor1D, locations: number): tf.Tensor1D {
  if (locations === 1) return attention; // a single location has no contrast
  const scale = 1 / (locations - 1);
  return tf.add(tf.mul(attention, -scale), scale);
}

/** Elements of a vector by index; the gradient adds up at each index. */
function pick(values: tf.Tensor1D, indices: Int32Array): tf.Tensor1D {
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
