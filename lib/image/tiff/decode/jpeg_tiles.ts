/**
 * Tiles of JPEG, each decoded by itself where libjpeg-turbo can be called
 * without libvips; elsewhere batch_decoder.ts decodes them.
 *
 * @module
 */
import { ImageError } from "../../../errors.ts";
import { findJpegTurbo } from "../../formats/jpeg_turbo.ts";
import type { Pixels } from "../../pyramid.ts";
import type { TiffPage } from "../page.ts";
import { isPlain, isWholeJpeg } from "./batch_decoder.ts";
import { wholeJpeg } from "./pictures.ts";

/** Opaque RGBA of a stored tile. @throws {ImageError} With the reason only. */
export type TileDecoder = (bytes: Uint8Array) => Promise<Pixels>;

/** The decoder of a page's tiles; undefined if they are not decoded so. */
export function jpegTileDecoder(page: TiffPage): TileDecoder | undefined {
  const { tiled, compression, block } = page;
  if (!tiled || compression !== "jpeg" || !isPlain(page)) return undefined;
  const turbo = findJpegTurbo();
  return turbo && (async (bytes) => {
    if (!isWholeJpeg(bytes, block)) {
      throw new ImageError("it is cut off, or not of its size");
    }
    const data = await turbo.decode(wholeJpeg(page, bytes), block);
    return { data, ...block };
  });
}
