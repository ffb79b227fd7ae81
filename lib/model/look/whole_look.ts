/**
 * The attention of images whose views are on the engine as a whole: tfjs records
 * networks a and b with all that follows.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { attentionSoftmax } from "../../../kernels/softmax/softmax.ts";
import type { MapSize } from "../../image/geometry.ts";
import { negativeEntropy } from "../../sampling/entropy.ts";
import type { Model } from "../model.ts";
import {
  pick,
  subTileIndices,
  subTileLogits,
  tileLogits,
} from "./attention.ts";
import type { Drawn, LookImage, SubTiles, Timings } from "./draws.ts";
import type { Support } from "./support/support.ts";
import {
  type Attention,
  type Entropies,
  type Look,
  tileShares,
} from "./look.ts";

/** Images whose views have one size, as one batch of network a. */
export interface ViewGroup {
  /** Places of the images in the look. */
  images: number[];
  views: tf.Tensor4D; // [images, h, w, 3], normalised
  map: MapSize;
  /** 0, or -Infinity outside the foreground; undefined if all is foreground. */
  mask: tf.Tensor2D | undefined; // [images, rows * columns]
  /** Locations of each image that can be drawn. */
  locations: number[];
  /** What the draws of each image are confined to; undefined if to nothing. */
  supports: Support[] | undefined;
}

/** Draws, and the views of both stages on the engine. */
export interface WholeViews extends Drawn, SubTiles {
  groups: ViewGroup[];
  tileViews: tf.Tensor4D; // [T, u, v, 3], normalised
  /** 0, or -Infinity at locations of tiles that may not be drawn. */
  subTileMask: tf.Tensor2D | undefined; // [T, rows * columns]
  timings: Timings;
  dispose(): void;
}

/** A look whose views are on the engine as a whole. */
export type WholeLook = Look & WholeViews;

/** The look at `images` by their views. */
export function wholeLook(
  model: Model,
  images: readonly Pick<LookImage, "canvas">[],
  views: WholeViews,
): WholeLook {
  return {
    ...views,
    places: images.map((_, i) => i),
    parts: undefined,
    attend: () => attend(model, views),
    entropies: ({ maps }, share) => entropies(views, maps!, share),
    paint: ({ maps }) => paint(images, views, maps!),
  };
}

/** Logits of the tile maps of a group, `[images, rows * columns]`. */
export function groupLogits(
  { parameters }: Model,
  { views, map, mask }: ViewGroup,
): tf.Tensor2D {
  const logits = tileLogits(parameters, views, map);
  return mask ? tf.add(logits, mask) : logits;
}

type Maps = NonNullable<Attention["maps"]>;

function attend(model: Model, views: WholeViews): Attention {
  const { glimpses, draws, locations } = views;
  const tiles = tileAttentions(model, views);
  const subTiles = attentionSoftmax(
    subTileLogits(
      model.parameters,
      views.tileViews,
      views.subTileMap,
      views.subTileMask,
    ),
  );
  const ofTiles = glimpses.map(({ image, tiles: drawn }) =>
    pick(flat(tiles[image]!), Int32Array.from(drawn))
  );
  return {
    tiles: ofTiles.length === 1 ? ofTiles[0]! : tf.concat1d(ofTiles),
    subTiles: pick(
      flat(subTiles),
      subTileIndices(draws.drawn, locations, subTiles.shape[1]),
    ),
    maps: { tiles, subTiles },
  };
}

/** alpha of every image; images of one view size are one batch of a. */
function tileAttentions(model: Model, { groups }: WholeViews): tf.Tensor2D[] {
  const attentions: tf.Tensor2D[] = [];
  for (const group of groups) {
    const all = attentionSoftmax(groupLogits(model, group));
    group.images.forEach((image, row) => {
      attentions[image] = group.images.length === 1 ? all : rowOf(all, row);
    });
  }
  return attentions;
}

function entropies(drawn: Drawn, maps: Maps, share: number): Entropies {
  return {
    regulariser: share === 0 ? tf.scalar(0) : maps.tiles.reduce(
      (loss, attention) => tf.add(loss, negativeEntropy(attention, [share])),
      negativeEntropy(maps.subTiles, tileShares(drawn, share)),
    ),
    tiles: tf.mean(tf.stack(maps.tiles.map(meanEntropy))),
    subTiles: meanEntropy(maps.subTiles),
  };
}

function meanEntropy(attention: tf.Tensor2D): tf.Tensor {
  const logs = tf.log(tf.add(attention, 1e-30));
  return tf.mul(tf.sum(tf.mul(attention, logs)), -1 / attention.shape[0]);
}

/** Paints the drawn tiles, then alpha where none was drawn. */
async function paint(
  images: readonly Pick<LookImage, "canvas">[],
  { glimpses, subTileMap }: Drawn,
  maps: Maps,
): Promise<void> {
  if (images.every(({ canvas }) => canvas === undefined)) return;
  const betas = await maps.subTiles.data() as Float32Array;
  const locations = subTileMap.rows * subTileMap.columns;
  let at = 0;
  for (const { image, contrastive, map, tiles, tileRegions } of glimpses) {
    const canvas = contrastive ? undefined : images[image]!.canvas;
    const rest = Float64Array.from(await maps.tiles[image]!.data());
    for (const [i, tile] of tiles.entries()) {
      const attention = betas.subarray(at, at += locations);
      canvas?.addTile(
        { ...subTileMap, attention },
        tileRegions[i]!,
        rest[tile]!,
      );
      rest[tile] = 0;
    }
    canvas?.addBlock({ row: 0, column: 0, ...map }, map, rest);
  }
}

/** One row of a matrix, as a matrix; the gradient is zero elsewhere. */
function rowOf(values: tf.Tensor2D, row: number): tf.Tensor2D {
  const [rows, columns] = values.shape;
  const operation = tf.customGrad((input) => ({
    value: tf.slice(input as tf.Tensor2D, [row, 0], [1, columns]),
    gradFunc: (dy) =>
      tf.pad(dy as tf.Tensor2D, [[row, rows - 1 - row], [0, 0]]),
  }));
  return operation(values) as tf.Tensor2D;
}

function flat(values: tf.Tensor): tf.Tensor1D {
  return tf.reshape(values, [-1]);
}
