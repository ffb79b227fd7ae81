/**
 * The look at a micro-batch of images: stages I and II, the draws, and the pixels
 * that were drawn. All views are held on the engine at once; for larger images
 * see blocks.ts.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { attentionSoftmax } from "../../../kernels/softmax/softmax.ts";
import { type MapSize, tileMapSize } from "../../image/geometry.ts";
import { JointViews } from "../../image/joint_views.ts";
import { subTileLogits } from "./attention.ts";
import {
  contrastiveWeights,
  drawExpectedTiles,
  drawTileRows,
  type TileCounts,
} from "./draw/sampler.ts";
import { supportsOf, uniformShare } from "./support/support.ts";
import { drawSubTilesFrom } from "./draw/sub_tile_draws.ts";
import {
  drawProposed,
  explorationOf,
  type TileProposal,
  tileProposal,
} from "./draw/proposal.ts";
import { blockMask } from "./support/foreground_mask.ts";
import {
  Clock,
  drawnOf,
  type LookImage,
  type LookOptions,
  numbered,
  type SubTileDraw,
  subTileKey,
  subTileMap,
  subTileView,
  type TileDraw,
  tileDraw,
  tileKey,
} from "./draws.ts";
import { preparedTogether } from "./input.ts";
import { turn } from "../../turn.ts";
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
  let views: JointViews | undefined;
  const kept: (tf.Tensor | undefined)[] = [];
  const activations: tf.Tensor4D[][] = []; // filled while it is drawn
  let groups: ViewGroup[] = []; // and so are their logits
  const dispose = () => {
    const logits = groups.map(({ logits }) => logits);
    disposeAll([...kept, ...logits, ...activations.flat()]);
    views?.dispose();
  };
  try {
    const pyramids = images.map(({ pyramid }) => pyramid);
    views = await JointViews.open(pyramids, options);
    groups = await readViews(model, images, views, options);
    kept.push(...groups.flatMap(({ views, mask }) => [views, mask]));
    const tileActivations: tf.Tensor4D[] | undefined = options.training
      ? []
      : undefined;
    activations.push(
      ...groups.map(({ activations = [] }) => activations),
      tileActivations ?? [],
    );
    clock.lap("readMs");
    await turn(options.signal);
    const tiles = await drawTiles(model, images, groups, options);
    clock.lap("stage1Ms");
    await turn(options.signal);
    const tileViews = await readTiles(model, images, views, tiles, options);
    kept.push(tileViews);
    clock.lap("readMs");
    const subTileMask = maskOfTiles(model, tiles);
    kept.push(subTileMask);
    await turn(options.signal);
    const tileLogits = tf.tidy(() =>
      subTileLogits(
        model.parameters,
        tileViews,
        subTileMap(model),
        subTileMask,
        {
          keep: tileActivations,
        },
      )
    );
    kept.push(tileLogits);
    const drawn = await drawSubTiles(model, images, {
      tiles,
      logits: tileLogits,
      mask: subTileMask,
      options,
    });
    if (options.training) tileLogits.dispose();
    clock.lap("stage2Ms");
    await turn(options.signal);
    const found = drawnOf(model, tiles, options.samples, drawn);
    const read = await readSubTiles(model, images, views, {
      glimpses: found.glimpses,
      ...options,
    });
    kept.push(read.subTiles);
    if (read.subTiles) views.dispose(); // all is read
    clock.lap("readMs");
    return wholeLook(model, images, {
      groups,
      ...found,
      tileViews,
      subTileMask,
      tileActivations,
      tileLogits: options.training ? undefined : tileLogits,
      ...read,
      timings: clock.timings,
      dispose,
    });
  } catch (error) {
    dispose();
    throw error;
  }
}

function disposeAll(kept: readonly (tf.Tensor | undefined)[]): void {
  for (const one of kept) one?.dispose();
}

async function readViews(
  model: Model,
  images: readonly LookImage[],
  views: JointViews,
  { signal, training = false }: LookOptions,
): Promise<ViewGroup[]> {
  const { scale1 } = model.config.view;
  const bySize = new Map<string, number[]>();
  for (const [i, { pyramid }] of images.entries()) {
    const size = `${pyramid.width}x${pyramid.height}`;
    bySize.set(size, [...bySize.get(size) ?? [], i]);
  }
  const grouped: { members: number[]; group: tf.Tensor4D }[] = [];
  try {
    for (const members of bySize.values()) {
      const raw = await views.wholes(members, scale1, signal);
      const parts = members.map((i) => {
        const { width, height } = images[i]!.pyramid;
        const regions = [{ x: 0, y: 0, width, height }];
        return { regions, image: images[i]! };
      });
      grouped.push({ members, group: preparedTogether(raw, parts, model) });
    }
    return await Promise.all(
      grouped.map(({ members, group }) =>
        viewGroup(model, group, {
          members,
          images: members.map((i) => images[i]!),
          training,
        })
      ),
    );
  } catch (error) {
    disposeAll(grouped.map(({ group }) => group));
    throw error;
  }
}

/** The views of images of one size, and where their draws may fall. */
async function viewGroup(
  { config }: Model,
  views: tf.Tensor4D,
  { members, images, training }: {
    members: number[];
    images: LookImage[];
    training: boolean;
  },
): Promise<ViewGroup> {
  const { scale1: scale, tileStride: stride } = config.view;
  const map = tileMapSize(images[0]!.pyramid, { scale, stride });
  const supports = await supportsOf(views, images, config.view);
  const masks = images.map((image, row) =>
    blockMask(image, config, { map, support: supports?.[row] })
  );
  return {
    images: members,
    map,
    views,
    mask: maskTensor(masks.map(({ values }) => values), map),
    activations: training ? [] : undefined,
    locations: masks.map(({ locations }) => locations),
    supports,
  };
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
    const logits = tf.tidy(() =>
      groupLogits(model, group, { keep: group.activations })
    );
    const turnedWeights = rows.some((image) => image.contrastive)
      ? contrastiveWeights(logits, group)
      : undefined;
    const drawRows = (logWeights: tf.Tensor2D, contrastive: boolean) =>
      drawTileRows(logWeights, {
        keys: rows.map(({ key }) => tileKey(key, contrastive)),
        map,
        samples: options.samples,
      });
    const drawOf = (
      row: number,
      { proposals, ...draw }: ProposedTiles,
      contrastive: boolean,
    ) =>
      tileDraw(model, rows[row]!.pyramid, {
        draw,
        contrastive,
        map,
        image: group.images[row]!,
        locations: group.locations[row]!,
        support: group.supports?.[row],
        proposals,
      });
    if (!options.training) group.logits = logits;
    try {
      const [draws, turned] = await Promise.all([ // one read-back for both
        drawPlain(model, images, group, { logits, options, drawRows }),
        turnedWeights ? drawRows(turnedWeights, true) : [],
      ]);
      draws.forEach((draw, row) => plain.push(drawOf(row, draw, false)));
      turned.forEach((draw, row) => {
        if (rows[row]!.contrastive) contrastive.push(drawOf(row, draw, true));
      });
    } finally {
      disposeAll([group.logits ? undefined : logits, turnedWeights]);
    }
  }
  plain.sort((a, b) => a.image - b.image);
  contrastive.sort((a, b) => a.image - b.image);
  return numbered([...plain, ...contrastive]);
}

