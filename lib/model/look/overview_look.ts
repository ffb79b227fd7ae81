/**
 * The look at an image by attention of the encoder (overview.ts). It has no
 * gradients: the weights are learned apart, on all locations.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { attentionSoftmax } from "../../../kernels/softmax/softmax.ts";
import { LogSumExp } from "../../sampling/streams.ts";
import type { Model } from "../model.ts";
import {
  drawProposed,
  explorationOf,
  type TileProposal,
  tileProposal,
} from "./draw/proposal.ts";
import { drawSubTilesFrom } from "./draw/sub_tile_draws.ts";
import {
  Clock,
  drawnOf,
  type LookImage,
  type LookOptions,
  numbered,
  type SubTileDraw,
  subTileKey,
  type TileDraw,
  tileDraw,
  tileKey,
} from "./draws.ts";
import type { Attention, Look } from "./look.ts";
import type { Overview } from "./overview.ts";
import { JointViews } from "../../image/joint_views.ts";
import { readSubTiles } from "./sub_tiles.ts";
import { blockMask } from "./support/foreground_mask.ts";

/**
 * Draws from one image by what the encoder has seen of it, and reads.
 *
 * @throws {ImageError} If it has no foreground.
 */
export async function lookByOverview(
  model: Model,
  image: LookImage,
  seen: Overview,
  options: LookOptions,
): Promise<Look> {
  const clock = new Clock();
  const { tiles, alpha } = drawTiles(model, image, seen, options);
  clock.lap("stage1Ms");
  const { drawn, beta } = await drawSubTiles(
    image,
    tiles,
    seen,
    options,
    model,
  );
  clock.lap("stage2Ms");
  const found = drawnOf(model, [tiles], options.samples, drawn);
  const read = await readSubTiles(model, [image], new JointViews([], []), {
    glimpses: found.glimpses,
    ...options,
  });
  return {
    ...found,
    ...read,
    places: [0],
    parts: undefined,
    timings: clock.timings,
    attend: () => attend(tiles, drawn, { alpha, beta }),
    entropies() {
      throw new TypeError("Attention by the encoder is trained apart");
    },
    paint: () => paint(image, tiles, seen, { alpha, beta }),
    dispose() {},
  };
}

/** alpha of all tiles, and beta of the drawn ones, `[T][cells]`. */
interface Attentions {
  alpha: Float32Array;
  beta: Float32Array[];
}

/** Tiles drawn by the proposal of the evidence head. */
function drawTiles(
  model: Model,
  image: LookImage,
  { grid, tiles }: Overview,
  options: LookOptions,
): { tiles: TileDraw; alpha: Float32Array } {
  const map = grid.tiles;
  const { values, locations } = blockMask(image, model.config, { map });
  const logits = tiles.map((logit, tile) => logit + (values?.[tile] ?? 0));
  const sum = new LogSumExp();
  sum.add(logits);
  const alpha = logits.map((logit) => Math.exp(logit - sum.value));
  const exploration = explorationOf(model, options)!;
  const proposalOf = (tile: number): TileProposal =>
    tileProposal(
      alpha[tile]!,
      values?.[tile] === -Infinity ? 0 : 1 / locations,
      exploration,
    );
  const draw = drawProposed(logits, {
    map,
    key: tileKey(image.key, false),
    samples: options.samples,
    training: options.training,
    locations,
    proposalOf,
  });
  const [drawn] = numbered([tileDraw(model, image.pyramid, {
    draw,
    image: 0,
    contrastive: false,
    map,
    locations,
    support: undefined,
    proposals: draw.indices.map(proposalOf),
  })]);
  return { tiles: drawn!, alpha };
}

/** n_c draws in each tile. */
async function drawSubTiles(
  image: LookImage,
  { tiles, counts, proposals }: TileDraw,
  { grid: { cells }, logits }: Overview,
  { draws }: LookOptions,
  model: Model,
): Promise<{ drawn: SubTileDraw[]; beta: Float32Array[] }> {
  const size = cells.rows * cells.columns;
  const rows = tiles.map((tile) =>
    logits.subarray(tile * size, (tile + 1) * size)
  );
  const all = tf.tidy(() =>
    tf.stack(rows.map((row) => tf.tensor1d(row))) as tf.Tensor2D
  );
  const attention = attentionSoftmax(all);
  try {
    const drawn = await drawSubTilesFrom(all, {
      draws,
      exploration: explorationOf(model, { draws }),
      map: cells,
      mask: undefined,
      tiles: tiles.map((tile, i) => ({
        contrastive: false,
        count: counts[i]!,
        proposal: proposals![i],
        key: subTileKey(image.key, tile, false),
      })),
    });
    const values = await attention.data() as Float32Array;
    const beta = tiles.map((_, i) => values.slice(i * size, (i + 1) * size));
    return { drawn, beta };
  } finally {
    tf.dispose([all, attention]);
  }
}

function attend(
  { tiles }: TileDraw,
  drawn: readonly SubTileDraw[],
  { alpha, beta }: Attentions,
): Attention {
  return {
    tiles: tf.tensor1d(tiles.map((tile) => alpha[tile]!)),
    subTiles: tf.tensor1d(
      drawn.flatMap(({ indices }, i) => indices.map((at) => beta[i]![at]!)),
    ),
  };
}

/** Paints the drawn tiles, then alpha where none was drawn. */
function paint(
  { canvas }: LookImage,
  { tiles, tileRegions, map }: TileDraw,
  { grid: { cells } }: Overview,
  { alpha, beta }: Attentions,
): Promise<void> {
  const rest = alpha.slice();
  tiles.forEach((tile, i) => {
    canvas?.addTile(
      { ...cells, attention: beta[i]! },
      tileRegions[i]!,
      alpha[tile]!,
    );
    rest[tile] = 0;
  });
  canvas?.addBlock({ row: 0, column: 0, ...map }, map, rest);
  return Promise.resolve();
}
