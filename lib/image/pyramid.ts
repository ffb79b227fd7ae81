/**
 * The one interface through which the network sees an image: levels of
 * decreasing size, read region by region.
 *
 * @module
 */
import type { Region, Size } from "./geometry.ts";

/** A decoded region: RGBA, 8 bits a channel, row-major `[height, width, 4]`. */
export interface Pixels extends Size {
  /** Starts at a multiple of 4 in its buffer: a pixel can be read as one number. */
  data: Uint8Array<ArrayBuffer>;
}

/** One resolution of an image. */
export interface Level extends Size {
  /** Level-0 px per px of this level, >= 1. */
  downsample: number;
}

/** An open image. Level 0 is full resolution. */
export interface Pyramid extends Size {
  /** The file or URL, as messages name it. */
  readonly source: string;
  readonly levels: readonly Level[];
  /** Micrometres per level-0 px, where the file says so. */
  readonly mpp?: number;
  /** What was converted on the way in (grey, palette, alpha, 16 bit...). */
  readonly warnings: readonly string[];
  /** Bytes read from the file or the network so far. */
  readonly bytesRead: number;
  /**
   * Pixels of `region`, px of `level`. What lies outside the image is zero.
   * The pixels belong to the reader: do not write to them.
   *
   * @throws {ImageError} If the data cannot be read or decoded.
   */
  read(region: Region, level: number, signal?: AbortSignal): Promise<Pixels>;
  /** Frees what the image holds. */
  close(): void;
}
