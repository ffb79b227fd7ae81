/**
 * The look at a micro-batch of images: stages I and II, the draws, and the pixels
 * that were drawn. All views are held on the engine at once; for larger images
 * see blocks.ts.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { type MapSize, tileMapSize } from "../../image/geometry.ts";
import { collected, joined } from "../../image/tensors.ts";
import { Views } from "../../image/views.ts";
import { subTileLogits } from "./attention.ts";
import {
  contrastiveWeights,
  drawExpectedTiles,
  drawSubTileRows,
  drawTileRows,
  type TileCounts,
} from "./sampler.ts";
import { blockMask } from "./foreground_mask.ts";
import {
  Clock,
  drawnOf,
  type LookImage,
  type LookOptions,
  numbered,
  subTileKey,
  subTileView,
  type TileDraw,
  tileDraw,
  tileKey,
} from "./draws.ts";
import { prepared } from "./input.ts";
import type { Model } from "../model.ts";
import { readSubTiles } from "./sub_tiles.ts";
import {
  groupLogits,
  type ViewGroup,
  type WholeLook,
  wholeLook,
} from "./whole_look.ts";

/**
 * Looks at every image, draws and reads. Contrastive glimpses follow those of
 * the images themselves.
 *
 * @throws {ImageError} If an image cannot be read.
 */
export async function lookWhole(
  model: Model,
  images: readonly LookImage[],
  options: LookOptions,
): Promise<WholeLook> {
  const clock = new Clock();
  const views: Views[] = [];
  const kept: (tf.Tensor | undefined)[] = [];
  const dispose = () => disposeAll([...kept, ...views]);
  try {
    for (const { pyramid } of images) {
      views.push(await Views.open(pyramid, options));
    }
    const groups = await readViews(model, images, views, options);
    kept.push(...groups.flatMap(({ views, mask }) => [views, mask]));
    clock.lap("readMs");
    const tiles = await drawTiles(model, images, groups, options);
    clock.lap("stage1Ms");
    const tileViews = await readTiles(model, images, views, tiles, options);
    kept.push(tileViews);
    clock.lap("readMs");
    const drawn = await drawSubTiles(model, images, {
      tiles,
      tileViews,
      options,
    });
    clock.lap("stage2Ms");
    const found = drawnOf(model, tiles, options.samples, drawn);
    const read = await readSubTiles(model, images, views, {
      glimpses: found.glimpses,
      ...options,
    });
    kept.push(read.subTiles);
    if (read.subTiles) disposeAll(views.splice(0)); // all is read
    clock.lap("readMs");
    return wholeLook(model, images, {
      groups,
      ...found,
      tileViews,
      ...read,
      timings: clock.timings,
      dispose,
    });
  } catch (error) {
    dispose();
    throw error;
  }
}

function disposeAll(kept: readonly (tf.Tensor | Views | undefined)[]): void {
  for (const one of kept) one?.dispose();
}

async function readViews(
  model: Model,
  images: readonly LookImage[],
  views: readonly Views[],
  { signal }: LookOptions,
): Promise<ViewGroup[]> {
  const { scale1, tileStride } = model.config.view;
  const bySize = new Map<string, number[]>();
  for (const [i, { pyramid }] of images.entries()) {
    const size = `${pyramid.width}x${pyramid.height}`;
    bySize.set(size, [...bySize.get(size) ?? [], i]);
  }
  const groups = [...bySize.values()].map((members) => {
    const map = tileMapSize(images[members[0]!]!.pyramid, {
      scale: scale1,
      stride: tileStride,
    });
    const masks = members.map((i) => blockMask(images[i]!, model.config, map));
    return { images: members, map, masks };
  });
  const read = await collected(images, async (image, i) => {
    const { width, height } = image.pyramid;
    const raw = await views[i]!.whole(scale1, { signal });
    return prepared(raw, [{ x: 0, y: 0, width, height }], image, model);
  });
  return groups.map(({ images, map, masks }) => ({
    images,
    map,
    views: joined(images.map((i) => read[i]!)),
    mask: maskTensor(masks.map(({ values }) => values), map),
    locations: masks.map(({ locations }) => locations),
  }));
}

