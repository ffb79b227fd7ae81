/**
 * The look at a micro-batch of images: its draws, its sub-tiles, and the attention
 * that they were drawn by. whole.ts and blocks.ts make it, and nothing that uses
 * it needs to know which of them did.
 *
 * @module
 */
import type * as tf from "@tensorflow/tfjs-core";
import type { Entropy } from "../../sampling/entropy.ts";
import type { EntropySums } from "../../sampling/streams.ts";
import type { Drawn, SubTiles, Timings } from "./draws.ts";
import type { TileMap } from "./tile_map.ts";

/** A look at images; dispose of it when it is scored. */
export interface Look extends Drawn, SubTiles {
  /** Places of its images in the batch. */
  places: readonly number[];
  /** Time by stage, ms. */
  timings: Timings;
  /** The parts in which a and b saw the image; undefined if they saw all at once. */
  parts: Parts | undefined;
  /**
   * Attention of the draws, from which tfjs records gradients.
   *
   * @param asDrawn the parameters are those that the look drew by: what a and b
   *   computed then counts, as far as it was kept.
   */
  attend(asDrawn?: boolean): Attention;
  /**
   * The regulariser, and the entropies for the log; in training alone.
   *
   * @param share weight of the negative entropy of one image.
   */
  entropies(attention: Attention, share: number): Entropies;
  /** Shows the images' canvases what they have not seen of the attention yet. */
  paint(attention: Attention): Promise<void>;
  dispose(): void;
}

/** Attention of the draws, before it is inverted for a contrastive draw. */
export type Attention = { // no interface: tfjs takes it for a container
  tiles: tf.Tensor1D; // [T], alpha
  subTiles: tf.Tensor1D; // [S], beta
  /** The maps that it is of, if they are on the engine as a whole. */
  maps?: {
    tiles: tf.Tensor2D[]; // alpha of each group, [images, rows x columns]
    subTiles: tf.Tensor2D; // beta of each tile, [T, u x v]
  };
};

/** How broad the attention is. */
export interface Entropies {
  /** Weighted negative entropy of all maps. */
  regulariser: tf.Scalar;
  /**
   * Entropies of the maps of each stage, nats: their mean is logged. `[maps, 2]`,
   * as `entropySums` gives them.
   */
  tiles: tf.Tensor2D;
  subTiles: tf.Tensor2D;
}

/** The parts in which a and b see an image, and what was gathered on the way. */
export interface Parts {
  tileMap: TileMap;
  /** Tiles in batches, as network b sees them. */
  tileBatches(): AsyncGenerator<TileBatch>;
  /** alpha of each drawn tile, `[T]`, and beta of each drawn sub-tile, `[S]`. */
  tileAttention: Float32Array;
  subTileAttention: Float32Array;
  /** The same on the engine: {@linkcode Look.attend} begins there. */
  leaves: [tf.Variable<tf.Rank.R1>, tf.Variable<tf.Rank.R1>];
  /** Entropies of alpha and of beta of each tile; in training alone. */
  entropy: { tileMap: EntropySums; tiles: Entropy[] } | undefined;
}

/** A batch of tiles of one glimpse, as network b sees them. */
export interface TileBatch {
  glimpse: number;
  /** Place of the first one among all tiles of the look. */
  firstTile: number;
  tiles: number[];
  views: tf.Tensor4D; // [tiles, u, v, 3], normalised
  /** 0, or -Infinity where nothing may be drawn, `[tiles, u * v]`. */
  mask: tf.Tensor2D | undefined;
}

/**
 * Weight of each tile's entropy: together as much as that of the tile map, so
 * that it does not grow with N.
 */
export function tileShares(
  { draws, glimpses }: Drawn,
  share: number,
): number[] {
  return Array.from(draws.rowOf, (row) => {
    const { contrastive, tiles } = glimpses[row]!;
    return contrastive ? 0 : share / tiles.length;
  });
}
