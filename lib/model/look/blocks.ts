/**
 * The look at one image of any size: stage I block by block, stage II a few
 * tiles at a time. Only the draws are kept.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { attentionSoftmax } from "../../../kernels/softmax/softmax.ts";
import type { MapSize, Region } from "../../image/geometry.ts";
import { Views } from "../../image/views.ts";
import { freeNow } from "../../memory.ts";
import {
  contrastiveLogWeightsOf as contrastiveBlock,
  ExpectedCounts,
  GumbelDraws,
  type StreamedDraws,
} from "../../sampling/streams.ts";
import { type Entropy, entropyOf } from "../../sampling/entropy.ts";
import { chunksOf, prefetched } from "./prefetch.ts";
import { subTileLogits } from "./attention.ts";
import { contrastiveWeights, drawSubTileRows } from "./sampler.ts";
import {
  Clock,
  drawnOf,
  type LookImage,
  type LookOptions,
  numbered,
  subTileKey,
  subTileMap,
  subTileView,
  type TileDraw,
  tileDraw,
  tileKey,
} from "./draws.ts";
import { prepared } from "./input.ts";
import type { Model } from "../model.ts";
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
    const tileMap = new TileMap(model, image, views, options);
    const { plain, contrastive } = await drawTiles(tileMap, image, options);
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
    const found = drawnOf(model, tiles, options.samples, subTiles.locations);
    const read = await readSubTiles(model, [image], [views], {
      glimpses: found.glimpses,
      alone: true,
      ...options,
    });
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
  { draws, samples }: LookOptions,
): Promise<{ plain: StreamedDraws; contrastive: StreamedDraws | undefined }> {
  const { locations, map: { columns } } = tileMap;
  const gumbel = (contrastive: boolean) =>
    new GumbelDraws({
      samples,
      columns,
      locations,
      key: tileKey(key, contrastive),
    });
  const seeded = draws === "seeded" ? gumbel(false) : undefined;
  await tileMap.look(({ block, logits }) => seeded?.add(block, logits));
  const { logNormaliser } = tileMap;
  const expected = seeded
    ? undefined
    : new ExpectedCounts({ samples, columns, logNormaliser });
  const turned = contrastive ? gumbel(true) : undefined;
  if (expected || turned) {
    for await (const { block, logits } of tileMap.logits()) {
      expected?.add(block, logits);
      turned?.add(
        block,
        contrastiveBlock(logits, { logNormaliser, locations }),
        logits,
      );
    }
  }
  return { plain: (seeded ?? expected!).draw(), contrastive: turned?.draw() };
}

/** A batch of tiles, and beta of them. */
interface SeenBatch extends Omit<TileBatch, "views"> {
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
  ): Promise<{ locations: number[][]; attention: number[] }> {
    const locations: number[][] = [], attention: number[] = [];
    for await (const batch of this.batches()) {
      const beta = tf.tidy(() =>
        attentionSoftmax(subTileLogits(this.#model.parameters, batch.views))
      );
      const [drawn, values] = await Promise.all([
        this.#drawBatch(batch),
        beta.data() as Promise<Float32Array>,
      ]).finally(() => beta.dispose());
      const count = values.length / batch.tiles.length;
      drawn.forEach((tile, i) =>
        attention.push(...tile.map((index) => values[i * count + index]!))
      );
      locations.push(...drawn);
      visit({
        ...batch,
        regions: this.#regionsOf(batch),
        map: subTileMap(this.#model),
        subTileAttention: values,
      });
      freeNow(values);
    }
    return { locations, attention };
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
      drop: ({ views }) => views.dispose(),
    });
  }

  async #read(part: Omit<TileBatch, "views">): Promise<TileBatch> {
    const regions = this.#regionsOf(part);
    const raw = await this.#views.regions(
      regions,
      subTileView(this.#model),
      this.#options.signal,
    );
    return { ...part, views: prepared(raw, regions, this.#image, this.#model) };
  }

  #regionsOf({ glimpse, firstTile, tiles }: Omit<TileBatch, "views">) {
    const draw = this.#tiles[glimpse]!;
    const first = firstTile - draw.firstTile;
    return draw.tileRegions.slice(first, first + tiles.length);
  }

  /** n_c draws without replacement in each tile of a batch. */
  async #drawBatch(
    { glimpse, firstTile, tiles, views }: TileBatch,
  ): Promise<number[][]> {
    const draw = this.#tiles[glimpse]!;
    const { columns } = subTileMap(this.#model);
    const first = firstTile - draw.firstTile;
    const logWeights = tf.tidy(() => {
      const logits = subTileLogits(this.#model.parameters, views);
      return draw.contrastive ? contrastiveWeights(logits) : logits;
    });
    return await drawSubTileRows(logWeights, {
      draws: this.#options.draws,
      counts: draw.counts.slice(first, first + tiles.length),
      columns,
      keys: tiles.map((tile) =>
        subTileKey(this.#image.key, tile, draw.contrastive)
      ),
    }).finally(() => logWeights.dispose());
  }
}