/** Masks of maps of one size, `[images, rows * columns]`, if there are any. */
function maskTensor(
  masks: readonly (Float32Array | undefined)[],
  { rows, columns }: MapSize,
): tf.Tensor2D | undefined {
  if (masks.every((mask) => mask === undefined)) return undefined;
  const all = new Float32Array(masks.length * rows * columns);
  masks.forEach((mask, i) => {
    if (mask) all.set(mask, i * rows * columns);
  });
  return tf.tensor2d(all, [masks.length, rows * columns]);
}

async function drawTiles(
  model: Model,
  images: readonly LookImage[],
  groups: readonly ViewGroup[],
  options: LookOptions,
): Promise<TileDraw[]> {
  const plain: TileDraw[] = [], contrastive: TileDraw[] = [];
  for (const group of groups) {
    const { map } = group;
    const rows = group.images.map((image) => images[image]!);
    const logits = tf.tidy(() => groupLogits(model, group));
    const turnedWeights = rows.some((image) => image.contrastive)
      ? contrastiveWeights(logits, group)
      : undefined;
    const drawRows = (logWeights: tf.Tensor2D, contrastive: boolean) =>
      drawTileRows(logWeights, {
        keys: rows.map(({ key }) => tileKey(key, contrastive)),
        map,
        samples: options.samples,
      });
    const drawOf = (row: number, draw: TileCounts, contrastive: boolean) =>
      tileDraw(model, rows[row]!.pyramid, {
        draw,
        contrastive,
        map,
        image: group.images[row]!,
        locations: group.locations[row]!,
      });
    try {
      const draws = options.draws === "topN"
        ? await drawExpectedTiles(logits, options.samples)
        : await drawRows(logits, false);
      draws.forEach((draw, row) => plain.push(drawOf(row, draw, false)));
      const turned = turnedWeights ? await drawRows(turnedWeights, true) : [];
      turned.forEach((draw, row) => {
        if (rows[row]!.contrastive) contrastive.push(drawOf(row, draw, true));
      });
    } finally {
      disposeAll([logits, turnedWeights]);
    }
  }
  plain.sort((a, b) => a.image - b.image);
  contrastive.sort((a, b) => a.image - b.image);
  return numbered([...plain, ...contrastive]);
}

async function readTiles(
  model: Model,
  images: readonly LookImage[],
  views: readonly Views[],
  tiles: readonly TileDraw[],
  { signal }: LookOptions,
): Promise<tf.Tensor4D> {
  const output = subTileView(model);
  return joined(
    await collected(tiles, async ({ image, tileRegions }) => {
      const raw = await views[image]!.regions(tileRegions, output, signal);
      return prepared(raw, tileRegions, images[image]!, model);
    }),
  );
}

/** n_c draws without replacement in each tile. */
async function drawSubTiles(
  model: Model,
  images: readonly LookImage[],
  { tiles, tileViews, options }: {
    tiles: readonly TileDraw[];
    tileViews: tf.Tensor4D;
    options: LookOptions;
  },
): Promise<number[][]> {
  const [, rows, columns] = tileViews.shape;
  const locations = rows * columns;
  const logWeights = tf.tidy(() => {
    const logits = subTileLogits(model.parameters, tileViews);
    const firstTurned = tiles.find(({ contrastive }) => contrastive)?.firstTile;
    if (firstTurned === undefined) return logits;
    const size = logits.shape[0];
    const plain = tf.slice(logits, [0, 0], [firstTurned, locations]);
    const rest = tf.slice(
      logits,
      [firstTurned, 0],
      [size - firstTurned, locations],
    );
    return tf.concat2d([plain, contrastiveWeights(rest)], 0);
  });
  return await drawSubTileRows(logWeights, {
    draws: options.draws,
    counts: tiles.flatMap(({ counts }) => counts),
    columns,
    keys: tiles.flatMap(({ image, tiles, contrastive }) =>
      tiles.map((tile) => subTileKey(images[image]!.key, tile, contrastive))
    ),
  }).finally(() => logWeights.dispose());
}
