/**
 * The draws of stage II from the logits of tiles: by attention, by the proposal of
 * the evidence head, or, for the contrastive term, where attention is low.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { attentionSoftmax } from "../../../../kernels/softmax/softmax.ts";
import type { Key } from "../../../../kernels/random.ts";
import type { MapSize } from "../../../image/geometry.ts";
import type { LookOptions, SubTileDraw } from "../draws.ts";
import { subTileLogProposals, type TileProposal } from "./proposal.ts";
import {
  contrastiveWeights,
  drawSubTileRows,
  drawSystematicRows,
} from "./sampler.ts";

/** A tile whose sub-tiles are to be drawn. */
export interface TileToDraw {
  contrastive: boolean;
  /** n_c: sub-tiles to draw. */
  count: number;
  /** How the tile came to be drawn, under the head `evidence`. */
  proposal: TileProposal | undefined;
  key: Key;
}

/** Draws, tile by tile; those of the contrastive term come last. */
interface Options extends Pick<LookOptions, "draws" | "exploration"> {
  map: MapSize;
  /** 0, or -Infinity where nothing may be drawn, as was added to the logits. */
  mask: tf.Tensor2D | undefined;
  tiles: readonly TileToDraw[];
}

/**
 * n_c draws in each tile: without replacement, or systematic ones under the head
 * `evidence`.
 *
 * @param logits `[T, rows * columns]`.
 */
export async function drawSubTilesFrom(
  logits: tf.Tensor2D,
  { draws, tiles, map, ...options }: Options,
): Promise<SubTileDraw[]> {
  const logWeights = tf.tidy(() => logWeightsOf(logits, { tiles, ...options }));
  const counts = tiles.map(({ count }) => count);
  const keys = tiles.map(({ key }) => key);
  try {
    if (options.exploration === undefined) {
      const { columns } = map;
      const rows = { draws, counts, columns, keys };
      const drawn = await drawSubTileRows(logWeights, rows);
      return drawn.map((indices) => ({ indices, counts: [], proposals: [] }));
    }
    const logs = await logWeights.data() as Float32Array;
    const locations = map.rows * map.columns;
    return drawSystematicRows(logs, { counts, keys }).map((draw, tile) => ({
      ...draw,
      proposals: draw.indices.map((index) =>
        Math.exp(logs[tile * locations + index]!)
      ),
    }));
  } finally {
    logWeights.dispose();
  }
}

function logWeightsOf(
  logits: tf.Tensor2D,
  { tiles, mask, exploration }: Omit<Options, "draws" | "map">,
): tf.Tensor2D {
  if (exploration !== undefined) {
    const proposals = tiles.map(({ proposal }) => proposal!);
    const allowed = mask && tf.exp(mask) as tf.Tensor2D;
    const beta = attentionSoftmax(logits);
    return subTileLogProposals(beta, proposals, exploration, allowed);
  }
  const first = tiles.findIndex(({ contrastive }) => contrastive);
  if (first < 0) return tf.clone(logits);
  const [size, locations] = logits.shape;
  const plain = tf.slice(logits, [0, 0], [first, locations]);
  const rest = tf.slice(logits, [first, 0], [size - first, locations]);
  return tf.concat2d([plain, contrastiveWeights(rest)], 0);
}
