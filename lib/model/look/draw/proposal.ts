/**
 * What the evidence head draws from: attention, mixed with uniform draws.
 *
 *     q(c)      = (1 - eps) alpha_c + eps u_c
 *     q(c' | c) = ((1 - eps) alpha_c beta_c' + eps u_c / n_c) / q(c)
 *
 * u_c is tile c's share of all locations that may be drawn, n_c the number of
 * them in the tile. lib/sampling/evidence.ts derives the estimate.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import type { Key } from "../../../../kernels/random.ts";
import { ConfigError } from "../../../errors.ts";
import type { MapSize } from "../../../image/geometry.ts";
import { EXPLORATION } from "../../../sampling/evidence.ts";
import { proposalDraws } from "../../../sampling/residual.ts";
import type { StreamedDraws } from "../../../sampling/streams.ts";
import type { Config } from "../../config.ts";
import type { Model } from "../../model.ts";

/** How a drawn tile came to be drawn. */
export interface TileProposal {
  /** alpha, u and q of the tile. */
  alpha: number;
  uniform: number;
  proposal: number;
}

/** How draws came to be drawn, flat over all glimpses. */
export interface Proposed {
  /** q of each tile, `[T]`. */
  tiles: number[];
  /** q of each sub-tile given its tile, `[S]`. */
  subTiles: number[];
  /** How often each sub-tile was drawn, `[S]`. */
  counts: number[];
  /** Locations that may be drawn, by glimpse. */
  locations: number[];
}

/**
 * eps of the draws; undefined if they are those of attention alone.
 *
 * @throws {ConfigError} If the draws are not at random, but their weights need it.
 */
export function explorationOf(
  { config }: Model,
  { exploration = EXPLORATION, draws }: {
    exploration?: number | undefined;
    draws: "seeded" | "topN";
  },
): number | undefined {
  const fault = drawsFault(config, draws);
  if (fault !== undefined) throw new ConfigError(fault);
  return config.network.head === "evidence" ? exploration : undefined;
}

/** Why a network cannot be asked for `draws`; undefined if it can. */
export function drawsFault(
  { network }: Pick<Config, "network">,
  draws: "seeded" | "topN",
): string | undefined {
  return network.head === "evidence" && draws === "topN"
    ? "Cannot draw topN under network.head = evidence, whose weights need draws at random: use the draws seeded"
    : undefined;
}

/** q of one tile. */
export function tileProposal(
  alpha: number,
  uniform: number,
  exploration: number,
): TileProposal {
  return {
    alpha,
    uniform,
    proposal: (1 - exploration) * alpha + exploration * uniform,
  };
}

/**
 * Draws tiles of a whole map.
 *
 * @param logits of all tiles, -Infinity where none may be drawn.
 */
export function drawProposed(
  logits: Float32Array,
  { map, proposalOf, ...options }: {
    map: MapSize;
    key: Key;
    samples: number;
    /** Tiles that may be drawn. */
    locations: number;
    /** True if gradients follow. */
    training: boolean | undefined;
    proposalOf(tile: number): TileProposal;
  },
): StreamedDraws {
  const draws = proposalDraws({ ...options, columns: map.columns });
  const proposals = Float32Array.from(
    logits,
    (_, tile) => proposalOf(tile).proposal,
  );
  draws.add({ row: 0, column: 0, ...map }, proposals, logits);
  return draws.draw();
}

/**
 * Log of q of the locations of tiles, given their tile: `[T, cells]`.
 *
 * @param beta attention of each location, `[T, cells]`.
 * @param allowed 1 for each location that may be drawn; all if omitted.
 */
export function subTileLogProposals(
  beta: tf.Tensor2D,
  tiles: readonly TileProposal[],
  exploration: number,
  allowed?: tf.Tensor2D,
): tf.Tensor2D {
  return tf.tidy(() => {
    const column = (of: (tile: TileProposal) => number) =>
      tf.tensor2d(tiles.map(of), [tiles.length, 1]);
    const ofAttention = column(({ alpha, proposal }) =>
      (1 - exploration) * alpha / proposal
    );
    const ofUniform = column(({ uniform, proposal }) =>
      exploration * uniform / proposal
    );
    const spread = allowed
      ? tf.div(allowed, tf.sum(allowed, 1, true))
      : tf.fill(beta.shape, 1 / beta.shape[1]);
    return tf.log(
      tf.add(tf.mul(beta, ofAttention), tf.mul(spread, ofUniform)),
    );
  });
}
