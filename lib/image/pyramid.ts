/**
 * The one interface through which the network sees an image: levels of
 * decreasing size, read region by region.
 *
 * @module
 */
import type { Region, Size } from "./geometry.ts";
import type { Traffic } from "./bytes/source.ts";

/**
 * The longer side of an image, px: ten times that of the largest slides. A size
 * in a file or a table may be wrong by any power of ten, and reading in blocks
 * keeps a list of blocks.
 */
export const MAX_SIDE = 2 ** 21;

/** A decoded region: RGBA, 8 bits a channel, row-major `[height, width, 4]`. */
export interface Pixels extends Size {
  /** Starts at a multiple of 4 in its buffer: a pixel can be read as one number. */
  data: Uint8Array<ArrayBuffer>;
}

/** The colour under transparent pixels. */
export type Backdrop = "white" | "black";

/** One resolution of an image. */
export interface Level extends Size {
  /** Level-0 px per px of this level, >= 1; may be a fraction. */
  downsample: number;
}

/** Georeference of an image. */
export interface Georeference {
  /** The coordinate system, such as "EPSG:32633", if it has a number. */
  crs?: string | undefined;
  /**
   * World coordinates of the level-0 point (x, y): (a x + b y + c,
   * d x + e y + f), as [a, b, c, d, e, f].
   */
  transform: readonly [number, number, number, number, number, number];
}

/**
 * An entry of a GeoTIFF as stored: its numbers, or the bytes of its text. It
 * refers to level 0 as stored.
 */
export interface GeoTag {
  /** Number of the entry. */
  tag: number;
  /** Its numbers, or the bytes of its text. */
  values: readonly number[];
}

/** An open image. Level 0 is full resolution. */
export interface Pyramid extends Size {
  /** The file or URL, for messages. */
  readonly source: string;
  /** Tells the file and its version (`ByteSource.identity`), if it has one. */
  readonly identity?: string | undefined;
  /** Levels from the largest to the smallest. */
  readonly levels: readonly Level[];
  /** Number of blocks that each level is stored in, if it is in blocks. */
  readonly blockCounts?: readonly number[] | undefined;
  /** Micrometres per level-0 px, if known. */
  readonly mpp?: number | undefined;
  /** Size of the image in its file, if this one is resampled. */
  readonly stored?: Size | undefined;
  /** Magnification of the objective at level 0, if known. */
  readonly magnification?: number | undefined;
  /** Georeference of level 0, if known. */
  readonly georeference?: Georeference | undefined;
  /** GeoTIFF entries, to be copied to another file of the same pixels. */
  readonly geoTags?: readonly GeoTag[] | undefined;
  /** The scanned part of a slide, level-0 px, if known. */
  readonly bounds?: Region | undefined;
  /** Conversions made on reading (grey, palette, alpha, 16 bit...). */
  readonly warnings: readonly string[];
  /** Bytes and requests read from the file or the network so far. */
  readonly traffic: Readonly<Traffic>;
  /**
   * Pixels of `region`, px of `level`; zero outside the image. The pixels
   * belong to the reader: do not write to them.
   *
   * @throws {ImageError} If the data cannot be read or decoded.
   */
  read(region: Region, level: number, signal?: AbortSignal): Promise<Pixels>;
  /** Returns pixels to the reader, which frees them if nobody else holds them. */
  release?(pixels: Pixels): void;
  /**
   * Announces the regions of a level that are read next, so that a remote file
   * coalesces their requests.
   */
  prefetch?(
    regions: readonly Region[],
    level: number,
    signal?: AbortSignal,
  ): void;
  /** Frees the file and memory of the image. */
  close(): void;
}

/** Facts that a file may state about an image, beside its pixels. */
export type ImageFacts = Pick<
  Pyramid,
  "mpp" | "magnification" | "georeference" | "geoTags" | "bounds"
>;

/**
 * The level at `index`.
 *
 * @throws {RangeError} If there is none.
 */
export function levelOf<Stored>(
  levels: readonly Stored[],
  index: number,
  source: string,
): Stored {
  const level = levels[index];
  if (level !== undefined) return level;
  throw new RangeError(
    `Cannot read level ${index} of ${source}: it has ${levels.length}`,
  );
}

/**
 * A pyramid that forwards to `inner` everything that a subclass does not
 * override.
 */
export abstract class WrappedPyramid implements Pyramid {
  protected readonly inner: Pyramid;

  constructor(inner: Pyramid) {
    this.inner = inner;
  }

  get source(): string {
    return this.inner.source;
  }

  get identity(): string | undefined {
    return this.inner.identity;
  }

  get width(): number {
    return this.inner.width;
  }

  get height(): number {
    return this.inner.height;
  }

  get levels(): readonly Level[] {
    return this.inner.levels;
  }

  get blockCounts(): readonly number[] | undefined {
    return this.inner.blockCounts;
  }

  get mpp(): number | undefined {
    return this.inner.mpp;
  }

  get magnification(): number | undefined {
    return this.inner.magnification;
  }

  get stored(): Size | undefined {
    return this.inner.stored;
  }

  get georeference(): Georeference | undefined {
    return this.inner.georeference;
  }

  get geoTags(): readonly GeoTag[] | undefined {
    return this.inner.geoTags;
  }

  get bounds(): Region | undefined {
    return this.inner.bounds;
  }

  get warnings(): readonly string[] {
    return this.inner.warnings;
  }

  get traffic(): Readonly<Traffic> {
    return this.inner.traffic;
  }

  read(region: Region, level: number, signal?: AbortSignal): Promise<Pixels> {
    return this.inner.read(region, level, signal);
  }

  prefetch(
    regions: readonly Region[],
    level: number,
    signal?: AbortSignal,
  ): void {
    this.inner.prefetch?.(regions, level, signal);
  }

  release(pixels: Pixels): void {
    this.inner.release?.(pixels);
  }

  close(): void {
    this.inner.close();
  }
}

/**
 * A pyramid whose pixels are those of another, moved. It has no georeference or
 * bounds: its corners are moved too.
 */
export abstract class MovedPyramid extends WrappedPyramid {
  /** Region of the inner pyramid's level that holds `region`. */
  protected abstract placeOf(
    region: Region,
    level: number,
  ): { region: Region; level: number };

  override get georeference(): undefined {
    return undefined;
  }

  override get geoTags(): undefined {
    return undefined;
  }

  override get bounds(): undefined {
    return undefined;
  }

  override async read(
    region: Region,
    level: number,
    signal?: AbortSignal,
  ): Promise<Pixels> {
    levelOf(this.levels, level, this.source);
    const place = this.placeOf(region, level);
    return await super.read(place.region, place.level, signal);
  }

  override prefetch(
    regions: readonly Region[],
    level: number,
    signal?: AbortSignal,
  ): void {
    if (this.levels[level] === undefined) return;
    const places = regions.map((region) => this.placeOf(region, level));
    const [first] = places;
    if (first === undefined) return;
    super.prefetch(places.map(({ region }) => region), first.level, signal);
  }
}
