/**
 * The exact gradients of networks that see their inputs in parts: a and b for an
 * image that is looked at in blocks, f for sub-tiles that are read in batches.
 *
 * Only the draws enter the logits, so d loss / d alpha is known for the drawn
 * tiles, and the regulariser's for all. With p = alpha and
 * G_i = d loss / d p_i + share * d(p log(p + 1e-6))/dp (p_i),
 *
 *     d loss / d logit_i = p_i (G_i - sum_j p_j G_j),
 *
 * whose sum needs only the drawn tiles and one number that was gathered on the
 * way. So each block is computed once more, alone, and its weight gradients are
 * added. A block's surrogate loss, sum_i g_i logit_i with g = d loss / d logit
 * held constant, has exactly these gradients. The map of a tile lies within one
 * batch, so the same works for b, and for f, whose d loss / d features is known
 * for each sub-tile.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { entropySlope } from "../../../kernels/entropy/entropy.ts";
import { attentionSoftmax } from "../../../kernels/softmax/softmax.ts";
import type { MapSize } from "../../image/geometry.ts";
import {
  blockLogits,
  pick,
  subTileIndices,
  subTileLogits,
} from "../../model/look/attention.ts";
import type { Model } from "../../model/model.ts";
import type { Drawn, SubTiles } from "../../model/look/draws.ts";
import type { BlockLook } from "../../model/look/block_look.ts";
import { type TileBatch, tileShares } from "../../model/look/look.ts";
import { features } from "../../model/networks.ts";
import type { Parameters } from "../../model/parameters.ts";
import type { BlockView } from "../../model/look/tile_map.ts";
import { negativeEntropy } from "../../sampling/entropy.ts";
import { indexInMap } from "../../sampling/streams.ts";

/** The gradients from which those of a and b are computed. */
export interface Upstream {
  /** d loss / d alpha of each drawn tile, `[T]`. */
  tiles: Float32Array;
  /** d loss / d beta of each drawn sub-tile, `[S]`. */
  subTiles: Float32Array;
  /** Weight of the negative entropy of one image. */
  share: number;
}

/** Gradients by the names of parameters; their tensors belong to its owner. */
export type Gradients = Map<string, tf.Tensor>;

/** Adds the gradients of the parameters of a and b. */
export async function addAttentionGradients(
  gradients: Gradients,
  model: Model,
  look: BlockLook,
  upstream: Upstream,
): Promise<void> {
  await addTileGradients(gradients, model, look, upstream);
  await addSubTileGradients(gradients, model, look, upstream);
}

/**
 * Adds the gradients of the parameters of f.
 *
 * @param names of the parameters.
 * @param upstream d loss / d features, `[S, K]`.
 */
export async function addFeatureGradients(
  gradients: Gradients,
  { parameters, config }: Model,
  drawn: SubTiles,
  { names, upstream }: { names: readonly string[]; upstream: tf.Tensor2D },
): Promise<void> {
  const sums = new GradientSums(parameters, names, gradients);
  let first = 0;
  for await (const batch of drawn.subTileBatches()) {
    const count = batch.shape[0];
    sums.add(() => {
      const own = tf.slice(upstream, [first, 0], [count, -1]);
      return tf.sum(tf.mul(features(parameters, config.network, batch), own));
    });
    first += count;
  }
}

