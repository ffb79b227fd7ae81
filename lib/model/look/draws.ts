/**
 * The draws from an image, as places in it: tiles of stage I, sub-tiles of
 * stage II.
 *
 * @module
 */
import type * as tf from "@tensorflow/tfjs-core";
import { type Key, randomKey } from "../../../kernels/random.ts";
import type { Foreground } from "../../image/foreground/foreground.ts";
import {
  centredRegion,
  locationAt,
  type MapBlock,
  type MapSize,
  type Region,
  type Size,
  subTileCentre,
  type SubTileGrid,
  subTileMapSize,
  tileCentre,
  viewSize,
} from "../../image/geometry.ts";
import type { Pyramid } from "../../image/pyramid.ts";
import type { DensityMatrix } from "../../image/stains/stains.ts";
import type { Memory } from "../../memory.ts";
import type { Draws } from "../../sampling/expectation.ts";
import type { TileCounts } from "./draw/sampler.ts";
import type { Config } from "../config.ts";
import type { Model } from "../model.ts";
import type { Support } from "./support/support.ts";
import type { Proposed, TileProposal } from "./draw/proposal.ts";

/** One image of a batch. */
export interface LookImage {
  pyramid: Pyramid;
  /** Key of all draws of this image: seed, epoch, image... */
  key: Key;
  /** Foreground that is drawn from; the whole image if omitted. */
  foreground?: Foreground | undefined;
  /** Gain of the pixel values (augmentation); 1 leaves them. */
  gain?: number;
  /** Change of the optical densities (augmentation); null leaves them. */
  densities?: DensityMatrix | null;
  /** Also draws by 1 - attention, for the contrastive term (section 2.3). */
  contrastive?: boolean;
  /** Shown the attention, part by part, if given. */
  canvas?: AttentionCanvas | undefined;
}

/** An attention map, row-major. */
export interface AttentionMap extends MapSize {
  /** `[rows, columns]`; they add to 1. */
  attention: ArrayLike<number>;
}

/** Shown the attention of an image: each part once, in any order. */
export interface AttentionCanvas {
  /** Adds beta of a drawn tile, in all as much as its alpha. */
  addTile(beta: AttentionMap, region: Region, alpha: number): void;
  /** Adds alpha of a block of the tile map, 0 where a tile was drawn. */
  addBlock(block: MapBlock, map: MapSize, attention: ArrayLike<number>): void;
}

/** Options of the draws. */
export interface LookOptions {
  /** N: sub-tiles an image. */
  samples: number;
  /** seeded: at random under the images' keys; topN: deterministic. */
  draws: "seeded" | "topN";
  /** Memory bound of the tensors. */
  memory: Memory;
  /** True if gradients follow. */
  training?: boolean;
  /**
   * Share of uniform draws under the head `evidence`; that of evaluation if
   * omitted.
   */
  exploration?: number | undefined;
  signal?: AbortSignal | undefined;
}

/** One set of draws from one image. */
export interface Glimpse {
  /** Place of the image in the batch. */
  image: number;
  contrastive: boolean;
  /** The tile map, and how many of its locations can be drawn. */
  map: MapSize;
  locations: number;
  /** Index of each drawn tile in the tile map, in order of drawing. */
  tiles: number[];
  /** The same tiles in the image, level-0 px. */
  tileRegions: Region[];
  /** The sub-tiles drawn in them, tile after tile, level-0 px. */
  subTileRegions: Region[];
}

/** Sub-tiles on the engine, all at once or in batches. */
export interface SubTiles {
  /** All of them; undefined if they do not fit at once. */
  subTiles: tf.Tensor4D | undefined; // [S, h2, w2, 3], normalised
  /** All of them in order; a batch is freed when the next is asked for. */
  subTileBatches(): AsyncGenerator<tf.Tensor4D>;
  /**
   * The memory bound, bytes, that would hold all of them together; infinite if no
   * tensor of the engine does.
   */
  togetherBytes: number;
  /** Features of all of them `[S, K]` by a frozen f, which reads for itself. */
  frozen?: () => Promise<tf.Tensor2D>;
}

/** The draws of images, flat over all glimpses. */
export interface Drawn {
  glimpses: Glimpse[];
  draws: Draws;
  /** Index of each sub-tile in its tile's map, `[S]`. */
  locations: Int32Array;
  /** Rows and columns of every tile's map. */
  subTileMap: MapSize;
  /** How the draws came about; under the head `evidence` alone. */
  proposed: Proposed | undefined;
}

/** Time spent on reading pixels and on the two attention stages. */
export interface Timings {
  readMs: number;
  stage1Ms: number;
  stage2Ms: number;
}

/** Adds up the time since the last lap. */
export class Clock {
  readonly timings: Timings = { readMs: 0, stage1Ms: 0, stage2Ms: 0 };
  #last = performance.now();

  lap(stage: keyof Timings): void {
    const now = performance.now();
    this.timings[stage] += now - this.#last;
    this.#last = now;
  }
}

// Words of the random keys: one stream for each stage, and for the contrastive
// draws of each.
const STAGE1 = 1, STAGE2 = 2;

/** The key under which tiles of an image are drawn. */
export function tileKey(image: Key, contrastive: boolean): Key {
  return randomKey(...image, STAGE1, contrastive ? 1 : 0);
}

