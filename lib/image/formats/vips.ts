/**
 * PNG, JPEG, WebP and TIFF, decoded by libvips (through sharp) to upright
 * 8-bit RGBA in sRGB.
 *
 * Colour profiles of RGB and grey files are not applied: slide readers do not
 * apply them either, and a tile must look the same with every reader.
 *
 * @module
 */
import type { Metadata } from "sharp";
import { ImageError } from "../../errors.ts";
import { libvips } from "./libvips.ts";
import { isPng, pngFault } from "./png_chunks.ts";
import type { Pixels } from "../pyramid.ts";
import {
  type Codec,
  type DecodedImage,
  type DecodeOptions,
  refuseTooLarge,
} from "../pyramids/raster.ts";

// A truncated file is an error, not grey pixels; an odd tag is neither.
export const FAIL_ON = "error";

/** PNG, JPEG, WebP and TIFF by libvips. */
export const VIPS: Codec = { sizeOf: readHeader, decode: decodeWithVips };

/**
 * Decodes the first page of `bytes`. libvips cannot be interrupted, so the
 * signal is checked between the steps.
 *
 * @throws {ImageError} With the reason only: the caller knows the file.
 */
export async function decodeWithVips(
  bytes: Uint8Array,
  { maxPixels, signal }: DecodeOptions,
): Promise<DecodedImage> {
  const header = await readHeader(bytes);
  refuseTooLarge(header, maxPixels);
  signal?.throwIfAborted();
  const pixels = await readPixels(bytes, header, maxPixels);
  signal?.throwIfAborted();
  return { pixels, warnings: conversions(header) };
}

/**
 * Metadata of the first page of a file, given as bytes or path.
 *
 * @throws {ImageError} With the reason only; also for channels and samples
 *   without a meaning as colours.
 */
export async function readHeader(file: Uint8Array | string): Promise<Metadata> {
  const sharp = await libvips();
  try {
    // No limit here, so that refuseTooLarge() can name the size.
    const header = await sharp(file, {
      failOn: FAIL_ON,
      limitInputPixels: false,
    }).metadata();
    refuseUnsupported(header);
    return header;
  } catch (cause) {
    throw cause instanceof ImageError
      ? cause
      : await decodingError(cause, file);
  }
}

async function readPixels(
  bytes: Uint8Array,
  { space }: Metadata,
  maxPixels: number,
): Promise<Pixels> {
  const sharp = await libvips();
  try {
    const { data, info } = await sharp(bytes, {
      autoOrient: true,
      failOn: FAIL_ON,
      ignoreIcc: space !== "cmyk",
      limitInputPixels: maxPixels,
    }).toColourspace("srgb").ensureAlpha().raw({ depth: "uchar" })
      .toBuffer({ resolveWithObject: true });
    return { data: aligned(data), width: info.width, height: info.height };
  } catch (cause) {
    throw await decodingError(cause, bytes);
  }
}

/** Colour spaces and their maximum channels, alpha included. */
const MAX_CHANNELS: Record<string, number> = {
  "b-w": 2,
  grey16: 2,
  srgb: 4,
  rgb16: 4,
  cmyk: 5,
  lab: 4,
  labs: 4,
};
const SAMPLES = new Set(["uchar", "ushort"]);

function refuseUnsupported({ depth, space, channels }: Metadata): void {
  // More channels would be read whole into memory, to no use.
  if (channels > (MAX_CHANNELS[space] ?? 0)) {
    throw new ImageError(
      `its ${channels} channels (${space}) are not grey, RGB, CMYK or Lab`,
    );
  }
  // libvips converts Lab samples itself, whatever type the file has.
  if (!SAMPLES.has(depth) && !isLab(space)) {
    throw new ImageError(`its samples are ${depth}, not 8 or 16-bit integers`);
  }
}

function isLab(space: string): boolean {
  return space === "lab" || space === "labs";
}

/** Changes made by decoding, as `Pyramid.warnings`. */
export function conversions(header: Metadata): string[] {
  const { space, depth, orientation = 1, pages = 1 } = header;
  const warnings: string[] = [];
  if (header.isPalette) warnings.push("palette expanded to RGB");
  else if (space === "b-w" || space === "grey16") {
    warnings.push("grey expanded to RGB");
  }
  if (space === "cmyk") warnings.push("CMYK converted to sRGB");
  else if (isLab(space)) warnings.push("Lab converted to sRGB");
  else if (header.hasProfile) warnings.push("colour profile not applied");
  if (depth === "ushort") warnings.push("16-bit samples scaled to 8");
  if (orientation > 1 && orientation <= 8) {
    warnings.push(`EXIF orientation ${orientation} applied`);
  }
  if (pages > 1) warnings.push(`first of ${pages} pages read`);
  return warnings;
}

/** The bytes, aligned so that an Int32Array can view them. */
function aligned({ buffer, byteOffset, byteLength }: Uint8Array<ArrayBuffer>) {
  const bytes = new Uint8Array(buffer, byteOffset, byteLength);
  return byteOffset % 4 === 0 ? bytes : bytes.slice();
}

/**
 * Error of a file that libvips did not decode, given as bytes or path: the
 * first error line of libvips.
 */
export async function decodingError(
  cause: unknown,
  file: Uint8Array | string,
): Promise<ImageError> {
  const line = (cause as Error).message
    .replace(/Input (buffer|file) has corrupt header:/, "")
    .split("\n").map((line) => line.trim())
    .find((line) => line !== "" && !isWarning(line));
  if (line !== undefined && UNSUPPORTED.test(line)) {
    return new ImageError(`this variant is not supported (${line})`, { cause });
  }
  const fault = await faultOfPng(file);
  if (fault !== undefined) return new ImageError(fault, { cause });
  const isTold = line !== undefined && !SILENT.includes(line);
  return new ImageError(
    isTold
      ? `it is damaged or truncated (${line})`
      : "its image data is damaged or truncated",
    { cause },
  );
}

const UNSUPPORTED = /not configured|built without|Unsupported JPEG process/;

// Messages without information.
const SILENT = ["Unknown error", "vipspng: libpng read error"];

// Maximum size of a file that is read again to find its fault.
const MAX_BYTES = 2 ** 28;

async function faultOfPng(
  file: Uint8Array | string,
): Promise<string | undefined> {
  if (typeof file === "string") {
    const { size } = await Deno.stat(file);
    return size > MAX_BYTES
      ? undefined
      : await faultOfPng(await Deno.readFile(file));
  }
  return isPng(file) ? pngFault(file) : undefined;
}

/** libvips lists warnings among the errors. */
function isWarning(line: string): boolean {
  return /Warning:|TIFF_SETGET_UNDEFINED|Unknown pseudo-tag/.test(line);
}
