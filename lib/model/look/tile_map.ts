/**
 * Stage I of one image, block by block: the tile map of an image of any size in
 * memory that does not grow with it.
 *
 * A block sees a part of V(x, s1) with a margin of the network's receptive field,
 * so its logits equal those of the whole map. Blocks without foreground are not
 * read.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { ImageError } from "../../errors.ts";
import {
  blockPart,
  type MapBlock,
  mapBlocks,
  type MapSize,
  type Size,
  tileMapSize,
  viewSize,
} from "../../image/geometry.ts";
import type { Views } from "../../image/views.ts";
import { freeNow, type Memory } from "../../memory.ts";
import { EntropySums, LogSumExp } from "../../sampling/streams.ts";
import { prefetched } from "./prefetch.ts";
import { blockLogits, type ViewPlace } from "./attention.ts";
import type { Support } from "./support/support.ts";
import { type BlockMask, blockMask } from "./support/foreground_mask.ts";
import { nothingToLookAt } from "./support/nothing_to_look_at.ts";
import type { LookImage, LookOptions } from "./draws.ts";
import { prepared } from "./input.ts";
import type { Model } from "../model.ts";
import { ATTENTION_RADIUS } from "../networks.ts";

// The list of blocks is held in memory; reading as many takes hours.
const MAX_BLOCKS = 2 ** 18;

/** A block of a tile map that is looked at. */
interface SeenBlock {
  block: MapBlock;
  mask: BlockMask;
}

/** The logits of a block, -Infinity outside the foreground. */
export interface BlockLogits {
  block: MapBlock;
  logits: Float32Array;
}

/** A block as network a sees it. */
export interface BlockView extends SeenBlock {
  place: ViewPlace;
  view: tf.Tensor4D; // [1, h, w, 3], normalised
}

/** The tile map of one image. */
export class TileMap {
  readonly map: MapSize;
  /** Locations that can be drawn. */
  readonly locations: number;
  /** log sum exp of all logits: log alpha is a logit less this. */
  logNormaliser = -Infinity;
  readonly #model: Model;
  readonly #image: LookImage;
  readonly #views: Views;
  readonly #view: Size;
  readonly #blocks: readonly SeenBlock[];
  readonly #signal: AbortSignal | undefined;
  readonly #kept = new Map<MapBlock, Float32Array>();
  #room: number; // logits that may still be kept

  /**
   * @param options.support confines the draws, if given.
   * @throws {ImageError} If no location is foreground, or the view is immense.
   */
  constructor(
    model: Model,
    image: LookImage,
    views: Views,
    { memory, signal, support }:
      & Pick<LookOptions, "memory" | "signal">
      & { support?: Support | undefined },
  ) {
    const { scale1: scale, tileStride: stride } = model.config.view;
    this.map = tileMapSize(image.pyramid, { scale, stride });
    this.#model = model;
    this.#image = image;
    this.#views = views;
    this.#view = viewSize(image.pyramid, scale);
    refuseImmense(image.pyramid.source, this.#view, memory);
    this.#signal = signal;
    this.#room = memory.keptLogits;
    this.#blocks = mapBlocks(this.map, this.#view, {
      pixels: memory.blockPixels,
      halo: ATTENTION_RADIUS,
    })
      .map((block) => ({
        block,
        mask: blockMask(image, model.config, { map: this.map, block, support }),
      }))
      .filter(({ mask }) => mask.locations > 0);
    this.locations = this.#blocks
      .reduce((sum, { mask }) => sum + mask.locations, 0);
    if (this.locations === 0) throw nothingToLookAt(image.pyramid.source);
  }

  /**
   * First reads all blocks, and finds the normaliser.
   *
   * @param visit called with each block's logits.
   */
  async look(visit: (block: BlockLogits) => void): Promise<void> {
    const sum = new LogSumExp();
    for await (const seen of this.logits()) {
      sum.add(seen.logits);
      visit(seen);
    }
    this.logNormaliser = sum.value;
  }

  /** Entropy sums of alpha, for the regulariser. */
  async entropy(): Promise<EntropySums> {
    const sums = new EntropySums(this.logNormaliser);
    for await (const { logits } of this.logits()) sums.add(logits);
    return sums;
  }

  /** The logits of all blocks; those that were not kept are computed again. */
  async *logits(): AsyncGenerator<BlockLogits> {
    const kept = this.#blocks.filter(({ block }) => this.#kept.has(block));
    for (const { block } of kept) {
      yield { block, logits: this.#kept.get(block)! };
    }
    const others = this.#blocks.filter((seen) => !kept.includes(seen));
    for await (const seen of this.#read(others)) {
      const logits = await this.#logitsOf(seen);
      if (logits.length <= this.#room) {
        this.#kept.set(seen.block, logits);
        this.#room -= logits.length;
      }
      yield { block: seen.block, logits };
      if (!this.#kept.has(seen.block)) freeNow(logits);
    }
  }

  /** All blocks as network a sees them, with their logits. */
  async *seen(): AsyncGenerator<BlockView & BlockLogits> {
    for await (const seen of this.#read(this.#blocks)) {
      const logits = this.#kept.get(seen.block) ?? await this.#logitsOf(seen);
      yield { ...seen, logits };
    }
  }

  /** The input of network a, block by block, with the next one prefetched. */
  #read(blocks: readonly SeenBlock[]): AsyncGenerator<BlockView> {
    return prefetched(blocks, (seen) => this.#readOne(seen), {
      drop: ({ view }) => view.dispose(),
    });
  }

  /** The logits of a block that is seen. */
  async #logitsOf(
    { block, mask, place, view }: BlockView,
  ): Promise<Float32Array> {
    const { parameters } = this.#model;
    const computed = tf.tidy(() =>
      blockLogits(parameters, view, { block, map: this.map, ...place })
    );
    const logits = await computed.data() as Float32Array;
    computed.dispose();
    return mask.values
      ? logits.map((logit, i) => logit + mask.values![i]!)
      : logits;
  }

  async #readOne(seen: SeenBlock): Promise<BlockView> {
    const { width, height } = this.#image.pyramid;
    const part = blockPart(seen.block, this.map, {
      view: this.#view,
      halo: ATTENTION_RADIUS,
    });
    const { scale1 } = this.#model.config.view;
    const raw = await this.#views.whole(scale1, {
      part,
      signal: this.#signal,
    });
    const all = [{ x: 0, y: 0, width, height }];
    return {
      ...seen,
      place: { view: this.#view, part },
      view: prepared(raw, all, this.#image, this.#model),
    };
  }
}

function refuseImmense(
  source: string,
  { width, height }: Size,
  { blockPixels }: Memory,
): void {
  if (width * height <= MAX_BLOCKS * blockPixels) return;
  throw new ImageError(
    `Cannot look at ${source}: its view at view.scale1 has ${width} x ${height} px, which is too many; lower view.scale1`,
  );
}
