/**
 * TIFF, BigTIFF, SVS, OME-TIFF and GeoTIFF files as pyramids, read block by
 * block.
 *
 * @module
 */
import { setImmediate } from "node:timers/promises";
import { ImageError, isOfContent } from "../../errors.ts";
import { averaged } from "../pyramids/averaged.ts";
import type { BlockCache } from "../pyramids/block_cache.ts";
import {
  blockOrigin,
  BlockPyramid,
  blocksOf,
} from "../pyramids/block_pyramid.ts";
import type { Region, Size } from "../geometry.ts";
import type { Orientation } from "../pyramids/orientation.ts";
import {
  areStripsTogether,
  blocksTogether,
  decodeStrips,
  decodeTogether,
} from "./decode/batch_decoder.ts";
import { orient } from "../pyramids/oriented.ts";
import { copyPart } from "../pyramids/pixels.ts";
import type { ImageFacts, Pixels, Pyramid } from "../pyramid.ts";
import type { ByteSource } from "../bytes/source.ts";
import { decodeBlock, type Piece } from "./decode/decoder.ts";
import { jpegTileDecoder, type TileDecoder } from "./decode/jpeg_tiles.ts";
import type { TiffPage } from "./page.ts";
import { insideOf, type Place, placesOf, planesOf, runsOf } from "./places.ts";
import { Together } from "./decode/coalesce.ts";
import { turn } from "../../turn.ts";

/** The image of a TIFF file: its levels and metadata. */
export interface TiffImage {
  levels: readonly TiffPage[];
  orientation: Orientation;
  facts: ImageFacts;
  warnings: readonly string[];
  /** Written by Aperio's scanners: an omitted block is glass, white. */
  aperio: boolean;
}

/** The pyramid of an image, upright. It closes `source` when it is closed. */
export function tiffPyramid(
  source: ByteSource,
  image: TiffImage,
  cache: BlockCache,
): Pyramid {
  return orient(new TiffPyramid(source, image, cache), image.orientation);
}

// Number of blocks whose file offsets are looked up together.
const BLOCKS_AHEAD = 1024;

/** A tile of all channels, and its part inside the image. */
interface Tile {
  bytes: Uint8Array;
  inside: Size;
}

class TiffPyramid extends BlockPyramid {
  readonly #image: TiffImage;
  readonly #rebuiltBlocks = new RebuiltBlocks();
  /** By level: what decodes a tile by itself, and the batches of those that nothing does. */
  readonly #alone: readonly (TileDecoder | undefined)[];
  readonly #together: readonly (Together<Tile, Pixels> | undefined)[];

  constructor(source: ByteSource, image: TiffImage, cache: BlockCache) {
    super(source, { ...image, cache });
    this.#image = image;
    this.#alone = image.levels.map(jpegTileDecoder);
    this.#together = image.levels.map((page, level) => {
      const most = this.#alone[level] ? 1 : blocksTogether(page);
      const work = (tiles: readonly Tile[]) => decodeTiles(page, tiles);
      return most > 1 ? new Together({ most, work }) : undefined;
    });
  }

  /** Tiles are whole; the last block of strips is not. */
  protected override blockSize(level: number, block: number): Size {
    const page = this.#image.levels[level]!;
    if (page.tiled) return page.block;
    const { width, height } = page.block;
    const left = page.height - block * height; // a column of blocks
    return { width, height: Math.min(height, left) };
  }

  protected override async decodeBlock(
    level: number,
    block: number,
    signal: AbortSignal,
  ): Promise<Pixels> {
    const page = this.#image.levels[level]!;
    const size = this.blockSize(level, block);
    const inside = insideOf(page, block);
    try {
      const reading = this.#readPlanes(page, block, signal);
      const tile = async () => {
        const [[piece]] = await reading as [[Piece]];
        return piece.bytes && { bytes: piece.bytes, inside };
      };
      const decoded = await this.#together[level]?.run(tile()) ??
        await decodedAlone(this.#alone[level], tile);
      if (decoded) return decoded;
      const planes = await reading;
      await turn(signal);
      const isEmpty = planes.flat().every(({ bytes }) => bytes === undefined);
      if (isEmpty && this.#image.aperio) {
        return await this.#rebuilt(level, block, signal);
      }
      return await decodeStripsOf(page, planes, size) ??
        await decodeBlock(page, planes, { size, inside });
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
    const ranges = await Promise.all(
      blocks.slice(0, BLOCKS_AHEAD).flatMap((block) =>
        planesOf(page).map((plane) => placesOf(page, { block, plane }, signal))
      ),
    );
    let left = this.bytes.aheadBytes ?? 0;
    for (const { offset, length } of ranges.flatMap(runsOf)) {
      left -= length;
      if (left < 0) return;
      this.bytes.read(offset, length, signal).catch(() => {});
    }
  }

  /** The stored bytes of a block, of each of its planes. */
  async #readPlanes(
    page: TiffPage,
    block: number,
    signal: AbortSignal,
  ): Promise<Piece[][]> {
    return await Promise.all(
      planesOf(page).map(async (plane) => {
        const places = await placesOf(page, { block, plane }, signal);
        return await this.#readPieces(places, signal);
      }),
    );
  }

  async #readPieces(
    places: readonly Place[],
    signal: AbortSignal,
  ): Promise<Piece[]> {
    const found = new Map<Place, Uint8Array>();
    await Promise.all(
      runsOf(places).map(async (run) => {
        if (run.offset + run.length > this.bytes.size) {
          throw new ImageError("it ends too early");
        }
        const bytes = await this.bytes.read(run.offset, run.length, signal);
        let at = 0;
        for (const place of run.places) {
          found.set(place, bytes.subarray(at, at += place.length));
        }
      }),
    );
    return places.map((place) => ({
      rows: place.rows,
      bytes: found.get(place),
    }));
  }

  /**
   * A tile that Aperio omits: averaged from the finer level, as in OpenSlide;
   * glass on the finest. It bypasses the cache, where this block already holds
   * its room.
   */
  async #rebuilt(
    level: number,
    block: number,
    signal: AbortSignal,
  ): Promise<Pixels> {
    const kept = this.#rebuiltBlocks.get(level, block);
    if (kept) return kept;
    await setImmediate(); // lets an abort arrive: levels may lack all blocks
    signal.throwIfAborted();
    const { width, height } = this.blockSize(level, block);
    const data = new Uint8Array(width * height * 4).fill(255);
    const made = { data, width, height };
    if (level === 0) return made;
    const page = this.#image.levels[level]!;
    const finer = this.#image.levels[level - 1]!;
    const part = { ...blockOrigin(page, block), ...insideOf(page, block) };
    const pixels = await averaged(
      part,
      page,
      finer,
      (covered) => this.#readBeside(covered, level - 1, signal),
    );
    copyPart(part, { ...part, ...pixels }, { ...part, ...made });
    this.#rebuiltBlocks.keep(level, block, made);
    return made;
  }

  /** A region inside a level; its blocks bypass the cache. */
  async #readBeside(
    region: Region,
    level: number,
    signal: AbortSignal,
  ): Promise<Pixels> {
    const page = this.#image.levels[level]!;
    const { width, height } = region;
    const data = new Uint8Array(width * height * 4);
    for (const block of blocksOf(page, region)) {
      const pixels = await this.decodeBlock(level, block, signal);
      const place = { ...blockOrigin(page, block), ...pixels };
      copyPart(region, place, { ...region, data });
    }
    return { data, width, height };
  }
}

