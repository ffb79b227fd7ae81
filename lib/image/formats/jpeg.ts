/**
 * Pixels as a JPEG file.
 *
 * @module
 */
import type { Rgb } from "../pyramids/rgb.ts";
import { libvips } from "./libvips.ts";

// No artefact shows beside the pixels themselves, at a tenth of their bytes.
const QUALITY = 85;

/** Encodes `pixels`, with loss. */
export async function encodeJpeg(
  { data, width, height }: Rgb,
): Promise<Uint8Array> {
  const sharp = await libvips("write a JPEG");
  return await sharp(data, { raw: { width, height, channels: 3 } })
    .jpeg({ quality: QUALITY }).toBuffer();
}
