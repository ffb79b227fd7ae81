/**
 * An image held in memory: the result of the readers of PNG, JPEG, WebP, TIFF
 * and BMP.
 *
 * @module
 */
import { ImageError } from "../../errors.ts";
import type { Region, Size } from "../geometry.ts";
import { copyPart } from "./pixels.ts";
import {
  type Backdrop,
  type Georeference,
  type GeoTag,
  type ImageFacts,
  type Level,
  levelOf,
  MAX_SIDE,
  type Pixels,
  type Pyramid,
} from "../pyramid.ts";
import type { Traffic } from "../bytes/source.ts";

/** Result of a decoder, upright and in RGBA. */
export interface DecodedImage {
  pixels: Pixels;
  warnings: string[];
}

/** Bounds of a decoder. */
export interface DecodeOptions {
  maxPixels: number;
  signal?: AbortSignal | undefined;
}

/** A decoder, and what reads its files' size before they are decoded. */
export interface Codec {
  /** Size in the header of a file. @throws {ImageError} */
  sizeOf(bytes: Uint8Array): Promise<Size> | Size;
  /** Decodes the bytes of a file. @throws {ImageError} */
  decode(
    bytes: Uint8Array,
    options: DecodeOptions,
  ): Promise<DecodedImage> | DecodedImage;
}

/**
 * Refuses an image by the size in its header, before memory is allocated.
 *
 * @throws {ImageError} With the reason only: the caller knows the file.
 */
export function refuseTooLarge(
  { width, height }: Size,
  maxPixels: number,
): void {
  refuseImmense({ width, height });
  if (width * height > maxPixels) {
    throw new ImageError(
      `it has ${width} x ${height} = ${
        width * height
      } px, more than the ${maxPixels} px allowed`,
    );
  }
}

/**
 * Refuses an image by its sides: whatever its area, a row of it may take
 * gigabytes to decode.
 *
 * @throws {ImageError} With the reason only.
 */
export function refuseImmense({ width, height }: Size): void {
  if (Math.max(width, height) <= MAX_SIDE) return;
  throw new ImageError(
    `its header says ${width} x ${height} px; a side may have at most ${MAX_SIDE} px`,
  );
}

/** Options of {@linkcode RasterPyramid}, beside its pixels. */
interface RasterOptions {
  identity?: string;
  traffic?: Traffic;
  facts?: ImageFacts | undefined;
  backdrop?: Backdrop | undefined;
  /** What the pixels take of a bound; given back when it is closed. */
  room?: Disposable | undefined;
}

/** A decoded image as a pyramid of one level. */
export class RasterPyramid implements Pyramid {
  readonly source: string;
  readonly identity: string | undefined;
  readonly width: number;
  readonly height: number;
  readonly levels: readonly Level[];
  readonly mpp: number | undefined;
  readonly magnification: number | undefined;
  readonly georeference: Georeference | undefined;
  readonly geoTags: readonly GeoTag[] | undefined;
  readonly warnings: readonly string[];
  readonly traffic: Readonly<Traffic>;
  readonly #room: Disposable | undefined;
  #pixels: Pixels | undefined;

  /**
   * Takes ownership of the pixels, and composites them over `backdrop` if they
   * are not opaque: the networks see three channels, and transparent means
   * "nothing here", which on a slide or a page is white.
   *
   * @param traffic traffic of reading the file.
   */
  constructor(
    source: string,
    { pixels, warnings }: DecodedImage,
    {
      identity,
      traffic = { bytes: 0, requests: 0 },
      facts = {},
      backdrop = "white",
      room,
    }: RasterOptions = {},
  ) {
    const { width, height } = pixels;
    this.source = source;
    this.identity = identity;
    this.width = width;
    this.height = height;
    this.levels = [{ width, height, downsample: 1 }];
    this.warnings = compositeOver(backdrop, pixels.data)
      ? [...warnings, `has alpha: composited over ${backdrop}`]
      : warnings;
    this.traffic = traffic;
    this.mpp = facts.mpp;
    this.magnification = facts.magnification;
    this.georeference = facts.georeference;
    this.geoTags = facts.geoTags;
    this.#pixels = pixels;
    this.#room = room;
  }

  // async, so that a wrong argument is a rejection, as in every other reader.
  // deno-lint-ignore require-await
  async read(
    region: Region,
    level: number,
    signal?: AbortSignal,
  ): Promise<Pixels> {
    signal?.throwIfAborted();
    levelOf(this.levels, level, this.source);
    if (this.#pixels === undefined) {
      throw new TypeError(`Cannot read ${this.source}: it was closed`);
    }
    return crop(this.#pixels, region);
  }

  close(): void {
    this.#pixels = undefined;
    this.#room?.[Symbol.dispose]();
  }
}

/** The pixels of `region`, zero outside; the held pixels if it is all of them. */
function crop(pixels: Pixels, region: Region): Pixels {
  const { x, y, width, height } = region;
  if (
    x === 0 && y === 0 && width === pixels.width && height === pixels.height
  ) return pixels;

  const data = new Uint8Array(width * height * 4);
  copyPart(region, { x: 0, y: 0, ...pixels }, { ...region, data });
  return { data, width, height };
}

/** Makes RGBA pixels opaque in place; returns true if any was not. */
function compositeOver(backdrop: Backdrop, data: Uint8Array): boolean {
  const behind = backdrop === "white" ? 255 : 0;
  let changed = false;
  for (let i = 3; i < data.length; i += 4) {
    const alpha = data[i]!;
    if (alpha === 255) continue;
    changed = true;
    for (let c = i - 3; c < i; c++) {
      data[c] = Math.round((data[c]! * alpha + behind * (255 - alpha)) / 255);
    }
    data[i] = 255;
  }
  return changed;
}
