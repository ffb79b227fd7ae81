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
import * as tf from "@tensorflow/tfjs-core";

/** Rule for the gradient of the sub-tile attention. */
export type GradientRule = "unbiased" | "leaveOneOut" | "ats";

/** The draws, flat over all representations of a batch. */
export interface Draws {
  /** N: samples of each representation. */
  samples: number;
  /** Representation that a tile belongs to, `[T]`. */
  rowOf: Int32Array;
  /** n_c: how often a tile was drawn, `[T]`; adds up to N in each row. */
  counts: Int32Array;
  /**
   * n: distinct sub-tiles drawn in a tile, `[T]`; n_c unless the tile has fewer, or
   * draws are with replacement (head `evidence`).
   */
  drawn: Int32Array;
}

// An attention of 0 in float32 is drawn only after underflow; this keeps 1 / b
// finite.
const MIN_ATTENTION = 1e-30;

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
  { features, subTileAttention, tileAttention }: {
    features: tf.Tensor2D;
    subTileAttention: tf.Tensor1D;
    tileAttention: tf.Tensor1D;
  },
  draws: Draws,
  rule: GradientRule,
): { representation: tf.Tensor2D; weights: tf.Tensor1D } {
  const layout = new Layout(draws);
  const weights = combinedWeights(
    subTileWeights(subTileAttention, layout, rule),
    tileWeights(tileAttention, draws),
    { layout, rule },
  );
  const weighted = tf.mul(
    features,
    tf.reshape(weights, [layout.subTiles, 1]),
  ) as tf.Tensor2D;
  return {
    representation: tf.matMul(layout.membership(), weighted),
    weights,
  };
}

/** Indices of each sub-tile: in its tile, its row, and a padded table. */
class Layout {
  readonly subTiles: number;
  readonly tiles: number;
  /** Sub-tiles of the fullest tile. */
  readonly #widest: number;
  readonly #tileOf: Int32Array;
  readonly #order: Int32Array;
  readonly #draws: Draws;

  constructor(draws: Draws) {
    this.#draws = draws;
    this.tiles = draws.drawn.length;
    this.subTiles = draws.drawn.reduce((sum, n) => sum + n, 0);
    this.#widest = draws.drawn.reduce((most, n) => Math.max(most, n), 1);
    this.#tileOf = new Int32Array(this.subTiles);
    this.#order = new Int32Array(this.subTiles);
    for (let tile = 0, at = 0; tile < this.tiles; tile++) {
      for (let k = 0; k < draws.drawn[tile]!; k++, at++) {
        this.#tileOf[at] = tile;
        this.#order[at] = k;
      }
    }
  }

