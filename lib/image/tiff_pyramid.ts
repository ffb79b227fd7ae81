/**
 * TIFF, BigTIFF, SVS, OME-TIFF and GeoTIFF files as pyramids, read block by
 * block.
 *
 * @module
 */
import { ImageError, isOfContent } from "../errors.ts";
import type { BlockCache } from "./block_cache.ts";
import { BlockPyramid } from "./block_pyramid.ts";
import type { Size } from "./geometry.ts";
import type { Orientation } from "./orientation.ts";
import { blocksTogether, decodeTogether } from "./blocks_together.ts";
import { orient } from "./orient.ts";
import type { ImageFacts, Pixels, Pyramid } from "./pyramid.ts";
import type { ByteSource } from "./source.ts";
import { decodeBlock } from "./tiff_decoder.ts";
import type { TiffPage } from "./tiff_page.ts";
import { TAG } from "./tiff_parser.ts";
import { Together } from "./together.ts";

/** The image of a TIFF file: its levels, and what is said of it. */
export interface TiffImage {
  levels: readonly TiffPage[];
  orientation: Orientation;
  facts: ImageFacts;
  warnings: readonly string[];
  /** Of Aperio's scanners, where a block that is left out is glass: white. */
  aperio: boolean;
}

/** What decoding changes, in the words that other formats use. */
export function conversions(
  { colours, bits, alpha, backdrop = "white", directory }: TiffPage,
): string[] {
  return [
    ...colours.kind === "palette" ? ["palette expanded to RGB"] : [],
    ...colours.kind === "grey" ? ["grey expanded to RGB"] : [],
    ...directory.has(TAG.iccProfile) ? ["colour profile not applied"] : [],
    ...bits === 16 ? ["16-bit samples scaled to 8"] : [],
    ...alpha === "none" ? [] : [`has alpha: composited over ${backdrop}`],
  ];
}

/** The pyramid of an image, upright. It closes `source` when it is closed. */
export function tiffPyramid(
  source: ByteSource,
  image: TiffImage,
  cache: BlockCache,
): Pyramid {
  return orient(new TiffPyramid(source, image, cache), image.orientation);
}

// Of which the places in the file are looked up together.
const BLOCKS_AHEAD = 1024;

class TiffPyramid extends BlockPyramid {
  readonly #image: TiffImage;
  /** By level, where its blocks are decoded several at a time. */
  readonly #together: readonly (Together<Uint8Array, Pixels> | undefined)[];

  constructor(source: ByteSource, image: TiffImage, cache: BlockCache) {
    super(source, { ...image, cache });
    this.#image = image;
    this.#together = image.levels.map((page) => {
      const most = blocksTogether(page);
      const work = (blocks: readonly Uint8Array[]) =>
        decodeBlocks(page, blocks);
      return most > 1 ? new Together({ most, work }) : undefined;
    });
  }

  /** Tiles are whole; the last strip is not. */
  protected override blockSize(level: number, block: number): Size {
    const page = this.#image.levels[level]!;
    if (page.tiled) return page.block;
    const { width, height } = page.block;
    const left = page.height - block * height; // strips are a column of blocks
    return { width, height: Math.min(height, left) };
  }

  protected override async decodeBlock(
    level: number,
    block: number,
    signal: AbortSignal,
  ): Promise<Pixels> {
    const page = this.#image.levels[level]!;
    const size = this.blockSize(level, block);
    const planes = page.planar ? page.samples : 1;
    const encoded = Array.from(
      { length: planes },
      (_, plane) => this.#read(page, { block, plane, size, signal }),
    );
    const together = this.#together[level];
    try {
      const pixels = together
        ? await together.run(encoded[0]!)
        : await decodePlanes(page, await Promise.all(encoded), size);
      return pixels ?? filled(size, this.#image.aperio);
    } catch (cause) {
      if (!isOfContent(cause)) throw cause;
      throw new ImageError(
        `it is damaged or truncated (${cause.message})`,
        { cause },
      );
    }
  }

  protected override async fetchAhead(
    level: number,
    blocks: readonly number[],
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const page = this.#image.levels[level]!;
    const planes = page.planar ? page.samples : 1;
    const ranges = await Promise.all(
      blocks.slice(0, BLOCKS_AHEAD).flatMap((block) =>
        Array.from({ length: planes }, (_, plane) => {
          const size = this.blockSize(level, block);
          return blockRange(page, { block, plane, size }, signal);
        })
      ),
    );
    let left = this.bytes.aheadBytes ?? 0;
    for (const { offset, length } of ranges) {
      left -= length;
      if (left < 0) return;
      if (offset === 0 || length === 0) continue;
      this.bytes.read(offset, length, signal).catch(() => {});
    }
  }

  /** The bytes of one plane of a block; undefined where the file has none. */
  async #read(
    page: TiffPage,
    { block, plane, size, signal }: {
      block: number;
      plane: number;
      size: Size;
      signal: AbortSignal;
    },
  ): Promise<Uint8Array | undefined> {
    const { offset, length } = await blockRange(
      page,
      { block, plane, size },
      signal,
    );
    if (offset === 0 || length === 0) return undefined;
    // No compression makes a block this much larger than its pixels.
    const most = 4 * size.width * size.height * page.samples + 2 ** 16;
    if (offset + length > this.bytes.size || length > most) {
      throw new ImageError("it ends too early");
    }
    return await this.bytes.read(offset, length, signal);
  }
}

/** A block of its planes; undefined where the file lacks one. */
async function decodePlanes(
  page: TiffPage,
  encoded: readonly (Uint8Array | undefined)[],
  size: Size,
): Promise<Pixels | undefined> {
  const present = encoded.filter((bytes) => bytes !== undefined);
  if (present.length < encoded.length) return undefined;
  return await decodeBlock(page, present, size);
}

/** Whole blocks in one go; each by itself if that fails, to tell which. */
function decodeBlocks(
  page: TiffPage,
  blocks: readonly Uint8Array[],
): Promise<Pixels>[] {
  const all = blocks.length > 1
    ? decodeTogether(page, blocks).catch(() => undefined)
    : Promise.resolve(undefined);
  return blocks.map(async (bytes, i) => {
    const data = (await all)?.[i];
    return data
      ? { data, ...page.block }
      : await decodeBlock(page, [bytes], page.block);
  });
}

async function blockRange(
  page: TiffPage,
  { block, plane, size }: { block: number; plane: number; size: Size },
  signal: AbortSignal | undefined,
): Promise<{ offset: number; length: number }> {
  if (page.rowBytes !== undefined) {
    const start = await page.offsets.at(plane, signal);
    return {
      offset: start + block * page.block.height * page.rowBytes,
      length: size.height * page.rowBytes,
    };
  }
  const index = plane * page.grid.rows * page.grid.columns + block;
  const [offset, length] = await Promise.all([
    page.offsets.at(index, signal),
    page.bytes.at(index, signal),
  ]);
  return { offset, length };
}

function filled({ width, height }: Size, white: boolean): Pixels {
  const data = new Uint8Array(width * height * 4).fill(255);
  if (!white) new Uint32Array(data.buffer).fill(0xff000000); // opaque black
  return { data, width, height };
}
