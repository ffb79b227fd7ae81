/**
 * JPEG in JavaScript, by jpeg-js (the decoder of image-js), for machines where
 * libvips does not load. Its inverse transform is not libjpeg's, and it does
 * not smooth subsampled chroma: pixels differ by up to 18 of 255 levels, at
 * hard colour edges by more (57 were seen).
 *
 * @module
 */
import { ImageError } from "../../errors.ts";
import { isComplete, type JpegHead, jpegHead } from "./jpeg_head.ts";
import { orientPixels } from "../pyramids/oriented.ts";
import type { Pixels } from "../pyramid.ts";
import {
  type Codec,
  type DecodedImage,
  type DecodeOptions,
  refuseTooLarge,
} from "../pyramids/raster.ts";

/** Warning of every JPEG decoded here. */
export const JPEG_WARNING =
  "JPEG decoded in JavaScript, because sharp does not load: pixels may differ by up to 18 levels of 255, at hard colour edges by more";

/** JPEG in JavaScript. */
export const JPEG: Codec = { sizeOf: jpegHead, decode: decodeJpeg };

/**
 * Decodes a JPEG file, upright.
 *
 * @throws {ImageError} With the reason only.
 */
export async function decodeJpeg(
  bytes: Uint8Array,
  { maxPixels }: DecodeOptions,
): Promise<DecodedImage> {
  const head = jpegHead(bytes);
  refuseTooLarge(head, maxPixels);
  const { orientation, channels, hasProfile } = head;
  const stored = await decode(bytes, head);
  return {
    pixels: orientation === 1 ? stored : orientPixels(stored, orientation),
    warnings: [
      JPEG_WARNING,
      ...channels === 1 ? ["grey expanded to RGB"] : [],
      ...hasProfile ? ["colour profile not applied"] : [],
      ...orientation > 1 ? [`EXIF orientation ${orientation} applied`] : [],
    ],
  };
}

/**
 * RGBA of a JPEG as stored.
 *
 * @throws {ImageError} With the reason only.
 */
export async function jpegPixels(bytes: Uint8Array): Promise<Pixels> {
  return await decode(bytes, jpegHead(bytes));
}

async function decode(
  bytes: Uint8Array,
  { channels, isRgb }: JpegHead,
): Promise<Pixels> {
  if (channels !== 1 && channels !== 3) {
    throw new ImageError(
      `it is JPEG of ${channels} channels, which only sharp decodes: run with --allow-ffi`,
    );
  }
  if (!isComplete(bytes)) {
    throw new ImageError("it is damaged or truncated (it ends too early)");
  }
  const { default: jpeg } = await import("jpeg-js");
  try {
    const { data, width, height } = jpeg.decode(bytes, {
      colorTransform: !isRgb,
      useTArray: true,
      tolerantDecoding: false,
      maxResolutionInMP: Infinity, // the size is checked earlier
      maxMemoryUsageInMB: Infinity,
    });
    return { data: new Uint8Array(data), width, height };
  } catch (cause) {
    const [line] = (cause as Error).message.split("\n", 1);
    throw new ImageError(`it is damaged or truncated (${line})`, { cause });
  }
}