/** Drawn tiles, and how each came to be drawn, under the head `evidence`. */
interface ProposedTiles extends TileCounts {
  proposals?: TileProposal[];
}

/** Draws by attention, or by the proposal of the evidence head. */
async function drawPlain(
  model: Model,
  images: readonly LookImage[],
  group: ViewGroup,
  { logits, options, drawRows }: {
    logits: tf.Tensor2D;
    options: LookOptions;
    drawRows(weights: tf.Tensor2D, contrastive: boolean): Promise<TileCounts[]>;
  },
): Promise<ProposedTiles[]> {
  const exploration = explorationOf(model, options);
  if (options.draws === "topN") {
    return await drawExpectedTiles(logits, options.samples);
  }
  if (exploration === undefined) return await drawRows(logits, false);
  const alpha = attentionSoftmax(logits);
  const [attention, values] = await Promise.all([
    alpha.data() as Promise<Float32Array>,
    logits.data() as Promise<Float32Array>,
  ]).finally(() => alpha.dispose());
  const size = logits.shape[1];
  return group.images.map((image, row) => {
    const own = values.subarray(row * size, (row + 1) * size);
    const proposalOf = (tile: number): TileProposal =>
      tileProposal(
        attention[row * size + tile]!,
        own[tile] === -Infinity
          ? 0
          : uniformShare(group.supports?.[row], group.locations[row]!, tile),
        exploration,
      );
    const { indices, counts } = drawProposed(own, {
      map: group.map,
      key: tileKey(images[image]!.key, false),
      samples: options.samples,
      training: options.training,
      locations: group.locations[row]!,
      proposalOf,
    });
    return { indices, counts, proposals: indices.map(proposalOf) };
  });
}

/** Masks of the drawn tiles, `[T, rows * columns]`, if draws are confined. */
function maskOfTiles(
  model: Model,
  tiles: readonly TileDraw[],
): tf.Tensor2D | undefined {
  const map = subTileMap(model);
  const masks = tiles.flatMap(({ support, tileRegions }) =>
    support ? tileRegions.map((region) => support.mask(region)) : []
  );
  return masks.length > 0 ? maskTensor(masks, map) : undefined;
}

async function readTiles(
  model: Model,
  images: readonly LookImage[],
  views: JointViews,
  tiles: readonly TileDraw[],
  { signal }: LookOptions,
): Promise<tf.Tensor4D> {
  const output = subTileView(model);
  const parts = tiles.map(({ image, tileRegions: regions }) => ({
    image,
    regions,
  }));
  return preparedTogether(
    await views.regions(parts, output, signal),
    parts.map(({ image, regions }) => ({ regions, image: images[image]! })),
    model,
  );
}

/** n_c draws in each tile. */
async function drawSubTiles(
  model: Model,
  images: readonly LookImage[],
  { tiles, logits, mask, options }: {
    tiles: readonly TileDraw[];
    logits: tf.Tensor2D;
    mask: tf.Tensor2D | undefined;
    options: LookOptions;
  },
): Promise<SubTileDraw[]> {
  return await drawSubTilesFrom(logits, {
    draws: options.draws,
    map: subTileMap(model),
    mask,
    exploration: explorationOf(model, options),
    tiles: tiles.flatMap(({ image, contrastive, tiles, counts, proposals }) =>
      tiles.map((tile, i) => ({
        contrastive,
        count: counts[i]!,
        proposal: proposals?.[i],
        key: subTileKey(images[image]!.key, tile, contrastive),
      }))
    ),
  });
}
