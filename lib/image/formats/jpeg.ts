/**
 * Pixels as a JPEG file.
 *
 * @module
 */
import { libvips } from "./libvips.ts";
import type { Rgb } from "../pyramids/rgb.ts";

const QUALITY = 88; // no loss that is seen at the size of a thumbnail

/** Encodes a picture to be looked at. */
export async function encodeJpeg(
  { data, width, height }: Rgb,
): Promise<Uint8Array> {
  const sharp = await libvips("write a JPEG");
  return await sharp(data, { raw: { width, height, channels: 3 } })
    .jpeg({ quality: QUALITY }).toBuffer();
}