async function addTileGradients(
  gradients: Gradients,
  { parameters }: Model,
  { glimpses, parts: { tileMap, tileAttention, entropy } }: BlockLook,
  { tiles, share }: Upstream,
): Promise<void> {
  const { map, logNormaliser } = tileMap;
  const ofTile = new Map<number, number>(); // both glimpses may have drawn it
  let mean = share * entropy!.tileMap.slope; // sum_j p_j G_j
  for (const [i, tile] of glimpses.flatMap(({ tiles }) => tiles).entries()) {
    ofTile.set(tile, (ofTile.get(tile) ?? 0) + tiles[i]!);
    mean += tileAttention[i]! * tiles[i]!;
  }
  const gradientOf = (logit: number, index: number): number => {
    if (logit === -Infinity) return 0;
    const p = Math.exp(logit - logNormaliser);
    const own = (ofTile.get(index) ?? 0) + share * entropySlope(p);
    return p * (own - mean);
  };
  const sums = new GradientSums(
    parameters,
    namesOf(parameters, "a"),
    gradients,
  );
  for await (const seen of tileMap.seen()) {
    const { block, logits } = seen;
    const upstream = logits.map((logit, i) =>
      gradientOf(logit, indexInMap(block, i, map.columns))
    );
    sums.add(() => blockTerm(parameters, seen, { map, upstream }));
  }
}

/** Surrogate loss whose gradient at the block's logits is `upstream`. */
function blockTerm(
  parameters: Parameters,
  { block, place, view }: BlockView,
  { map, upstream }: { map: MapSize; upstream: Float32Array },
): tf.Scalar {
  const logits = blockLogits(parameters, view, { block, map, ...place });
  return tf.sum(tf.mul(logits, tf.tensor2d(upstream, logits.shape)));
}

async function addSubTileGradients(
  gradients: Gradients,
  { parameters }: Model,
  look: BlockLook,
  upstream: Upstream,
): Promise<void> {
  const sums = new GradientSums(
    parameters,
    namesOf(parameters, "b"),
    gradients,
  );
  const shares = tileShares(look, upstream.share);
  let firstSubTile = 0;
  for await (const batch of look.parts.tileBatches()) {
    const first = firstSubTile;
    sums.add(() =>
      batchTerm(parameters, look, { batch, first, upstream, shares })
    );
    const { firstTile, tiles } = batch;
    firstSubTile += look.draws.drawn
      .subarray(firstTile, firstTile + tiles.length)
      .reduce((sum, drawn) => sum + drawn, 0);
  }
}

/** Surrogate loss of the tiles of a batch, whose beta it depends on. */
function batchTerm(
  parameters: Parameters,
  { draws, locations, subTileMap }: Drawn,
  { batch, first, upstream, shares }: {
    batch: TileBatch;
    /** The batch's first sub-tile among all. */
    first: number;
    upstream: Upstream;
    /** Weight of the negative entropy of each tile, `[T]`. */
    shares: readonly number[];
  },
): tf.Scalar {
  const { firstTile, tiles, views, mask } = batch;
  const beta = attentionSoftmax(
    subTileLogits(parameters, views, subTileMap, mask),
  );
  const drawn = draws.drawn.subarray(firstTile, firstTile + tiles.length);
  const end = first + drawn.reduce((sum, drawn) => sum + drawn, 0);
  const ofTile = beta.shape[1];
  const indices = subTileIndices(drawn, locations.slice(first, end), ofTile);
  const attention = pick(tf.reshape(beta, [-1]), indices);
  const gradients = upstream.subTiles.slice(first, end);
  return tf.add(
    tf.sum(tf.mul(attention, tf.tensor1d(gradients))),
    negativeEntropy(beta, shares.slice(firstTile, firstTile + tiles.length)),
  );
}

function namesOf(parameters: Parameters, net: "a" | "b"): string[] {
  return [...parameters.keys()].filter((name) => name.startsWith(`${net}/`));
}

/** Adds up the gradients of some parameters, term by term. */
class GradientSums {
  readonly #gradients: Gradients;
  readonly #variables: readonly (readonly [string, tf.Variable])[];

  constructor(
    parameters: Parameters,
    names: readonly string[],
    gradients: Gradients,
  ) {
    this.#gradients = gradients;
    this.#variables = names.map((name) => [name, parameters.get(name)!]);
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
      const sum = this.#gradients.get(name);
      this.#gradients.set(name, sum ? tf.add(sum, gradient) : gradient);
      if (sum) tf.dispose([sum, gradient]);
    }
  }
}