  /** k: rank of each sub-tile among its tile's draws, `[S]`. */
  order(): tf.Tensor1D {
    return tf.tensor1d(Float32Array.from(this.#order));
  }

  /** n: number of draws in each sub-tile's tile, `[S]`. */
  drawn(): tf.Tensor1D {
    return tf.tensor1d(
      Float32Array.from(this.#tileOf, (tile) => this.#draws.drawn[tile]!),
    );
  }

  /** A value of each tile at each of its sub-tiles: `[T]` -> `[S]`. */
  spread(values: tf.Tensor1D): tf.Tensor1D {
    return tf.gather(values, tf.tensor1d(this.#tileOf, "int32"));
  }

  /** Sum of the values before each sub-tile in its tile: `[S]` -> `[S]`. */
  sumBefore(values: tf.Tensor1D): tf.Tensor1D {
    const sums = tf.cumsum(this.#table(values), 1, true);
    const slots = this.#tileOf.map((tile, at) =>
      tile * this.#widest + this.#order[at]!
    );
    return tf.gather(tf.reshape(sums, [-1]), tf.tensor1d(slots, "int32"));
  }

  /** Sum of the values of each tile: `[S]` -> `[T]`. */
  sumOfTile(values: tf.Tensor1D): tf.Tensor1D {
    return tf.sum(this.#table(values), 1);
  }

  /** 1 where a sub-tile belongs to a row: `[rows, S]`. */
  membership(): tf.Tensor2D {
    const table = new Float32Array(this.#rows * this.subTiles);
    this.#tileOf.forEach((tile, at) => {
      table[this.#draws.rowOf[tile]! * this.subTiles + at] = 1;
    });
    return tf.tensor2d(table, [this.#rows, this.subTiles]);
  }

  /**
   * Values x `[T]` of tiles relative to their rows: N / (N - 1) (x_c - x), and
   * o_c, the mean of the row's other draws; both `[T]`. Without another draw
   * they are x_c and 0.
   */
  comparedWithOthers(
    values: tf.Tensor1D,
  ): { centred: tf.Tensor1D; others: tf.Tensor1D } {
    const { samples, rowOf, counts } = this.#draws;
    if (samples === 1) return { centred: values, others: tf.zerosLike(values) };
    const ofRow = new Float32Array(this.#rows * this.tiles);
    rowOf.forEach((row, tile) => {
      ofRow[row * this.tiles + tile] = counts[tile]! / samples;
    });
    const means = tf.matMul(
      tf.tensor2d(ofRow, [this.#rows, this.tiles]),
      tf.reshape(values, [this.tiles, 1]),
    );
    const mean = tf.gather(
      tf.reshape(means, [-1]),
      tf.tensor1d(rowOf, "int32"),
    );
    const share = (of: (count: number) => number) =>
      tf.tensor1d(Float32Array.from(counts, of));
    const ofMean = share((n) => n < samples ? samples / (samples - n) : 0);
    const ofSelf = share((n) => n < samples ? n / (samples - n) : 0);
    return {
      centred: tf.mul(tf.sub(values, mean), samples / (samples - 1)),
      others: tf.sub(tf.mul(mean, ofMean), tf.mul(values, ofSelf)),
    };
  }

  get #rows(): number {
    return this.#draws.rowOf.reduce((most, row) => Math.max(most, row), 0) + 1;
  }

  /** The values as a table with one row per tile, padded with zeros. */
  #table(values: tf.Tensor1D): tf.Tensor2D {
    const slots = new Int32Array(this.tiles * this.#widest).fill(this.subTiles);
    this.#tileOf.forEach((tile, at) => {
      slots[tile * this.#widest + this.#order[at]!] = at;
    });
    const padded = tf.concat([values, tf.zeros([1])]);
    return tf.reshape(
      tf.gather(padded, tf.tensor1d(slots, "int32")),
      [this.tiles, this.#widest],
    );
  }
}

/** W of each sub-tile within its tile, `[S]`, with the rule's gradient. */
function subTileWeights(
  attention: tf.Tensor1D,
  layout: Layout,
  rule: GradientRule,
): tf.Tensor1D {
  const operation = tf.customGrad((input, save) => {
    const b = input as tf.Tensor1D;
    const left = tf.relu(tf.sub(1, layout.sumBefore(b))); // m, >= 0
    (save as tf.GradSaveFunc)([b, left]);
    const n = layout.drawn();
    const after = tf.sub(tf.sub(n, 1), layout.order()); // n - 1 - k
    return {
      value: tf.div(tf.add(left, tf.mul(after, b)), n),
      gradFunc: (upstream, saved) => {
        const [b, left] = saved as [tf.Tensor1D, tf.Tensor1D];
        const g = upstream as tf.Tensor1D;
        const ratio = tf.div(left, tf.maximum(b, MIN_ATTENTION));
        const n = layout.drawn();
        const k = layout.order();
        if (rule !== "ats") {
          const after = tf.sub(tf.sub(n, 1), k);
          return tf.div(tf.mul(g, tf.add(after, ratio)), n);
        }
        const estimate = tf.add(
          layout.sumBefore(tf.mul(b, g)),
          tf.mul(left, g),
        );
        const shift = tf.sub(layout.sumBefore(g), tf.mul(k, g));
        return tf.div(tf.add(tf.mul(estimate, ratio), shift), n);
      },
    };
  });
  return operation(attention) as tf.Tensor1D;
}

/** n_c / N of each tile, `[T]`, with the gradient to its attention. */
function tileWeights(attention: tf.Tensor1D, draws: Draws): tf.Tensor1D {
  const operation = tf.customGrad((input, save) => {
    const weights = tf.tensor1d(
      Float32Array.from(draws.counts, (count) => count / draws.samples),
    );
    (save as tf.GradSaveFunc)([input as tf.Tensor, weights]);
    return {
      value: weights,
      gradFunc: (g, saved) => {
        const [alpha, weights] = saved as [tf.Tensor, tf.Tensor];
        return tf.div(
          tf.mul(g, weights),
          tf.maximum(alpha, MIN_ATTENTION),
        );
      },
    };
  });
  return operation(attention) as tf.Tensor1D;
}

/** Weight of each sub-tile in F: its own times its tile's, `[S]`. */
function combinedWeights(
  subTiles: tf.Tensor1D,
  tiles: tf.Tensor1D,
  { layout, rule }: { layout: Layout; rule: GradientRule },
): tf.Tensor1D {
  const operation = tf.customGrad((...args) => {
    const [within, ofTile] = args as unknown as [tf.Tensor1D, tf.Tensor1D];
    const save = args.at(-1) as unknown as tf.GradSaveFunc;
    const spread = layout.spread(ofTile);
    save([within, spread]);
    return {
      value: tf.mul(within, spread),
      gradFunc: (g, saved) => {
        const [within, spread] = saved as [tf.Tensor1D, tf.Tensor1D];
        const ofTile = layout.sumOfTile(tf.mul(g, within) as tf.Tensor1D); // x_c
        if (rule !== "leaveOneOut") return [tf.mul(g, spread), ofTile];
        const { centred, others } = layout.comparedWithOthers(ofTile);
        return [
          tf.mul(tf.sub(g, layout.spread(others)), spread),
          centred,
        ];
      },
    };
  });
  return operation(subTiles, tiles) as tf.Tensor1D;
}
