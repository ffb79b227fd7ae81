/**
 * The logits of both attention stages, as maps of locations.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import type { MapSize } from "../image/geometry.ts";
import { attentionLogits, type Parameters } from "./networks.ts";

/** Stage I: logits of the tile map of each view `[N, h, w, 3]`. */
export function tileLogits(
  parameters: Parameters,
  views: tf.Tensor4D,
  map: MapSize,
): tf.Tensor2D {
  const logits = attentionLogits(parameters, "a", views); // [N, h, w]
  const pooled = poolTo(logits, map); // [N, rows, columns]
  return tf.reshape(pooled, [views.shape[0], map.rows * map.columns]);
}

/** Stage II: logits of the sub-tile map of each tile `[T, u, v, 3]`. */
export function subTileLogits(
  parameters: Parameters,
  tileViews: tf.Tensor4D,
): tf.Tensor2D {
  const logits = attentionLogits(parameters, "b", tileViews); // [T, u, v]
  return tf.reshape(logits, [logits.shape[0], -1]);
}

/**
 * Area-weighted mean of a map `[N, h, w]` over the cells of a coarser one:
 * rows x map x columns^T with the share of each location in each cell.
 */
function poolTo(
  logits: tf.Tensor3D,
  { rows, columns }: MapSize,
): tf.Tensor3D {
  const [count, height, width] = logits.shape;
  if (height === rows && width === columns) return logits;
  const byRows = tf.matMul(
    broadcastShares(rows, height, count),
    logits,
  );
  return tf.matMul(
    byRows,
    tf.transpose(broadcastShares(columns, width, count), [0, 2, 1]),
  );
}

/** Share of each of `locations` in each of `cells`, `[count, cells, locations]`. */
function broadcastShares(
  cells: number,
  locations: number,
  count: number,
): tf.Tensor3D {
  const extent = locations / cells;
  const shares = new Float32Array(count * cells * locations);
  for (let n = 0; n < count; n++) {
    for (let cell = 0; cell < cells; cell++) {
      const start = cell * extent, end = start + extent;
      for (let at = Math.floor(start); at < Math.min(end, locations); at++) {
        const overlap = Math.min(at + 1, end) - Math.max(at, start);
        shares[(n * cells + cell) * locations + at] = overlap / extent;
      }
    }
  }
  return tf.tensor3d(shares, [count, cells, locations]);
}
