/**
 * The look at one image of any size: stage I block by block, stage II a few
 * tiles at a time. Only the draws are kept.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { attentionSoftmax } from "../../../kernels/softmax/softmax.ts";
import {
  type MapBlock,
  type MapSize,
  type Region,
} from "../../image/geometry.ts";
import { Views } from "../../image/views.ts";
import { freeNow } from "../../memory.ts";
import {
  contrastiveLogWeightsOf as contrastiveBlock,
  ExpectedCounts,
  GumbelDraws,
  indexInMap,
  type StreamedDraws,
} from "../../sampling/streams.ts";
import { proposalDraws } from "../../sampling/residual.ts";
import { type Entropy, entropyOf } from "../../sampling/entropy.ts";
import { chunksOf, prefetched } from "./prefetch.ts";
import { subTileLogits } from "./attention.ts";
import { type Support, uniformShare } from "./support/support.ts";
import {
  explorationOf,
  type TileProposal,
  tileProposal,
} from "./draw/proposal.ts";
import { drawSubTilesFrom } from "./draw/sub_tile_draws.ts";
import { supportInBlocks } from "./support/in_blocks.ts";
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
import { prepared } from "./input.ts";
import type { Model } from "../model.ts";
import { JointViews } from "../../image/joint_views.ts";
import { readSubTiles } from "./sub_tiles.ts";
import { type BlockLook, blockLook } from "./block_look.ts";
import type { TileBatch } from "./look.ts";
import { TileMap } from "./tile_map.ts";

/**
 * Looks at one image, draws and reads; the draws are those of `lookWhole`.
 *
 * @throws {ImageError} If the image cannot be read, or has no foreground.
 */
export async function lookInBlocks(
  model: Model,
  image: LookImage,
  options: LookOptions,
): Promise<BlockLook> {
  const clock = new Clock();
  const views = await Views.open(image.pyramid, options);
  try {
    const support = await supportInBlocks(model, image, views, options);
    const tileMap = new TileMap(model, image, views, { ...options, support });
    const exploration = explorationOf(model, options);
    const chances = exploration === undefined
      ? undefined
      : new TileChances(tileMap, support, exploration);
    const { plain, contrastive } = await drawTiles(tileMap, image, {
      ...options,
      chances,
    });
    const entropy = options.training
      ? { tileMap: await tileMap.entropy(), tiles: [] as Entropy[] }
      : undefined;
    clock.lap("stage1Ms");
    const drawn = [plain, ...contrastive ? [contrastive] : []];
    const tiles = numbered(
      drawn.map((draw, i) =>
        tileDraw(model, image.pyramid, {
          draw,
          contrastive: i > 0,
          image: 0,
          map: tileMap.map,
          locations: tileMap.locations,
          support,
          proposals: chances &&
            draw.indices.map((tile, i) => chances.of(tile, draw.logits[i]!)),
        })
      ),
    );
    const tileAttention = Float32Array.from(
      drawn.flatMap(({ logits }) => logits),
      (logit) => Math.exp(logit - tileMap.logNormaliser),
    );
    const closer = new TileLook(model, image, views, { tiles, options });
    const subTiles = await closer.draw((seen) => {
      entropy?.tiles.push(...entropies(seen));
      if (!tiles[seen.glimpse]!.contrastive) {
        paintTiles(image, seen, tileAttention);
      }
    });
    clock.lap("stage2Ms");
    const found = drawnOf(model, tiles, options.samples, subTiles.drawn);
    const read = await readSubTiles(
      model,
      [image],
      new JointViews([views], [image.pyramid]),
      {
        glimpses: found.glimpses,
        alone: true,
        ...options,
      },
    );
    clock.lap("readMs");
    return blockLook(image, {
      ...found,
      ...read,
      tileMap,
      tileBatches: () => closer.batches(),
      tileAttention,
      subTileAttention: Float32Array.from(subTiles.attention),
      entropy,
      timings: clock.timings,
      dispose() {
        read.subTiles?.dispose();
        views.dispose();
      },
    });
  } catch (error) {
    views.dispose();
    throw error;
  }
}

