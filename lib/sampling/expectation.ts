/**
 * The expectation over both stages from a few draws, and its exact gradients.
 *
 *     F     = sum over drawn tiles c of (n_c / N) phi_c
 *     phi_c = 1/n sum_k [ sum_{j<k} b_j f_j + m_k f_k ],   m_k = 1 - sum_{j<k} b_j
 *
 * b_0, b_1, ... are the attentions of the n locations drawn in tile c without
 * replacement, in the order they were drawn (Kong & Henao, CVPR 2022, eq. 9;
 * Kool et al. 2019 for the estimator). F is linear in the features, so it is a
 * weighted sum of them: the weight of f_k within its tile is
 *
 *     W_k = (m_k + (n - 1 - k) b_k) / n
 *
 * and the gradients, which the paper omits, are, with g_k = dL/dW_k,
 *
 *     unbiased:  dL/db_k = g_k ((n - 1 - k) + m_k / b_k) / n
 *     ats:       dL/db_k = (m_k / b_k (sum_{j<k} b_j g_j + m_k g_k)
 *                           + sum_{j<k} g_j - k g_k) / n
 *     tiles:     dL/dalpha_c = (n_c / N) <g, phi_c> / alpha_c
 *
 * `ats` is the rule of Katharopoulos & Fleuret, ICML 2019: biased for n >= 2.
 *
 * `leaveOneOut` is unbiased, too, and varies less: a constant in the place of
 * every g has no gradient in the mean, so the result of the other draws can be
 * subtracted (Kool et al., "Buy 4 REINFORCE samples, get a baseline for free!",
 * 2019). With x_c = <g, phi_c>, the mean x = sum_c (n_c / N) x_c, and the mean
 * of the other tiles o_c = (N x - n_c x_c) / (N - n_c):
 *
 *     tiles:       x_c becomes N / (N - 1) (x_c - x)
 *     sub-tiles:   g_k becomes g_k - o_c
 *
 * A draw's baseline does not contain its own noise: the draws of tiles are
 * independent, and so are those of sub-tiles in different tiles.
 *
 * @module
 */
import type * as tf from "@tensorflow/tfjs-core";
import {
  drawnExpectation,
  type Draws,
  type GradientRule,
} from "../../kernels/expectation/expectation.ts";

export type { Draws, GradientRule };

/**
 * The representation F of each row.
 *
 * @param features `[S, K]` of the sub-tiles, tile after tile, each tile's in
 * the order they were drawn.
 * @param subTileAttention `[S]`: b of each sub-tile.
 * @param tileAttention `[T]`: alpha of each tile.
 * @returns F `[rows, K]` and the weight of each sub-tile in it `[S]`.
 */
export function expectation(
  drawn: {
    features: tf.Tensor2D;
    subTileAttention: tf.Tensor1D;
    tileAttention: tf.Tensor1D;
  },
  draws: Draws,
  rule: GradientRule,
): { representation: tf.Tensor2D; weights: tf.Tensor1D } {
  return drawnExpectation(drawn, draws, rule);
}