/**
 * The last blocks that were rebuilt. A level that lacks many takes each of them
 * several times: without keeping them, the work would grow fourfold a level.
 */
class RebuiltBlocks {
  readonly #blocks = new Map<string, Pixels>(); // oldest use first
  #pixels = 0;

  /** A copy, because a cache frees what it was given. */
  get(level: number, block: number): Pixels | undefined {
    const key = `${level}/${block}`;
    const found = this.#blocks.get(key);
    if (found === undefined) return undefined;
    this.#blocks.delete(key);
    this.#blocks.set(key, found);
    return copyOf(found);
  }

  keep(level: number, block: number, pixels: Pixels): void {
    const key = `${level}/${block}`;
    if (this.#blocks.has(key)) return; // rebuilt twice at the same time
    this.#blocks.set(key, copyOf(pixels));
    this.#pixels += pixels.width * pixels.height;
    for (const [key, { width, height }] of this.#blocks) {
      if (this.#pixels <= REBUILT_PIXELS) break;
      this.#blocks.delete(key);
      this.#pixels -= width * height;
    }
  }
}

const REBUILT_PIXELS = 2 ** 22; // 16 MiB as RGBA

function copyOf({ data, width, height }: Pixels): Pixels {
  return { data: new Uint8Array(data), width, height };
}

/**
 * The tile, decoded by itself; undefined if that fails, because decodeBlock()
 * names the fault, or reads what libjpeg-turbo is too strict for.
 */
async function decodedAlone(
  decode: TileDecoder | undefined,
  tile: () => Promise<Tile | undefined>,
): Promise<Pixels | undefined> {
  const bytes = decode && (await tile())?.bytes;
  return bytes && await decode!(bytes).catch(() => undefined);
}

/** Decodes tiles in a batch; one by one if that fails, to find the faulty one. */
function decodeTiles(
  page: TiffPage,
  tiles: readonly Tile[],
): Promise<Pixels>[] {
  const all = tiles.length > 1
    ? decodeTogether(page, tiles.map(({ bytes }) => bytes))
      .catch(() => undefined)
    : Promise.resolve(undefined);
  return tiles.map(async ({ bytes, inside }, i) => {
    const data = (await all)?.[i];
    const { block: size, pieceRows: rows } = page;
    return data
      ? { data, ...size }
      : await decodeBlock(page, [[{ bytes, rows }]], { size, inside });
  });
}

/**
 * Decodes a block of several strips in a batch; undefined if it cannot be
 * batched.
 */
async function decodeStripsOf(
  page: TiffPage,
  [pieces = []]: readonly (readonly Piece[])[],
  size: Size,
): Promise<Pixels | undefined> {
  const strips = pieces.flatMap(({ bytes }) => bytes ? [bytes] : []);
  const isWhole = strips.length > 1 && strips.length === pieces.length;
  if (!isWhole || !areStripsTogether(page)) return undefined;
  return await decodeStrips(page, strips, size).catch(() => undefined);
}
