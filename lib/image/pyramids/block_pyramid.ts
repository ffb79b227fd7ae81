/**
 * Pyramids whose levels are decoded in blocks: finds the blocks of a region,
 * and assembles them.
 *
 * @module
 */
import { ImageError, retold } from "../../errors.ts";
import { freeNow } from "../../memory.ts";
import type { BlockCache } from "./block_cache.ts";
import { clipRegion, type Region, type Size } from "../geometry.ts";
import { copyPart, type PlacedPixels } from "./pixels.ts";
import {
  type Georeference,
  type GeoTag,
  type ImageFacts,
  type Level,
  levelOf,
  type Pixels,
  type Pyramid,
} from "../pyramid.ts";
import type { ByteSource, OpenSource, Traffic } from "../bytes/source.ts";

/** A level that is stored in blocks, row by row. */
export interface BlockLevel extends Size {
  /** Size of a block, px; the last ones may extend beyond the level. */
  block: Size;
}

// Blocks of a region that are requested together, so that remote reads
// coalesce.
const BLOCKS_AT_A_TIME = 64;

/** Levels of a pyramid of blocks, and what is known of them. */
export interface BlockPyramidOptions {
  levels: readonly BlockLevel[];
  facts: ImageFacts;
  warnings: readonly string[];
  cache: BlockCache;
}

/** A pyramid of blocks; a subclass decodes them. */
export abstract class BlockPyramid<Source extends OpenSource = ByteSource>
  implements Pyramid {
  readonly source: string;
  readonly width: number;
  readonly height: number;
  readonly levels: readonly Level[];
  readonly blockCounts: readonly number[];
  readonly mpp: number | undefined;
  readonly magnification: number | undefined;
  readonly georeference: Georeference | undefined;
  readonly geoTags: readonly GeoTag[] | undefined;
  readonly bounds: Region | undefined;
  readonly warnings: readonly string[];
  protected readonly bytes: Source;
  readonly #levels: readonly BlockLevel[];
  readonly #cache: BlockCache;
  #closed = false;

  /** @param bytes is closed with the pyramid. */
  constructor(
    bytes: Source,
    { levels, facts, warnings, cache }: BlockPyramidOptions,
  ) {
    const { width, height } = levels[0]!;
    this.source = bytes.name;
    this.width = width;
    this.height = height;
    this.levels = levels.map((level) => ({
      width: level.width,
      height: level.height,
      downsample: (width / level.width + height / level.height) / 2,
    }));
    this.blockCounts = levels.map(({ width, height, block }) =>
      Math.ceil(width / block.width) * Math.ceil(height / block.height)
    );
    this.mpp = facts.mpp;
    this.magnification = facts.magnification;
    this.georeference = facts.georeference;
    this.geoTags = facts.geoTags;
    this.bounds = facts.bounds;
    this.warnings = [...bytes.warnings, ...warnings];
    this.bytes = bytes;
    this.#levels = levels;
    this.#cache = cache;
  }

  get identity(): string {
    return this.bytes.identity;
  }

  get traffic(): Readonly<Traffic> {
    return this.bytes.traffic;
  }

  async read(
    region: Region,
    level: number,
    signal?: AbortSignal,
  ): Promise<Pixels> {
    signal?.throwIfAborted();
    if (this.#closed) {
      throw new TypeError(`Cannot read ${this.source}: it was closed`);
    }
    const stored = levelOf(this.#levels, level, this.source);
    const { width, height } = region;
    const data = new Uint8Array(width * height * 4);
    const part = clipRegion(region, stored);
    const blocks = blocksOf(stored, part);
    const copyBlock = (block: number) =>
      this.#useBlock(
        level,
        block,
        (pixels) => copyPart(part, pixels, { data, ...region }),
        signal,
      );
    for (let i = 0; i < blocks.length; i += BLOCKS_AT_A_TIME) {
      await Promise.all(blocks.slice(i, i + BLOCKS_AT_A_TIME).map(copyBlock));
    }
    return { data, width, height };
  }

  release({ data }: Pixels): void {
    freeNow(data);
  }

  prefetch(
    regions: readonly Region[],
    level: number,
    signal?: AbortSignal,
  ): void {
    const stored = this.#levels[level];
    if (this.#closed || !stored || !this.bytes.aheadBytes) return;
    const blocks = new Set(
      regions.flatMap((region) => blocksOf(stored, clipRegion(region, stored))),
    );
    const source = this.bytes.identity;
    const missing = [...blocks].filter((block) =>
      !this.#cache.has({ source, level, block })
    );
    // The read of the blocks reports the error.
    this.fetchAhead(level, missing, signal).catch(() => {});
  }

  close(): void {
    this.#closed = true;
    this.bytes.close();
  }

  /** Size of a decoded block; the whole block by default. */
  protected blockSize(level: number, _block: number): Size {
    return this.#levels[level]!.block;
  }

  /** Prefetches the stored bytes of blocks. */
  protected async fetchAhead(
    _level: number,
    _blocks: readonly number[],
    _signal: AbortSignal | undefined,
  ): Promise<void> {}

  /**
   * The pixels of a block, opaque.
   *
   * @throws {ImageError} With the reason only.
   */
  protected abstract decodeBlock(
    level: number,
    block: number,
    signal: AbortSignal,
  ): Promise<Pixels>;

  async #useBlock(
    level: number,
    block: number,
    visit: (pixels: PlacedPixels) => void,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const place = {
      ...blockOrigin(this.#levels[level]!, block),
      ...this.blockSize(level, block),
    };
    try {
      await this.#cache.use({ source: this.bytes.identity, level, block }, {
        bytes: place.width * place.height * 4,
        decode: (signal) => this.decodeBlock(level, block, signal),
        visit: ({ data }) => visit({ data, ...place }),
        signal,
      });
    } catch (cause) {
      if (!(cause instanceof ImageError)) throw cause;
      throw retold(
        cause,
        `Cannot read ${this.source}: block ${block} of level ${level}: ${cause.message}`,
      );
    }
  }
}

/** Origin of a block, px of its level. */
export function blockOrigin(
  level: BlockLevel,
  block: number,
): { x: number; y: number } {
  const columns = Math.ceil(level.width / level.block.width);
  return {
    x: block % columns * level.block.width,
    y: Math.floor(block / columns) * level.block.height,
  };
}

/** Indices of the blocks that hold pixels of `region`. */
export function blocksOf(
  { width, block }: BlockLevel,
  region: Region,
): number[] {
  if (region.width === 0 || region.height === 0) return [];
  const columns = Math.ceil(width / block.width);
  const left = Math.floor(region.x / block.width);
  const right = Math.floor((region.x + region.width - 1) / block.width);
  const top = Math.floor(region.y / block.height);
  const bottom = Math.floor((region.y + region.height - 1) / block.height);
  const blocks: number[] = [];
  for (let row = top; row <= bottom; row++) {
    for (let column = left; column <= right; column++) {
      blocks.push(row * columns + column);
    }
  }
  return blocks;
}
