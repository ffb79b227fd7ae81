/**
 * Messages between the server and the Worker that cuts tiles.
 *
 * @module
 */
import type { Region, Size } from "../../image/geometry.ts";
import type { ImageDocument } from "../documents.ts";

/** Side of a tile of a deep zoom, px; tiles do not overlap. */
export const TILE_SIDE = 256;

/** Formats of tiles. */
export const TILE_FORMATS = ["jpeg", "png"] as const;

export type TileFormat = (typeof TILE_FORMATS)[number];

/** An image to look at. */
export interface SeenImage {
  /** A file, or a URL of an allowed host. */
  path: string;
  /** Name of the image in messages. */
  name: string;
  /** Uploaded by a stranger: no file beside it may be read. */
  alone: boolean;
  /** Changes with the file: its size and time; empty for a URL. */
  version: string;
}

/** A tile of a deep zoom. */
export interface TilePlace {
  level: number;
  column: number;
  row: number;
}

/** A picture to cut. */
export interface CutTask {
  image: SeenImage;
  /** A tile, or a rectangle at full resolution, level-0 px. */
  place: TilePlace | Region;
  format: TileFormat;
  /** ETags that the caller already has. */
  known: readonly string[];
}

/** A cut picture. */
export interface CutPicture {
  etag: string;
  /** Undefined if the caller has it. */
  bytes?: Uint8Array<ArrayBuffer>;
}

/** Facts about an image, for a page that shows it. */
export interface SeenFacts extends ImageDocument {
  /** Levels of the deep zoom. */
  zoomLevels: number;
  /** The first level whose tiles take no more than a moment each. */
  firstLevel: number;
  /** Sizes that the file holds, from the largest on. */
  levels: Size[];
  warnings: readonly string[];
  etag: string;
}

/** Options of the Worker. */
export interface CutterSetup {
  allowedHosts: readonly string[];
  /** Bound on decoded blocks and pictures, bytes. */
  memoryBytes: number;
  /** Most pixels of an image that must be decoded whole. */
  maxPixels: number;
  /** Most blocks of a file that a tile may be made of. */
  maxBlocks: number;
}

/** Functions of the Worker. */
export type CutterMethods = {
  start(setup: CutterSetup): void;
  describe(image: SeenImage): SeenFacts;
  cut(task: CutTask): CutPicture | undefined;
};
