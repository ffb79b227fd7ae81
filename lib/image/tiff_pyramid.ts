/**
 * TIFF, BigTIFF, SVS, OME-TIFF and GeoTIFF files as pyramids: which of their
 * pages are levels, and reading them block by block.
 *
 * @module
 */
import { ImageError } from "../errors.ts";
import type { BlockCache } from "./block_cache.ts";
import {
  clipRegion,
  type Orientation,
  type Region,
  type Size,
} from "./geometry.ts";
import { orient } from "./orient.ts";
import type { Georeference, Level, Pixels, Pyramid } from "./pyramid.ts";
import type { ByteSource, Traffic } from "./source.ts";
import { decodeBlock } from "./tiff_decoder.ts";
import {
  isAperio,
  type Magnitude,
  readGeoreference,
  readMagnitude,
} from "./tiff_metadata.ts";
import { pageSize, readPage, type TiffPage } from "./tiff_page.ts";
import { TAG, type TiffDirectory, type TiffFile } from "./tiff_parser.ts";

/** The image of a TIFF file: its levels, and what is said of it. */
export interface TiffImage extends Magnitude {
  levels: readonly TiffPage[];
  orientation: Orientation;
  georeference: Georeference | undefined;
  warnings: readonly string[];
  /** What a block is that the file leaves out. */
  emptyIsWhite: boolean;
}

/**
 * The image on the first page of a file, with its levels: sub-images of the
 * page, or pages behind it.
 *
 * @throws {ImageError} With the reason only, if its blocks cannot be decoded.
 */
export async function readTiffImage(
  file: TiffFile,
  pages: readonly TiffDirectory[],
): Promise<TiffImage> {
  const [first] = pages;
  const base = await readPage(first!);
  const aperio = isAperio(await first!.text(TAG.description));
  const subImages = await readSubImages(file, first!);
  const found = await findLevels(base, subImages ?? pages.slice(1));
  const left = pages.length - (subImages ? 1 : found.levels.length);
  const orientation = await first!.number(TAG.orientation, 1);
  const isOriented = orientation > 1 && orientation <= 8;
  return {
    levels: found.levels,
    orientation: (isOriented ? orientation : 1) as Orientation,
    ...await readMagnitude(first!),
    georeference: await readGeoreference(first!),
    warnings: [
      ...conversions(base),
      ...isOriented ? [`EXIF orientation ${orientation} applied`] : [],
      ...found.warnings,
      // The others of Aperio are the label, the macro and the thumbnail.
      ...left > found.masks && !aperio
        ? [`first of ${left - found.masks + 1} pages read`]
        : [],
    ],
    emptyIsWhite: aperio,
  };
}

// Levels halve, so even these are more than any size needs.
const MAX_SUB_IMAGES = 64;

async function readSubImages(
  file: TiffFile,
  page: TiffDirectory,
): Promise<TiffDirectory[] | undefined> {
  const offsets = await page.numbers(TAG.subDirectories);
  if (offsets.length === 0) return undefined;
  const found: TiffDirectory[] = [];
  for (const offset of offsets.slice(0, MAX_SUB_IMAGES)) {
    found.push((await file.directory(offset)).directory);
  }
  return found;
}

// Bits of NewSubfileType.
const IS_MASK = 4;

/** Those of `candidates` that show the same as `base`, ever smaller. */
async function findLevels(
  base: TiffPage,
  candidates: readonly TiffDirectory[],
): Promise<{ levels: TiffPage[]; masks: number; warnings: string[] }> {
  const levels = [base];
  const warnings: string[] = [];
  let masks = 0;
  for (const candidate of candidates) {
    if (await candidate.number(TAG.newSubfileType, 0) & IS_MASK) {
      masks++;
      continue;
    }
    const size = await pageSize(candidate);
    const tiled = candidate.has(TAG.tileWidth);
    if (tiled !== base.tiled || !isSmaller(size, levels.at(-1)!)) continue;
    if (!isSameShape(size, base)) continue;
    try {
      levels.push(await readPage(candidate));
    } catch (error) {
      if (!(error instanceof ImageError)) throw error;
      warnings.push(
        `level of ${size.width} x ${size.height} px left out: ${error.message}`,
      );
    }
  }
  if (masks > 0) warnings.push("transparency mask not applied");
  return { levels, masks, warnings };
}

function isSmaller(size: Size, than: Size): boolean {
  return size.width <= than.width && size.height <= than.height &&
    (size.width < than.width || size.height < than.height);
}

/** Whether one is the other shrunk, up to the rounding of each side. */
function isSameShape(size: Size, base: Size): boolean {
  const off = Math.abs(size.width * base.height - size.height * base.width);
  return off <= 1.5 * Math.max(base.width, base.height);
}

