/**
 * Pixels as a PNG file.
 *
 * @module
 */
import sharp from "sharp";
import type { Pixels } from "./pyramid.ts";

/** Encodes `pixels` without loss, transparency included. */
export async function encodePng(
  { data, width, height }: Pixels,
): Promise<Uint8Array> {
  return await sharp(data, { raw: { width, height, channels: 4 } })
    .png().toBuffer();
}
