/**
 * Draws from the maps of both stages, where whole maps are on the engine.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import type { Key } from "../../kernels/random.ts";
import {
  contrastiveLogWeights,
  drawExpected,
  drawWithReplacement,
  topGumbel,
} from "../../kernels/sample.ts";
import { attentionSoftmax } from "../../kernels/softmax.ts";
import type { MapSize } from "../image/geometry.ts";

/** Distinct locations of a map, and how often each was drawn. */
export interface TileCounts {
  indices: number[];
  counts: number[];
}

/** N draws with replacement from each row of log-weights. */
export async function drawTileRows(
  logWeights: tf.Tensor2D,
  { keys, map, samples }: { keys: Key[]; map: MapSize; samples: number },
): Promise<TileCounts[]> {
  const k = Math.min(samples, logWeights.shape[1]);
  const drawn = await gumbelRows(logWeights, { k, keys, columns: map.columns });
  return keys.map((key, row) =>
    drawWithReplacement({
      indices: drawn.indices.subarray(row * k, (row + 1) * k),
      values: drawn.values.subarray(row * k, (row + 1) * k),
    }, { samples, key, columns: map.columns })
  );
}

/** The counts that N draws from each row of logits are expected to give. */
export async function drawExpectedTiles(
  logits: tf.Tensor2D,
  samples: number,
): Promise<TileCounts[]> {
  const attention = attentionSoftmax(logits);
  const values = await attention.data() as Float32Array;
  attention.dispose();
  const [rows, locations] = logits.shape;
  return Array.from({ length: rows }, (_, row) =>
    drawExpected(
      values.subarray(row * locations, (row + 1) * locations),
      samples,
    ));
}

/** k draws without replacement from each row: first drawn first, `[rows * k]`. */
export async function drawSubTileRows(
  logWeights: tf.Tensor2D,
  { draws, ...options }: {
    draws: "seeded" | "topN";
    k: number;
    keys: readonly Key[];
    columns: number;
  },
): Promise<Int32Array> {
  return draws === "topN"
    ? await largest(logWeights, options.k)
    : (await gumbelRows(logWeights, options)).indices;
}

/**
 * Log-weights of 1 - softmax(logits); of the logits where a row is one location.
 *
 * @param mask 0 or -Infinity, as was added to the logits.
 */
export function contrastiveWeights(
  logits: tf.Tensor2D,
  mask?: tf.Tensor2D,
): tf.Tensor2D {
  return tf.tidy(() => {
    if (logits.shape[1] === 1) return tf.clone(logits);
    const weights = contrastiveLogWeights(attentionSoftmax(logits));
    return mask ? tf.add(weights, mask) : weights;
  });
}

async function gumbelRows(
  logWeights: tf.Tensor2D,
  { k, keys, columns }: { k: number; keys: readonly Key[]; columns: number },
): Promise<{ indices: Int32Array; values: Float32Array }> {
  const { indices, values } = topGumbel(logWeights, {
    k,
    keys: new Uint32Array(keys.flat()),
    columns,
  });
  const read = await Promise.all([indices.data(), values.data()]);
  tf.dispose([indices, values]);
  return { indices: read[0] as Int32Array, values: read[1] as Float32Array };
}

async function largest(values: tf.Tensor2D, k: number): Promise<Int32Array> {
  const top = tf.topk(values, k);
  const indices = await top.indices.data() as Int32Array;
  tf.dispose([top.values, top.indices]);
  return indices;
}
