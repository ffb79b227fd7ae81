/**
 * Pixels as a PNG file.
 *
 * @module
 */
import sharp from "sharp";
import type { Pixels } from "./pyramid.ts";
import type { Rgb } from "./rgb.ts";

/** Encodes `pixels` without loss, transparency included. */
export async function encodePng(
  { data, width, height }: Pixels | Rgb,
): Promise<Uint8Array> {
  const channels = data.length === width * height * 3 ? 3 : 4;
  return await sharp(data, { raw: { width, height, channels } })
    .png().toBuffer();
}
