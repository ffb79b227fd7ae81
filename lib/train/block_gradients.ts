/**
 * The exact gradients of a and b for an image that is looked at in blocks.
 *
 * Only what was drawn enters the logits, so d loss / d alpha is known for the
 * drawn tiles, and the regulariser's for all. With p = alpha and
 * G_i = d loss / d p_i + share * d(p log(p + 1e-6))/dp (p_i),
 *
 *     d loss / d logit_i = p_i (G_i - sum_j p_j G_j),
 *
 * whose sum is over the drawn tiles and one number that was gathered on the
 * way. So each block is computed once more, alone, and its weight gradients are
 * added. The map of a tile lies within one batch: tfjs does the same for b.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { attentionSoftmax } from "../../kernels/softmax.ts";
import { blockLogits, subTileLogits } from "../model/attention.ts";
import type { Model } from "../model/model.ts";
import type { Parameters } from "../model/networks.ts";
import type { BlockPlan, TileBatch } from "../model/plan_in_blocks.ts";
import type { BlockView } from "../model/tile_map.ts";
import { pick } from "../model/zoom_in.ts";
import { entropySlope, negativeEntropy } from "../sampling/entropy.ts";
import { indexInMap } from "../sampling/streams.ts";

/** The gradients that a and b go on from. */
export interface Upstream {
  /** d loss / d alpha of each drawn tile, `[T]`. */
  tiles: Float32Array;
  /** d loss / d beta of each drawn sub-tile, `[S]`. */
  subTiles: Float32Array;
  /** Weight of the negative entropy of alpha, and of beta of each tile, `[T]`. */
  entropyShare: number;
  tileShares: readonly number[];
}

/** Gradients of the parameters of a and b, by name. */
export async function attentionGradients(
  model: Model,
  planned: BlockPlan,
  upstream: Upstream,
): Promise<Map<string, tf.Tensor>> {
  return new Map([
    ...await tileGradients(model, planned, upstream),
    ...await subTileGradients(model, planned, upstream),
  ]);
}

async function tileGradients(
  { parameters }: Model,
  { tileMap, glimpses, tileAttention, entropy }: BlockPlan,
  { tiles, entropyShare }: Upstream,
): Promise<Map<string, tf.Tensor>> {
  const { map, logNormaliser } = tileMap;
  const ofTile = new Map<number, number>(); // both glimpses may have drawn it
  let mean = entropyShare * entropy!.tileMap.slope; // sum_j p_j G_j
  for (const [i, tile] of glimpses.flatMap(({ tiles }) => tiles).entries()) {
    ofTile.set(tile, (ofTile.get(tile) ?? 0) + tiles[i]!);
    mean += tileAttention[i]! * tiles[i]!;
  }
  const gradientOf = (logit: number, index: number): number => {
    if (logit === -Infinity) return 0;
    const p = Math.exp(logit - logNormaliser);
    const own = (ofTile.get(index) ?? 0) + entropyShare * entropySlope(p);
    return p * (own - mean);
  };
  const sums = new GradientSums(parameters, "a");
  for await (const seen of tileMap.seen()) {
    const { block, logits } = seen;
    const gradients = logits.map((logit, i) =>
      gradientOf(logit, indexInMap(block, i, map.columns))
    );
    sums.add(() => blockTerm(parameters, seen, { map, gradients }));
  }
  return sums.gradients;
}

/** What has the gradients given at the logits of a block. */
function blockTerm(
  parameters: Parameters,
  { block, place, view }: BlockView,
  { map, gradients }: {
    map: { rows: number; columns: number };
    gradients: Float32Array;
  },
): tf.Scalar {
  const logits = blockLogits(parameters, view, { block, map, ...place });
  return tf.sum(tf.mul(logits, tf.tensor2d(gradients, logits.shape)));
}

async function subTileGradients(
  { parameters }: Model,
  planned: BlockPlan,
  upstream: Upstream,
): Promise<Map<string, tf.Tensor>> {
  const sums = new GradientSums(parameters, "b");
  let firstSubTile = 0;
  for await (const batch of planned.tileBatches()) {
    const first = firstSubTile;
    sums.add(() => batchTerm(parameters, planned, { batch, first, upstream }));
    const { firstTile, tiles } = batch;
    firstSubTile += planned.draws.drawn
      .subarray(firstTile, firstTile + tiles.length)
      .reduce((sum, drawn) => sum + drawn, 0);
  }
  return sums.gradients;
}

/** What of the loss depends on beta of the tiles of a batch. */
function batchTerm(
  parameters: Parameters,
  { draws, locations }: BlockPlan,
  { batch, first, upstream }: {
    batch: TileBatch;
    /** The batch's first sub-tile among all. */
    first: number;
    upstream: Upstream;
  },
): tf.Scalar {
  const { firstTile, tiles, views } = batch;
  const beta = attentionSoftmax(subTileLogits(parameters, views));
  const ofTile = beta.shape[1];
  const indices: number[] = [];
  for (let tile = 0; tile < tiles.length; tile++) {
    for (let k = 0; k < draws.drawn[firstTile + tile]!; k++) {
      indices.push(tile * ofTile + locations[first + indices.length]!);
    }
  }
  const drawn = pick(tf.reshape(beta, [-1]), Int32Array.from(indices));
  const gradients = upstream.subTiles.slice(first, first + indices.length);
  return tf.add(
    tf.sum(tf.mul(drawn, tf.tensor1d(gradients))),
    negativeEntropy(
      beta,
      upstream.tileShares.slice(firstTile, firstTile + tiles.length),
    ),
  );
}

/** Adds up the gradients of one network, term by term. */
class GradientSums {
  readonly gradients = new Map<string, tf.Tensor>();
  readonly #variables: readonly (readonly [string, tf.Variable])[];

  constructor(parameters: Parameters, net: "a" | "b") {
    this.#variables = [...parameters]
      .filter(([name]) => name.startsWith(`${net}/`));
  }

  /** Adds the gradients of `term`. */
  add(term: () => tf.Scalar): void {
    const { value, grads } = tf.variableGrads(
      term,
      this.#variables.map(([, variable]) => variable),
    );
    value.dispose();
    for (const [name, variable] of this.#variables) {
      const gradient = grads[variable.name]!;
      const sum = this.gradients.get(name);
      this.gradients.set(name, sum ? tf.add(sum, gradient) : gradient);
      if (sum) tf.dispose([sum, gradient]);
    }
  }
}
