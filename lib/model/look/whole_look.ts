/**
 * The attention of images whose views are on the engine as a whole: tfjs records
 * networks a and b with all that follows.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import {
  entropySums,
  weightedEntropy,
} from "../../../kernels/entropy/entropy.ts";
import { attentionSoftmax } from "../../../kernels/softmax/softmax.ts";
import type { MapSize } from "../../image/geometry.ts";
import type { Model } from "../model.ts";
import type { Activations } from "../networks.ts";
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
  /** Outputs of network a's layers, from which the draws were; in training. */
  activations?: tf.Tensor4D[] | undefined;
  /** Logits from which the draws were; if no gradient follows. */
  logits?: tf.Tensor2D | undefined; // [images, rows * columns]
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
  /** Outputs of network b's layers; in training. */
  tileActivations?: tf.Tensor4D[] | undefined;
  /** Logits from which sub-tiles were drawn; if no gradient follows. */
  tileLogits?: tf.Tensor2D | undefined; // [T, rows * columns]
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
    attend: (asDrawn = false) => attend(model, views, asDrawn),
    entropies: ({ maps }, share) => entropies(views, maps!, share),
    paint: ({ maps }) => paint(images, views, maps!),
  };
}

/** Logits of the tile maps of a group, `[images, rows * columns]`. */
export function groupLogits(
  { parameters }: Model,
  { views, map, mask }: ViewGroup,
  activations?: Activations,
): tf.Tensor2D {
  const logits = tileLogits(parameters, views, map, activations);
  return mask ? tf.add(logits, mask) : logits;
}

type Maps = NonNullable<Attention["maps"]>;

function attend(
  model: Model,
  views: WholeViews,
  asDrawn: boolean,
): Attention {
  const asKept = <Kept>(kept: Kept | undefined) => asDrawn ? kept : undefined;
  const { groups, glimpses, draws, locations } = views;
  const tiles = groups.map((group) =>
    attentionSoftmax(
      asKept(group.logits) ??
        groupLogits(model, group, { known: asKept(group.activations) }),
    )
  );
  const subTiles = attentionSoftmax(
    asKept(views.tileLogits) ??
      subTileLogits(
        model.parameters,
        views.tileViews,
        views.subTileMap,
        views.subTileMask,
        { known: asKept(views.tileActivations) },
      ),
  );
  const starts = tileStarts(groups);
  const drawn = glimpses.flatMap(({ image, tiles }) =>
    tiles.map((tile) => starts[image]! + tile)
  );
  return {
    tiles: pick(joinedFlat(tiles), Int32Array.from(drawn)),
    subTiles: pick(
      flat(subTiles),
      subTileIndices(draws.drawn, locations, subTiles.shape[1]),
    ),
    maps: { tiles, subTiles },
  };
}

/** Where each image's map begins among those of all groups. */
function tileStarts(groups: readonly ViewGroup[]): number[] {
  const starts: number[] = [];
  let end = 0;
  for (const { images, map } of groups) {
    for (const image of images) {
      starts[image] = end;
      end += map.rows * map.columns;
    }
  }
  return starts;
}

function entropies(drawn: WholeViews, maps: Maps, share: number): Entropies {
  const ofTiles = maps.tiles.map(entropySums);
  const ofSubTiles = entropySums(maps.subTiles);
  const terms = share === 0 ? [tf.scalar(0)] : [
    weightedEntropy(maps.subTiles, ofSubTiles, tileShares(drawn, share)),
    ...maps.tiles.map((attention, group) => {
      const weights = drawn.groups[group]!.images.map(() => share);
      return weightedEntropy(attention, ofTiles[group]!, weights);
    }),
  ];
  return {
    regulariser: terms.reduce((sum, term) => tf.add(sum, term)),
    tiles: ofTiles.length === 1 ? ofTiles[0]! : tf.concat2d(ofTiles, 0),
    subTiles: ofSubTiles,
  };
}

/** Paints the drawn tiles, then alpha where none was drawn. */
async function paint(
  images: readonly Pick<LookImage, "canvas">[],
  { groups, glimpses, subTileMap }: WholeViews,
  maps: Maps,
): Promise<void> {
  if (images.every(({ canvas }) => canvas === undefined)) return;
  const [betas, ...alphas] = await Promise.all(
    [maps.subTiles, ...maps.tiles].map((map) => map.data()),
  ) as [Float32Array, ...Float32Array[]];
  const alphaOf = new Map(
    groups.flatMap(({ images, map }, group) =>
      images.map((image, row) => {
        const size = map.rows * map.columns;
        const own = alphas[group]!.subarray(row * size, (row + 1) * size);
        return [image, own] as const;
      })
    ),
  );
  const locations = subTileMap.rows * subTileMap.columns;
  let at = 0;
  for (const { image, contrastive, map, tiles, tileRegions } of glimpses) {
    const canvas = contrastive ? undefined : images[image]!.canvas;
    const rest = Float64Array.from(alphaOf.get(image)!);
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

/** All values of matrices, one after the other. */
function joinedFlat(matrices: readonly tf.Tensor2D[]): tf.Tensor1D {
  const all = matrices.map(flat);
  return all.length === 1 ? all[0]! : tf.concat1d(all);
}

function flat(values: tf.Tensor): tf.Tensor1D {
  return tf.reshape(values, [-1]);
}
