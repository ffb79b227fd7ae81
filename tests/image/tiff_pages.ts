/**
 * Pages of a TIFF as read by libvips, to compare ours with.
 *
 * @module
 */
import sharp, { type Metadata } from "sharp";
import type { Region } from "../../lib/image/geometry.ts";
import type { Rgb } from "../../lib/image/pyramids/rgb.ts";

/** Metadata of page `page` according to libvips. */
export async function pageMetadata(
  path: string,
  page: number,
): Promise<Metadata> {
  return await sharp(path, { page, limitInputPixels: false }).metadata();
}

/** The pixels of page `page`, or of a region of it. */
export async function readPage(
  path: string,
  page: number,
  region?: Region,
): Promise<Rgb> {
  let image = sharp(path, { page, limitInputPixels: false });
  if (region) {
    const { x, y, ...size } = region;
    image = image.extract({ left: x, top: y, ...size });
  }
  const { data, info } = await image.raw().toBuffer({
    resolveWithObject: true,
  });
  return { data: new Uint8Array(data), width: info.width, height: info.height };
}