/** Draws plain and contrastive tiles in as few readings as possible. */
async function drawTiles(
  tileMap: TileMap,
  { key, contrastive }: LookImage,
  { draws, samples, training, chances }: LookOptions & {
    chances: TileChances | undefined;
  },
): Promise<{ plain: StreamedDraws; contrastive: StreamedDraws | undefined }> {
  const { locations, map: { columns } } = tileMap;
  const optionsOf = (contrastive: boolean) => ({
    samples,
    columns,
    locations,
    key: tileKey(key, contrastive),
  });
  const proposed = chances && proposalDraws({ ...optionsOf(false), training });
  const seeded = draws === "seeded" && !proposed
    ? new GumbelDraws(optionsOf(false))
    : undefined;
  await tileMap.look(({ block, logits }) => seeded?.add(block, logits));
  const { logNormaliser } = tileMap;
  const expected = seeded || proposed
    ? undefined
    : new ExpectedCounts({ samples, columns, logNormaliser });
  const turned = contrastive ? new GumbelDraws(optionsOf(true)) : undefined;
  if (expected || turned || proposed) {
    for await (const { block, logits } of tileMap.logits()) {
      expected?.add(block, logits);
      proposed?.add(block, chances!.in(block, logits), logits);
      turned?.add(
        block,
        contrastiveBlock(logits, { logNormaliser, locations }),
        logits,
      );
    }
  }
  return {
    plain: (proposed ?? seeded ?? expected!).draw(),
    contrastive: turned?.draw(),
  };
}

/** The chance of each tile under the proposal of the evidence head. */
class TileChances {
  readonly #tileMap: TileMap;
  readonly #support: Support | undefined;
  readonly #exploration: number;

  constructor(
    tileMap: TileMap,
    support: Support | undefined,
    exploration: number,
  ) {
    this.#tileMap = tileMap;
    this.#support = support;
    this.#exploration = exploration;
  }

