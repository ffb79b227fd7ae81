/**
 * Images that are decoded whole, and the options that every reader of a format
 * takes.
 *
 * @module
 */
import { ImageError } from "../errors.ts";
import type { ByteSource } from "./bytes/source.ts";
import type { Fetch } from "./bytes/http_client.ts";
import type { Backdrop, ImageFacts, Pyramid } from "./pyramid.ts";
import { BlockCache } from "./pyramids/block_cache.ts";
import type { DecodingRoom, TakenRoom } from "./decoding_room.ts";
import type { Size } from "./geometry.ts";
import {
  type Codec,
  RasterPyramid,
  refuseTooLarge,
} from "./pyramids/raster.ts";

// Pixels of the largest image that is decoded whole: 1 GiB as RGBA.
export const MAX_WHOLE_PIXELS = 2 ** 28;

/** Options of `openImage`. */
export interface OpenOptions {
  /** Aborts the opening. */
  signal?: AbortSignal;
  /**
   * Images with more pixels are refused before they are decoded, unless they
   * are read in blocks.
   */
  maxPixels?: number;
  /**
   * A PNG or JPEG with more pixels is not held decoded, but converted to a
   * temporary pyramid; 2^26 if omitted.
   */
  heldPixels?: number | undefined;
  /** Cache of decoded blocks; a small one of its own if omitted. */
  cache?: BlockCache;
  /**
   * Colour under transparent pixels; white if omitted. Do not share `cache` if
   * set.
   */
  backdrop?: Backdrop;
  /** Fetches URLs in place of Deno's `fetch`. */
  fetch?: Fetch;
  /**
   * The file is untrusted: no other file that it names, or that lies beside it,
   * is read. Remote files are always opened so.
   */
  alone?: boolean;
  /** Bound that pictures wait for before they are decoded whole. */
  room?: DecodingRoom | undefined;
}

// Decoded RGBA, and as much again while libvips decodes.
const HELD_BYTES = 4, DECODING_BYTES = 8;

// Bytes of decoded blocks if the caller passes no cache: 256 of 256 x 256 px.
const DEFAULT_CACHE_BYTES = 2 ** 26;

/** A cache for an image that is opened without one. */
export function defaultCache(): BlockCache {
  return new BlockCache(DEFAULT_CACHE_BYTES);
}

/** Runs `decode` with room for a picture, which it keeps decoded. */
export async function inRoom<T>(
  { width, height }: Size,
  { room, signal }: Pick<OpenOptions, "room" | "signal">,
  decode: (taken: TakenRoom | undefined) => Promise<T>,
): Promise<T> {
  const pixels = width * height;
  const taken = await room?.take(pixels * DECODING_BYTES, signal);
  try {
    const decoded = await decode(taken);
    taken?.shrink(pixels * HELD_BYTES);
    return decoded;
  } catch (error) {
    taken?.[Symbol.dispose]();
    throw error;
  }
}

/**
 * Reads and decodes all of a file, and closes it.
 *
 * @param said facts and warnings of another reader, beside those of the codec.
 * @throws {ImageError} With the reason only.
 */
export async function decodeWhole(
  source: ByteSource,
  codec: Codec,
  options: OpenOptions,
  said: { facts?: ImageFacts; warnings?: readonly string[] } = {},
): Promise<Pyramid> {
  const { signal } = options;
  const maxPixels = Math.min(
    options.maxPixels ?? MAX_WHOLE_PIXELS,
    MAX_WHOLE_PIXELS,
  );
  refuseHugeFile(source, maxPixels);
  const bytes = await source.read(0, source.size, signal);
  const size = await codec.sizeOf(bytes);
  refuseTooLarge(size, maxPixels);
  return await inRoom(size, options, async (room) => {
    const { pixels, warnings } = await codec.decode(bytes, {
      maxPixels,
      signal,
    });
    source.close();
    const image = {
      pixels,
      warnings: [...source.warnings, ...warnings, ...said.warnings ?? []],
    };
    const { identity, traffic } = source;
    const { backdrop } = options;
    const { facts } = said;
    return new RasterPyramid(source.name, image, {
      identity,
      traffic,
      facts,
      backdrop,
      room,
    });
  });
}

// 16-bit RGBA: no picture of maxPixels needs more, so the file is not one.
const MAX_BYTES_PER_PIXEL = 8;

function refuseHugeFile({ size }: ByteSource, maxPixels: number): void {
  if (size > maxPixels * MAX_BYTES_PER_PIXEL + 2 ** 20) { // 1 MiB of metadata
    throw new ImageError(
      `the file has ${size} bytes, too many for the ${maxPixels} px allowed`,
    );
  }
}
