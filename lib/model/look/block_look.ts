/**
 * The attention of an image that was seen in parts: numbers, which are the leaves
 * of what tfjs records. The gradients of networks a and b follow from theirs.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { indexInMap } from "../../sampling/streams.ts";
import type { Drawn, Glimpse, LookImage, SubTiles, Timings } from "./draws.ts";
import { type Entropies, type Look, type Parts, tileShares } from "./look.ts";
import type { TileMap } from "./tile_map.ts";

/** A look at one image in parts. */
export type BlockLook = Look & { parts: Parts };

/** Draws, and what was gathered on the way to them. */
interface BlockViews extends Drawn, SubTiles, Omit<Parts, "leaves"> {
  timings: Timings;
  dispose(): void;
}

/** The look at `image` by what was gathered of it. */
export function blockLook(
  image: Pick<LookImage, "canvas">,
  { tileMap, tileBatches, tileAttention, subTileAttention, entropy, ...views }:
    BlockViews,
): BlockLook {
  const tiles = variableOf(tileAttention);
  const subTiles = variableOf(subTileAttention);
  return {
    ...views,
    places: [0],
    parts: {
      tileMap,
      tileBatches,
      tileAttention,
      subTileAttention,
      leaves: [tiles, subTiles],
      entropy,
    },
    attend: () => ({ tiles: same(tiles), subTiles: same(subTiles) }),
    entropies: (_, share) => entropiesOf(views, entropy!, share),
    paint: () => paintTileMap(image, tileMap, views.glimpses[0]!),
    dispose() {
      tf.dispose([tiles, subTiles]);
      views.dispose();
    },
  };
}

function variableOf(values: Float32Array): tf.Variable<tf.Rank.R1> {
  return tf.tidy(() => tf.variable(tf.tensor1d(values)));
}

/** A tensor of its own, with its gradient; tfjs knows none of a clone here. */
function same(values: tf.Tensor1D): tf.Tensor1D {
  return tf.reshape(values, values.shape);
}

/** The regulariser of one image as a number: its gradient is computed apart. */
function entropiesOf(
  drawn: Drawn,
  { tileMap, tiles }: NonNullable<Parts["entropy"]>,
  share: number,
): Entropies {
  const shares = tileShares(drawn, share);
  const regulariser = tiles.reduce(
    (sum, { negative }, i) => sum + shares[i]! * negative,
    share * tileMap.negative,
  );
  return {
    regulariser: tf.scalar(regulariser),
    tiles: tf.tensor2d([[tileMap.negative, tileMap.entropy]]),
    subTiles: tf.tensor2d(
      tiles.map(({ negative, entropy }) => [negative, entropy]),
    ),
  };
}

/** Paints alpha where no tile was drawn. */
async function paintTileMap(
  { canvas }: Pick<LookImage, "canvas">,
  tileMap: TileMap,
  { tiles }: Glimpse,
): Promise<void> {
  if (!canvas) return;
  const { map, logNormaliser } = tileMap;
  const drawn = new Set(tiles);
  for await (const { block, logits } of tileMap.logits()) {
    const attention = logits.map((logit, i) =>
      drawn.has(indexInMap(block, i, map.columns))
        ? 0
        : Math.exp(logit - logNormaliser)
    );
    canvas.addBlock(block, map, attention);
  }
}
