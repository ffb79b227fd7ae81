/**
 * Evidence: the log-mean-exp over all locations of an image, from a few draws.
 *
 *     E_k = 1/r [ log sum over all locations i of exp(r z_ik)  -  log G ]
 *
 * z_ik is the logit of class k at location i, G the number of locations; for
 * rare objects a number C of locations that they fill takes the place of G. The
 * sum is estimated from locations drawn under q:
 *
 *     sum_i exp(r z_i)  ~  sum over drawn locations of w_s exp(r z_s) / q_s
 *
 * with w_s = m_s / N for a location that is drawn m_s times of N. So the estimate
 * is unbiased inside the logarithm (whose concavity lowers it when draws are few),
 * and exact multiple-instance learning is its limit. If q is softmax(r z), every
 * draw has the same term, and the estimate is exact.
 *
 * Tiles are drawn by residual sampling (residual.ts; in training with replacement), within a tile draws are
 * systematic (systematic.ts): a location that N q draws are expected to hit is not
 * missed. Drawn without replacement, with the weights of priority sampling (Duffield
 * et al., J. ACM 2007), they vary more: a location drawn for sure has another weight
 * each time.
 *
 *     q = (1 - eps) alpha beta + eps u,   u uniform
 *
 * is a defensive mixture (Hesterberg, Technometrics 1995): no draw can have more
 * than 1 / eps times the weight of a uniform one. Attention learns to be the
 * proposal that varies least, softmax(r z), by the cross-entropy method
 * (Rubinstein 1999): its loss is -sum_s p_s log(alpha_s beta_s) with p the shares
 * of the draws in E. No gradient flows through q.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import type { Draws } from "./expectation.ts";

/** Draws from a proposal q, with all that their evidence needs. */
export interface ProposedDraws {
  draws: Draws;
  /** q of each tile, `[T]`. */
  tiles: ArrayLike<number>;
  /** q of each drawn location given its tile, `[S]`. */
  subTiles: ArrayLike<number>;
  /** m: how often each drawn location was drawn, `[S]`. */
  counts: ArrayLike<number>;
  /** G or C of each row. */
  locations: ArrayLike<number>;
}

// Log-weight of a sub-tile of another row, or of weight 0: no share in float32.
const ELSEWHERE = -1e9;

/**
 * log(w_s / (q_s G)) of each drawn sub-tile `[S]`: what is added to r z in the
 * log-sum-exp of its row.
 */
export function evidenceOffsets(
  { draws, tiles, subTiles, counts, locations }: ProposedDraws,
): Float32Array {
  const { samples, rowOf, drawn } = draws;
  const offsets: number[] = [];
  drawn.forEach((count, tile) => {
    const all = Math.log(samples * tiles[tile]!) +
      Math.log(locations[rowOf[tile]!]!);
    for (let k = 0; k < count; k++) {
      const s = offsets.length;
      offsets.push(Math.log(counts[s]! / subTiles[s]!) - all);
    }
  });
  return Float32Array.from(offsets);
}

/** Row of each drawn sub-tile, `[S]`. */
export function rowsOf({ rowOf, drawn }: Draws): Int32Array {
  const rows: number[] = [];
  drawn.forEach((count, tile) => {
    for (let k = 0; k < count; k++) rows.push(rowOf[tile]!);
  });
  return Int32Array.from(rows);
}

/**
 * E of each row, and the share of each sub-tile in it, `exp(r z + offset - r E)`,
 * which adds to 1 in each row and class.
 *
 * @param logits z, `[S, classes]`.
 * @param offsets of {@linkcode evidenceOffsets}, `[S]`.
 * @returns evidence `[rows, classes]`, shares `[S, classes]` (no gradient).
 */
export function evidence(
  logits: tf.Tensor2D,
  offsets: Float32Array,
  draws: Draws,
  sharpness: number,
): { evidence: tf.Tensor2D; shares: tf.Tensor2D } {
  const rows = rowsOf(draws);
  const terms = (z: tf.Tensor2D) =>
    tf.add(tf.mul(z, sharpness), tf.tensor2d(offsets, [rows.length, 1]));
  const operation = tf.customGrad((input, save) => {
    const z = input as tf.Tensor2D;
    const sums = logSumExpOfRows(terms(z) as tf.Tensor2D, rows);
    (save as tf.GradSaveFunc)([z, sums]);
    return {
      value: tf.div(sums, sharpness),
      gradFunc: (upstream, saved) => {
        const [z, sums] = saved as [tf.Tensor2D, tf.Tensor2D];
        const shares = tf.exp(
          tf.sub(terms(z), spread(sums, rows)),
        );
        return tf.mul(shares, spread(upstream as tf.Tensor2D, rows));
      },
    };
  });
  const values = operation(logits) as tf.Tensor2D;
  const shares = tf.exp(tf.sub(
    terms(logits),
    spread(tf.mul(values, sharpness) as tf.Tensor2D, rows),
  )) as tf.Tensor2D;
  return { evidence: values, shares: constant(shares) };
}

