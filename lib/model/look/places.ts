/**
 * The places of a sub-tile at which frozen features are read. A feature shows a
 * window of some 30 px; a sub-tile of 64 px that is read about its middle alone
 * is mostly not looked at.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import type { Point } from "../../image/geometry.ts";

/**
 * Middles of the cells of a sub-tile that is cut into `side` x `side`, row by row.
 *
 * @param middle of the sub-tile, level-0 px.
 */
export function placesOf(
  middle: Point,
  { subTileSize, side }: { subTileSize: number; side: number },
): Point[] {
  const at = (cell: number) => ((cell + 0.5) / side - 0.5) * subTileSize;
  return Array.from({ length: side ** 2 }, (_, i) => ({
    x: middle.x + at(i % side),
    y: middle.y + at(Math.floor(i / side)),
  }));
}

/**
 * Logits of sub-tiles from those of their places: the log-mean-exp, so that the
 * evidence of all sub-tiles is that of all places.
 *
 * @param logits `[S * places, K]`.
 * @returns `[S, K]`.
 */
export function overPlaces(
  logits: tf.Tensor2D,
  { places, sharpness }: { places: number; sharpness: number },
): tf.Tensor2D {
  if (places === 1) return logits;
  const [rows, outputs] = logits.shape;
  const each = tf.reshape(logits, [rows / places, places, outputs]);
  const sums = tf.logSumExp(tf.mul(each, sharpness), 1);
  return tf.div(tf.sub(sums, Math.log(places)), sharpness) as tf.Tensor2D;
}