  /** How a tile comes to be drawn. */
  of(tile: number, logit: number): TileProposal {
    const alpha = Math.exp(logit - this.#tileMap.logNormaliser);
    const uniform = logit === -Infinity
      ? 0
      : uniformShare(this.#support, this.#tileMap.locations, tile);
    return tileProposal(alpha, uniform, this.#exploration);
  }

  /** q of the tiles of a block. */
  in(block: MapBlock, logits: Float32Array): Float32Array {
    const { columns } = this.#tileMap.map;
    return logits.map((logit, i) =>
      this.of(indexInMap(block, i, columns), logit).proposal
    );
  }
}

/** A batch of tiles, and beta of them. */
interface SeenBatch extends Omit<TileBatch, "views" | "mask"> {
  regions: Region[];
  map: MapSize;
  subTileAttention: Float32Array; // [tiles, u * v]
}

function entropies({ tiles, map, subTileAttention }: SeenBatch): Entropy[] {
  const locations = map.rows * map.columns;
  return tiles.map((_, i) =>
    entropyOf(subTileAttention.subarray(i * locations, (i + 1) * locations))
  );
}

/** Paints tiles that stage II has just seen. */
function paintTiles(
  { canvas }: LookImage,
  { firstTile, regions, map, subTileAttention }: SeenBatch,
  tileAttention: Float32Array,
): void {
  const locations = map.rows * map.columns;
  for (const [i, region] of regions.entries()) {
    const attention = subTileAttention.subarray(
      i * locations,
      (i + 1) * locations,
    );
    canvas?.addTile(
      { ...map, attention },
      region,
      tileAttention[firstTile + i]!,
    );
  }
}

/** Stage II of the tiles that were drawn, in batches. */
class TileLook {
  readonly #model: Model;
  readonly #image: LookImage;
  readonly #views: Views;
  readonly #tiles: readonly TileDraw[];
  readonly #options: LookOptions;

  constructor(
    model: Model,
    image: LookImage,
    views: Views,
    { tiles, options }: {
      tiles: readonly TileDraw[];
      options: LookOptions;
    },
  ) {
    this.#model = model;
    this.#image = image;
    this.#views = views;
    this.#tiles = tiles;
    this.#options = options;
  }

  /**
   * Locations drawn in each tile, and beta of all of them.
   *
   * @param visit is shown beta of the tiles as they are seen.
   */
  async draw(
    visit: (seen: SeenBatch) => void,
  ): Promise<{ drawn: SubTileDraw[]; attention: number[] }> {
    const all: SubTileDraw[] = [], attention: number[] = [];
    for await (const batch of this.batches()) {
      const { views, mask } = batch;
      const map = subTileMap(this.#model);
      const logits = tf.tidy(() =>
        subTileLogits(this.#model.parameters, views, map, mask)
      );
      const beta = tf.tidy(() => attentionSoftmax(logits));
      const [drawn, values] = await Promise.all([
        this.#drawBatch(batch, logits),
        beta.data() as Promise<Float32Array>,
      ]).finally(() => tf.dispose([logits, beta]));
      const count = values.length / batch.tiles.length;
      drawn.forEach(({ indices }, i) =>
        attention.push(...indices.map((index) => values[i * count + index]!))
      );
      all.push(...drawn);
      visit({
        ...batch,
        regions: this.#regionsOf(batch),
        map,
        subTileAttention: values,
      });
      freeNow(values);
    }
    return { drawn: all, attention };
  }

  /** The tiles of each glimpse, with the next batch prefetched. */
  batches(): AsyncGenerator<TileBatch> {
    const output = subTileView(this.#model);
    this.#views.announce(
      this.#tiles.flatMap(({ tileRegions }) => tileRegions),
      output,
      this.#options.signal,
    );
    const { width, height } = output;
    const { blockPixels } = this.#options.memory;
    const size = Math.max(1, Math.floor(blockPixels / (width * height)));
    const parts = this.#tiles.flatMap(({ tiles, firstTile }, glimpse) =>
      chunksOf(tiles, size).map((tiles, i) => ({
        glimpse,
        firstTile: firstTile + i * size,
        tiles,
      }))
    );
    return prefetched(parts, (part) => this.#read(part), {
      drop: ({ views, mask }) => tf.dispose([views, mask]),
    });
  }

  async #read(part: Omit<TileBatch, "views" | "mask">): Promise<TileBatch> {
    const regions = this.#regionsOf(part);
    const raw = await this.#views.regions(
      regions,
      subTileView(this.#model),
      this.#options.signal,
    );
    return {
      ...part,
      views: prepared(raw, regions, this.#image, this.#model),
      mask: this.#maskOf(part, regions),
    };
  }

  /** 0, or -Infinity where nothing may be drawn, `[tiles, u * v]`. */
  #maskOf(
    { glimpse }: Pick<TileBatch, "glimpse">,
    regions: readonly Region[],
  ): tf.Tensor2D | undefined {
    const { support } = this.#tiles[glimpse]!;
    if (!support) return undefined;
    return tf.tidy(() =>
      tf.stack(
        regions.map((region) => tf.tensor1d(support.mask(region))),
      ) as tf.Tensor2D
    );
  }

  #regionsOf({ glimpse, firstTile, tiles }: Omit<TileBatch, "views" | "mask">) {
    const draw = this.#tiles[glimpse]!;
    const first = firstTile - draw.firstTile;
    return draw.tileRegions.slice(first, first + tiles.length);
  }

  /** n_c draws in each tile of a batch. */
  async #drawBatch(
    { glimpse, firstTile, tiles, mask }: TileBatch,
    logits: tf.Tensor2D,
  ): Promise<SubTileDraw[]> {
    const draw = this.#tiles[glimpse]!;
    const { contrastive, counts, proposals } = draw;
    const first = firstTile - draw.firstTile;
    return await drawSubTilesFrom(logits, {
      draws: this.#options.draws,
      exploration: explorationOf(this.#model, this.#options),
      map: subTileMap(this.#model),
      mask,
      tiles: tiles.map((tile, i) => ({
        contrastive,
        count: counts[first + i]!,
        proposal: proposals?.[first + i],
        key: subTileKey(this.#image.key, tile, contrastive),
      })),
    });
  }
}
