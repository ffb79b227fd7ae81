/**
 * The logits of both attention stages, as maps of locations, and what is picked
 * from them.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import {
  cellShares,
  type MapBlock,
  type MapSize,
  type Region,
  type Size,
} from "../../image/geometry.ts";
import { type Activations, attentionLogits } from "../networks.ts";
import type { Parameters } from "../parameters.ts";

/** Stage I: logits of the tile map of each view `[N, h, w, 3]`. */
export function tileLogits(
  parameters: Parameters,
  views: tf.Tensor4D,
  map: MapSize,
  activations?: Activations,
): tf.Tensor2D {
  return mapLogits(parameters, "a", views, map, activations);
}

/** The place of a part in its view, px. */
export interface ViewPlace {
  view: Size;
  part: Region;
}

/**
 * Stage I of a part of a view `[1, h, w, 3]`: logits of the locations of
 * `block`, `[1, rows * columns]`. The part holds the block and the network's
 * receptive field around it, as far as the view reaches.
 */
export function blockLogits(
  parameters: Parameters,
  shown: tf.Tensor4D,
  { block, map, ...place }: { block: MapBlock; map: MapSize } & ViewPlace,
): tf.Tensor2D {
  const logits = attentionLogits(parameters, "a", shown); // [1, h, w]
  const pooled = pooledTo(logits, block, map, place);
  return tf.reshape(pooled, [1, block.rows * block.columns]);
}

/**
 * Stage II: logits of the sub-tile map of each tile `[T, u, v, 3]`.
 *
 * @param mask 0, or -Infinity where nothing may be drawn, `[T, locations]`.
 */
export function subTileLogits(
  parameters: Parameters,
  tileViews: tf.Tensor4D,
  map: MapSize,
  mask?: tf.Tensor2D,
  activations?: Activations,
): tf.Tensor2D {
  const logits = mapLogits(parameters, "b", tileViews, map, activations);
  return mask ? tf.add(logits, mask) : logits;
}

/** Logits of a network, pooled to a map over the whole of each view. */
function mapLogits(
  parameters: Parameters,
  net: "a" | "b",
  views: tf.Tensor4D,
  map: MapSize,
  activations?: Activations,
): tf.Tensor2D {
  const logits = attentionLogits(parameters, net, views, activations); // [N, h, w]
  const [count, height, width] = logits.shape;
  const pooled = height === map.rows && width === map.columns
    ? logits
    : pooledTo(logits, { row: 0, column: 0, ...map }, map, {
      view: { width, height },
      part: { x: 0, y: 0, width, height },
    }); // [N, rows, columns]
  return tf.reshape(pooled, [count, map.rows * map.columns]);
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

/**
 * Area-weighted mean of logits `[N, h, w]` of a part of a view over the cells of
 * a block of a map: rows x logits x columns^T with the share of each px in each
 * cell.
 */
function pooledTo(
  logits: tf.Tensor3D,
  block: MapBlock,
  map: MapSize,
  { view, part }: ViewPlace,
): tf.Tensor3D {
  const count = logits.shape[0];
  const rows = cellShares({
    first: block.row,
    cells: block.rows,
    count: map.rows,
    extent: view.height,
  }, { start: part.y, locations: part.height });
  const columns = cellShares({
    first: block.column,
    cells: block.columns,
    count: map.columns,
    extent: view.width,
  }, { start: part.x, locations: part.width });
  const byRows = tf.matMul(
    repeated(rows, [count, block.rows, part.height]),
    logits,
  );
  return tf.matMul(
    byRows,
    tf.transpose(
      repeated(columns, [count, block.columns, part.width]),
      [0, 2, 1],
    ),
  );
}

/** `matrix` for each of `count` maps. */
function repeated(
  matrix: Float32Array,
  [count, rows, columns]: [number, number, number],
): tf.Tensor3D {
  const all = new Float32Array(count * rows * columns);
  for (let n = 0; n < count; n++) all.set(matrix, n * rows * columns);
  return tf.tensor3d(all, [count, rows, columns]);
}
