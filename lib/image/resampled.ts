/**
 * An image resampled to given micrometres per px: the resolution that a network
 * was trained for, whatever the scanner.
 *
 * Level 0 is computed on reading: each pixel is the mean of the area that it
 * covers on the coarsest level of the file that is at least as fine. Coarser
 * levels of the file are unchanged.
 *
 * @module
 */
import { ImageError } from "../errors.ts";
import { averaged } from "./pyramids/averaged.ts";
import type { ImageCache } from "./image_cache.ts";
import {
  cellEdge,
  clipRegion,
  type Region,
  scaledSize,
  type Size,
} from "./geometry.ts";
import { findIgnoredMpp, inWords, isPlausibleMpp, MPP_WORDS } from "./mpp.ts";
import { copyPart } from "./pyramids/pixels.ts";
import {
  type Level,
  MAX_SIDE,
  type Pixels,
  type Pyramid,
  WrappedPyramid,
} from "./pyramid.ts";

// Tolerated ratio: scanners of one make differ by as much.
const TOLERANCE = 0.02;

// Maximum enlargement: beyond it there is no detail to see.
const MAX_ENLARGEMENT = 16;

/**
 * `pyramid` at `mpp` micrometres per px; itself if `mpp` is null or close to
 * its own. Closing the one closes the other.
 *
 * @param known micrometres per px of the image; overrides its file.
 * @throws {ImageError} If the image states none, or an implausible value, or
 * would become smaller than a pixel or enlarged too far.
 */
export function atMpp(
  pyramid: Pyramid,
  mpp: number | null,
  known?: number | undefined,
): Pyramid {
  if (mpp === null) return pyramid;
  const own = known ?? pyramid.mpp;
  if (own === undefined) {
    const said = findIgnoredMpp(pyramid.warnings);
    const found = said
      ? `its file says ${said}`
      : "its file does not state its um per px";
    throw new ImageError(
      `Cannot see ${pyramid.source} at ${mpp} um per px, as the configuration asks: ${found}; write them in the manifest's column "mpp", or give classify --mpp`,
    );
  }
  const scale = own / mpp;
  if (Math.abs(scale - 1) <= TOLERANCE) return pyramid;
  const fault = unfit(pyramid, own, scale);
  if (fault !== undefined) {
    throw new ImageError(
      `Cannot see ${pyramid.source} at ${mpp} um per px, as the configuration asks: it has ${own}, ${fault}; correct it in the manifest's column "mpp", or give classify --mpp`,
    );
  }
  return new ResampledPyramid(pyramid, { mpp, own });
}

/**
 * Reason why an image of `own` um per px is not resampled by `scale`; undefined
 * if it is.
 */
function unfit(image: Size, own: number, scale: number): string | undefined {
  if (!isPlausibleMpp(own)) return `which is not ${MPP_WORDS}`;
  if (scale > MAX_ENLARGEMENT) {
    return `so it would be enlarged ${
      inWords(scale)
    } times (at most ${MAX_ENLARGEMENT} are allowed)`;
  }
  const side = Math.max(image.width, image.height) * scale;
  return side >= 1 && side <= MAX_SIDE
    ? undefined
    : `so its longer side would be ${inWords(side)} px`;
}

/**
 * Opens an image of a manifest through a cache, at `mpp` micrometres per px.
 *
 * @throws {ImageError} As `openImage` and {@linkcode atMpp}.
 */
export async function openAtMpp(
  cache: ImageCache,
  { path, mpp: known }: { path: string; mpp?: number | undefined },
  mpp: number | null,
  signal?: AbortSignal,
): Promise<Pyramid> {
  const pyramid = await cache.open(path, signal);
  try {
    return atMpp(pyramid, mpp, known);
  } catch (error) {
    pyramid.close();
    throw error;
  }
}

// Parts of a region computed at a time, px: 1 MiB.
const PART_SIDE = 512;