/** The key under which sub-tiles of a tile are drawn. */
export function subTileKey(
  image: Key,
  tile: number,
  contrastive: boolean,
): Key {
  return randomKey(...image, STAGE2, contrastive ? 1 : 0, tile);
}

/** A glimpse before its sub-tiles are drawn. */
export interface TileDraw extends Omit<Glimpse, "subTileRegions"> {
  counts: number[];
  /** How each tile came to be drawn; under the head `evidence` alone. */
  proposals: TileProposal[] | undefined;
  /** The locations that may be drawn; undefined if all may. */
  support: Support | undefined;
  /** Place of the first tile among all tiles of the look. */
  firstTile: number;
}

/** The tiles that were drawn from an image. */
export function tileDraw(
  { config }: Model,
  image: Size,
  { draw, ...glimpse }: {
    draw: TileCounts;
    image: number;
    contrastive: boolean;
    map: MapSize;
    locations: number;
    proposals: TileProposal[] | undefined;
    support: Support | undefined;
  },
): TileDraw {
  const { scale1, tileStride, tileSize } = config.view;
  const size = { width: tileSize, height: tileSize };
  const { map } = glimpse;
  return {
    ...glimpse,
    tiles: draw.indices,
    counts: draw.counts,
    firstTile: 0,
    tileRegions: draw.indices.map((index) =>
      centredRegion(
        tileCentre(locationAt(index, map.columns), map, image, {
          scale: scale1,
          stride: tileStride,
        }),
        size,
      )
    ),
  };
}

/** Numbers the tiles of all glimpses consecutively. */
export function numbered(draws: TileDraw[]): TileDraw[] {
  let firstTile = 0;
  for (const draw of draws) {
    draw.firstTile = firstTile;
    firstTile += draw.tiles.length;
  }
  return draws;
}

/** Size of the view V(x, s2, c) of a tile. */
export function subTileView({ config }: Model): Size {
  const { tileSize, scale2 } = config.view;
  return viewSize({ width: tileSize, height: tileSize }, scale2);
}

/** Rows and columns of the map of a tile. */
export function subTileMap({ config }: Pick<Model, "config">): MapSize {
  const { tileSize } = config.view;
  return subTileMapSize(
    { width: tileSize, height: tileSize },
    subTileGrid(config),
  );
}

function subTileGrid({ view }: Config): SubTileGrid {
  return { scale: view.scale2, stride: view.subTileStride };
}

/** A glimpse with the sub-tiles at the locations drawn in each of its tiles. */
function withSubTiles(
  model: Model,
  glimpse: TileDraw,
  drawn: readonly (readonly number[])[],
): Glimpse {
  const { subTileSize } = model.config.view;
  const size = { width: subTileSize, height: subTileSize };
  const map = subTileMap(model);
  const { image, contrastive, map: tileMap, locations } = glimpse;
  return {
    image,
    contrastive,
    map: tileMap,
    locations,
    tiles: glimpse.tiles,
    tileRegions: glimpse.tileRegions,
    subTileRegions: glimpse.tileRegions.flatMap((tile, c) =>
      drawn[c]!.map((index) =>
        centredRegion(
          subTileCentre(
            locationAt(index, map.columns),
            map,
            tile,
            subTileGrid(model.config),
          ),
          size,
        )
      )
    ),
  };
}

/** The sub-tiles that were drawn in a tile. */
export interface SubTileDraw {
  /** Index of each in the tile's map. */
  indices: number[];
  /** q of each given its tile; under the head `evidence` alone. */
  proposals: number[];
  /** How often each was drawn; under the head `evidence` alone. */
  counts: number[];
}

/** The draws of a look, from those of each tile. */
export function drawnOf(
  model: Model,
  tiles: readonly TileDraw[],
  samples: number,
  drawn: readonly SubTileDraw[],
): Drawn {
  const indices = drawn.map(({ indices }) => indices);
  return {
    glimpses: tiles.map((glimpse) => {
      const { firstTile, tiles } = glimpse;
      const own = indices.slice(firstTile, firstTile + tiles.length);
      return withSubTiles(model, glimpse, own);
    }),
    draws: {
      samples,
      rowOf: Int32Array.from(
        tiles.flatMap(({ tiles }, row) => tiles.map(() => row)),
      ),
      counts: Int32Array.from(tiles.flatMap(({ counts }) => counts)),
      drawn: Int32Array.from(indices, (row) => row.length),
    },
    locations: Int32Array.from(indices.flat()),
    subTileMap: subTileMap(model),
    proposed: proposedOf(model, tiles, drawn),
  };
}

function proposedOf(
  model: Model,
  tiles: readonly TileDraw[],
  drawn: readonly SubTileDraw[],
): Proposed | undefined {
  if (!tiles.every(({ proposals }) => proposals)) return undefined;
  const { rows, columns } = subTileMap(model);
  return {
    tiles: tiles.flatMap(({ proposals }) =>
      proposals!.map(({ proposal }) => proposal)
    ),
    subTiles: drawn.flatMap(({ proposals }) => proposals),
    counts: drawn.flatMap(({ counts }) => counts),
    locations: tiles.map(({ locations, support }) =>
      support ? support.total : locations * rows * columns
    ),
  };
}
