/**
 * The one interface through which the network sees an image: levels of
 * decreasing size, read region by region.
 *
 * @module
 */
import type { Region, Size } from "./geometry.ts";
import type { Traffic } from "./bytes/source.ts";

/**
 * The longer side of an image, px: ten times that of the largest slides. What a
 * file or a table says of its pixels may be wrong by any power of ten, and what
 * is looked at by blocks has a list of them.
 */
export const MAX_SIDE = 2 ** 21;

/** A decoded region: RGBA, 8 bits a channel, row-major `[height, width, 4]`. */
export interface Pixels extends Size {
  /** Starts at a multiple of 4 in its buffer: a pixel can be read as one number. */
  data: Uint8Array<ArrayBuffer>;
}

/** The colour that transparent pixels are laid over. */
export type Backdrop = "white" | "black";

/** One resolution of an image. */
export interface Level extends Size {
  /** Level-0 px per px of this level, >= 1; may be a fraction. */
  downsample: number;
}

/** Where on the Earth an image lies. */
export interface Georeference {
  /** The coordinate system, such as "EPSG:32633", where it has a number. */
  crs?: string | undefined;
  /**
   * World coordinates of the level-0 point (x, y): (a x + b y + c,
   * d x + e y + f), as [a, b, c, d, e, f].
   */
  transform: readonly [number, number, number, number, number, number];
}

/**
 * An entry of a GeoTIFF as its file has it: its numbers, or the bytes of its
 * text. It holds for level 0 as stored.
 */
export interface GeoTag {
  tag: number;
  values: readonly number[];
}

/** An open image. Level 0 is full resolution. */
export interface Pyramid extends Size {
  /** The file or URL, as messages name it. */
  readonly source: string;
  /** From the largest to the smallest. */
  readonly levels: readonly Level[];
  /** Micrometres per level-0 px, where the file says so. */
  readonly mpp?: number | undefined;
  /** Size of the image in its file, where this one is resampled. */
  readonly stored?: Size | undefined;
  /** Power of the objective that level 0 was seen through, where the file says so. */
  readonly magnification?: number | undefined;
  readonly georeference?: Georeference | undefined;
  /** What the file says of its place, for another file of the same pixels. */
  readonly geoTags?: readonly GeoTag[] | undefined;
  /** The part of a slide that was scanned, level-0 px, where the file says so. */
  readonly bounds?: Region | undefined;
  /** What was converted on the way in (grey, palette, alpha, 16 bit...). */
  readonly warnings: readonly string[];
  /** What was read from the file or the network so far. */
  readonly traffic: Readonly<Traffic>;
  /**
   * Pixels of `region`, px of `level`. What lies outside the image is zero.
   * The pixels belong to the reader: do not write to them.
   *
   * @throws {ImageError} If the data cannot be read or decoded.
   */
  read(region: Region, level: number, signal?: AbortSignal): Promise<Pixels>;
  /** Takes back pixels that were read, and frees them if no one else has them. */
  release?(pixels: Pixels): void;
  /**
   * Says which regions of a level are read next: what a remote file needs for
   * them then comes together, not one by one.
   */
  prefetch?(
    regions: readonly Region[],
    level: number,
    signal?: AbortSignal,
  ): void;
  /** Frees what the image holds. */
  close(): void;
}

/** What a file may say of an image beside its pixels. */
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

/** A pyramid seen through another: what a subclass does not change is its own. */
export abstract class WrappedPyramid implements Pyramid {
  protected readonly inner: Pyramid;

  constructor(inner: Pyramid) {
    this.inner = inner;
  }

  get source(): string {
    return this.inner.source;
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
 * A pyramid whose pixels are those of another, elsewhere. Its corners are
 * elsewhere too, and nobody asks where.
 */
export abstract class MovedPyramid extends WrappedPyramid {
  /** Where the other one has a region of a level that is there. */
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