class ResampledPyramid extends WrappedPyramid {
  readonly #mpp: number;
  readonly #own: number;
  readonly #levels: readonly Level[];
  /** Index in the file of the level that level 0 is computed from. */
  readonly #finer: number;

  constructor(pyramid: Pyramid, { mpp, own }: { mpp: number; own: number }) {
    super(pyramid);
    const size = scaledSize(pyramid, own / mpp);
    const isFine = (level: Size) =>
      level.width >= size.width && level.height >= size.height;
    this.#mpp = mpp;
    this.#own = own;
    this.#finer = Math.max(0, pyramid.levels.findLastIndex(isFine));
    this.#levels = [
      { ...size, downsample: 1 },
      ...pyramid.levels.slice(this.#finer + 1).map((level) => ({
        ...level,
        downsample: (size.width / level.width + size.height / level.height) / 2,
      })),
    ];
  }

  override get blockCounts(): readonly number[] | undefined {
    return super.blockCounts?.slice(this.#finer);
  }

  override get width(): number {
    return this.#levels[0]!.width;
  }

  override get height(): number {
    return this.#levels[0]!.height;
  }

  override get levels(): readonly Level[] {
    return this.#levels;
  }

  override get mpp(): number {
    return this.#mpp;
  }

  override get stored(): Size {
    return this.inner.stored ?? this.inner;
  }

  override get geoTags(): undefined {
    return undefined;
  }

  override get georeference(): undefined {
    return undefined; // they refer to the stored pixels
  }

  override get bounds(): undefined {
    return undefined; // likewise
  }

  override get warnings(): readonly string[] {
    return [
      ...this.inner.warnings,
      `resampled to ${this.mpp} um per px; the file has ${this.#own}`,
    ];
  }

  override async read(
    region: Region,
    level: number,
    signal?: AbortSignal,
  ): Promise<Pixels> {
    if (level > 0) {
      return await super.read(region, this.#finer + level, signal);
    }
    const { width, height } = region;
    const out = { data: new Uint8Array(width * height * 4), width, height };
    const inside = clipRegion(region, this);
    const right = inside.x + inside.width, bottom = inside.y + inside.height;
    for (let y = inside.y; y < bottom; y += PART_SIDE) {
      for (let x = inside.x; x < right; x += PART_SIDE) {
        const part = {
          x,
          y,
          width: Math.min(PART_SIDE, right - x),
          height: Math.min(PART_SIDE, bottom - y),
        };
        const made = await this.#make(part, signal);
        copyPart(part, { ...part, ...made }, { ...region, ...out });
      }
    }
    return out;
  }

  override prefetch(
    regions: readonly Region[],
    level: number,
    signal?: AbortSignal,
  ): void {
    const finer = this.inner.levels[this.#finer]!;
    const wanted = level > 0
      ? regions
      : regions.map((region) => this.#covered(clipRegion(region, this), finer));
    super.prefetch(wanted, this.#finer + level, signal);
  }

  /** Area that a region covers on a level of the file, px of that level. */
  #covered({ x, y, width, height }: Region, level: Size): Region {
    const left = Math.floor(cellEdge(x, this.width, level.width));
    const top = Math.floor(cellEdge(y, this.height, level.height));
    const right = Math.ceil(cellEdge(x + width, this.width, level.width));
    const bottom = Math.ceil(cellEdge(y + height, this.height, level.height));
    return { x: left, y: top, width: right - left, height: bottom - top };
  }

  /** The pixels of a region inside the image. */
  async #make(
    region: Region,
    signal: AbortSignal | undefined,
  ): Promise<Pixels> {
    const level = this.inner.levels[this.#finer]!;
    let read: Pixels | undefined;
    const made = await averaged(region, this, level, async (covered) => {
      return read = await super.read(covered, this.#finer, signal);
    });
    if (read) super.release(read);
    return made;
  }
}