/** What decoding changes, in the words that other formats use. */
function conversions({ colours, bits, alpha, directory }: TiffPage): string[] {
  return [
    ...colours.kind === "palette" ? ["palette expanded to RGB"] : [],
    ...colours.kind === "grey" ? ["grey expanded to RGB"] : [],
    ...directory.has(TAG.iccProfile) ? ["colour profile not applied"] : [],
    ...bits === 16 ? ["16-bit samples scaled to 8"] : [],
    ...alpha === "none" ? [] : ["has alpha: composited over white"],
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

// Blocks of a region that are asked for together: remote ones are fetched so.
const BLOCKS_AT_A_TIME = 64;

class TiffPyramid implements Pyramid {
  readonly source: string;
  readonly width: number;
  readonly height: number;
  readonly levels: readonly Level[];
  readonly mpp: number | undefined;
  readonly magnification: number | undefined;
  readonly georeference: Georeference | undefined;
  readonly warnings: readonly string[];
  readonly #source: ByteSource;
  readonly #image: TiffImage;
  readonly #cache: BlockCache;
  #closed = false;

  constructor(source: ByteSource, image: TiffImage, cache: BlockCache) {
    const { width, height } = image.levels[0]!;
    this.source = source.name;
    this.width = width;
    this.height = height;
    this.levels = image.levels.map((page) => ({
      width: page.width,
      height: page.height,
      downsample: (width / page.width + height / page.height) / 2,
    }));
    this.mpp = image.mpp;
    this.magnification = image.magnification;
    this.georeference = image.georeference;
    this.warnings = [...source.warnings, ...image.warnings];
    this.#source = source;
    this.#image = image;
    this.#cache = cache;
  }

  get traffic(): Readonly<Traffic> {
    return this.#source.traffic;
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
    const page = this.#image.levels[level];
    if (page === undefined) {
      throw new RangeError(
        `Cannot read level ${level} of ${this.source}: it has ${this.levels.length}`,
      );
    }
    const { width, height } = region;
    const data = new Uint8Array(width * height * 4);
    const inside = clipRegion(region, page);
    const blocks = blocksOf(page, inside);
    for (let i = 0; i < blocks.length; i += BLOCKS_AT_A_TIME) {
      await Promise.all(
        blocks.slice(i, i + BLOCKS_AT_A_TIME).map((block) =>
          this.#copyBlock(page, { level, block, region, inside, data, signal })
        ),
      );
    }
    return { data, width, height };
  }

  close(): void {
    this.#closed = true;
    this.#source.close();
  }

  /** Copies what a block has of a region into the region's pixels. */
  async #copyBlock(
    page: TiffPage,
    { level, block, region, inside, data, signal }: {
      level: number;
      block: number;
      region: Region;
      inside: Region;
      data: Uint8Array;
      signal: AbortSignal | undefined;
    },
  ): Promise<void> {
    const place = blockRegion(page, block);
    try {
      await this.#cache.use({ source: this.#source.identity, level, block }, {
        bytes: place.width * place.height * 4,
        decode: (signal) => this.#decode(page, block, signal),
        visit: ({ data: from }) =>
          copy(inside, { data: from, ...place }, { data, ...region }),
        signal,
      });
    } catch (cause) {
      if (!(cause instanceof ImageError)) throw cause;
      throw new ImageError(
        `Cannot read ${this.source}: block ${block} of level ${level}: ${cause.message}`,
        { cause },
      );
    }
  }

  async #decode(
    page: TiffPage,
    block: number,
    signal: AbortSignal,
  ): Promise<Pixels> {
    const size = storedSize(page, block);
    const planes = page.planar ? page.samples : 1;
    const encoded = await Promise.all(
      Array.from(
        { length: planes },
        (_, plane) => this.#encoded(page, { block, plane, size, signal }),
      ),
    );
    const present = encoded.filter((bytes) => bytes !== undefined);
    if (present.length < planes) return filled(size, this.#image.emptyIsWhite);
    try {
      return await decodeBlock(page, present, size);
    } catch (cause) {
      if (!(cause instanceof ImageError)) throw cause;
      throw new ImageError(
        `it is damaged or truncated (${cause.message})`,
        { cause },
      );
    }
  }

  /** The bytes of one plane of a block; undefined where the file has none. */
  async #encoded(
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
    if (offset + length > this.#source.size || length > most) {
      throw new ImageError("it is damaged or truncated (it ends too early)");
    }
    return await this.#source.read(offset, length, signal);
  }
}

/** Indices of the blocks that hold pixels of `region`. */
function blocksOf(page: TiffPage, region: Region): number[] {
  if (region.width === 0 || region.height === 0) return [];
  const { block, grid } = page;
  const left = Math.floor(region.x / block.width);
  const right = Math.floor((region.x + region.width - 1) / block.width);
  const top = Math.floor(region.y / block.height);
  const bottom = Math.floor((region.y + region.height - 1) / block.height);
  const blocks: number[] = [];
  for (let row = top; row <= bottom; row++) {
    for (let column = left; column <= right; column++) {
      blocks.push(row * grid.columns + column);
    }
  }
  return blocks;
}

/** Where a block lies, px of its level. */
function blockRegion(page: TiffPage, block: number): Region {
  const { grid, block: { width, height } } = page;
  return {
    x: block % grid.columns * width,
    y: Math.floor(block / grid.columns) * height,
    ...storedSize(page, block),
  };
}

/** Size of what is stored of a block: tiles are whole, the last strip is not. */
function storedSize(page: TiffPage, block: number): Size {
  const { width, height } = page.block;
  if (page.tiled) return { width, height };
  const left = page.height - block * height; // strips are a column of blocks
  return { width, height: Math.min(height, left) };
}

async function blockRange(
  page: TiffPage,
  { block, plane, size }: { block: number; plane: number; size: Size },
  signal: AbortSignal,
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

/** Pixels, and where they lie on a level. */
interface PlacedPixels extends Region {
  data: Uint8Array;
}

/** Copies what `from` has of `part` to where `to` has it. */
function copy(part: Region, from: PlacedPixels, to: PlacedPixels): void {
  const left = Math.max(part.x, from.x);
  const right = Math.min(part.x + part.width, from.x + from.width);
  const top = Math.max(part.y, from.y);
  const bottom = Math.min(part.y + part.height, from.y + from.height);
  for (let y = top; y < bottom; y++) {
    const start = ((y - from.y) * from.width + left - from.x) * 4;
    to.data.set(
      from.data.subarray(start, start + (right - left) * 4),
      ((y - to.y) * to.width + left - to.x) * 4,
    );
  }
}
