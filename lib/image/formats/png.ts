/**
 * Pixels as a PNG file.
 *
 * @module
 */
import { libvips } from "./libvips.ts";
import type { Pixels } from "../pyramid.ts";
import type { Rgb } from "../pyramids/rgb.ts";

/** Encodes `pixels` without loss, transparency included. */
export async function encodePng(
  { data, width, height }: Pixels | Rgb,
): Promise<Uint8Array> {
  const channels = data.length === width * height * 3 ? 3 : 4;
  const sharp = await libvips("write a PNG");
  return await sharp(data, { raw: { width, height, channels } })
    .png().toBuffer();
}