/** The same values, through which no gradient flows. */
function constant<T extends tf.Tensor>(values: T): T {
  return tf.customGrad((input) => ({
    value: tf.reshape(input as tf.Tensor, values.shape),
    gradFunc: (dy) => tf.zerosLike(dy as tf.Tensor),
  }))(values) as T;
}

/** Log-sum-exp over the sub-tiles of each row: `[S, C]` -> `[rows, C]`. */
function logSumExpOfRows(terms: tf.Tensor2D, rows: Int32Array): tf.Tensor2D {
  const count = rows.reduce((most, row) => Math.max(most, row), 0) + 1;
  const elsewhere = new Float32Array(count * rows.length).fill(ELSEWHERE);
  rows.forEach((row, s) => elsewhere[row * rows.length + s] = 0);
  const mask = tf.tensor3d(elsewhere, [count, rows.length, 1]);
  return tf.logSumExp(tf.add(tf.expandDims(terms, 0), mask), 1) as tf.Tensor2D;
}

/** The value of each sub-tile's row: `[rows, C]` -> `[S, C]`. */
function spread(values: tf.Tensor2D, rows: Int32Array): tf.Tensor2D {
  return tf.gather(values, tf.tensor1d(rows, "int32"));
}

/**
 * The loss by which attention learns to be the proposal: -sum over draws of p
 * log(alpha beta), weighted by row.
 *
 * @param shares p, `[S]`: of each sub-tile in the evidence of its row's class.
 * @param attention alpha of each tile `[T]` and beta of each sub-tile `[S]`.
 * @param weights of the rows, `[rows]`.
 */
export function proposalLoss(
  shares: tf.Tensor1D,
  { tiles, subTiles }: { tiles: tf.Tensor1D; subTiles: tf.Tensor1D },
  draws: Draws,
  weights: ArrayLike<number>,
): tf.Scalar {
  const rowWeights = Float32Array.from(rowsOf(draws), (row) => weights[row]!);
  const ofSubTiles = tf.mul(shares, tf.tensor1d(rowWeights)) as tf.Tensor1D;
  const ofTiles = sumsOfTiles(ofSubTiles, draws.drawn);
  return tf.mul(
    tf.add(
      weightedLog(tiles, ofTiles),
      weightedLog(subTiles, ofSubTiles),
    ),
    -1,
  ) as tf.Scalar;
}

/** Sum over the sub-tiles of each tile: `[S]` -> `[T]`. */
function sumsOfTiles(values: tf.Tensor1D, drawn: Int32Array): tf.Tensor1D {
  const tileOf = Array.from(drawn).flatMap((count, tile) =>
    new Array<number>(count).fill(tile)
  );
  const indices = tf.tensor2d(tileOf, [tileOf.length, 1], "int32");
  return tf.scatterND(indices, values, [drawn.length]);
}

// Attention of 0 in float32 has no logarithm, and is not drawn but by u.
const MIN_ATTENTION = 1e-30;

/** sum_s weight_s log p_s, with its gradient to p. */
function weightedLog(p: tf.Tensor1D, weights: tf.Tensor1D): tf.Scalar {
  return tf.customGrad((input, save) => {
    const kept = tf.maximum(input as tf.Tensor1D, MIN_ATTENTION);
    (save as tf.GradSaveFunc)([kept, weights]);
    return {
      value: tf.sum(tf.mul(weights, tf.log(kept))) as tf.Scalar,
      gradFunc: (dy, saved) => {
        const [kept, weights] = saved as [tf.Tensor1D, tf.Tensor1D];
        return tf.mul(tf.div(weights, kept), dy as tf.Scalar);
      },
    };
  })(p) as tf.Scalar;
}

/** eps of the mixture at `progress` in [0, 1) of the steps. */
export function exploration(progress: number): number {
  const [start, end] = [0.15, 0.5];
  if (progress < start) return 1;
  const fallen = Math.min(1, (progress - start) / (end - start));
  return 1 - (1 - EXPLORATION) * fallen;
}

/** eps after half of the steps, and at evaluation. */
export const EXPLORATION = 0.2;
