/**
 * Compressions of TIFF: those that we decode, and those left to libvips.
 *
 * @module
 */
import { ImageError } from "../../errors.ts";
import { ForVipsError } from "./decode/colours.ts";
import type { TiffDirectory } from "./parser.ts";
import { TAG } from "./tags.ts";

/** Compression of blocks. */
export type Compression =
  | "none"
  | "lzw"
  | "jpeg"
  | "deflate"
  | "packbits"
  | "jpeg2000-ycbcr"
  | "jpeg2000"
  | "zstd"
  | "webp";

const COMPRESSIONS: Record<number, Compression> = {
  1: "none",
  5: "lzw",
  7: "jpeg",
  8: "deflate",
  32773: "packbits",
  32946: "deflate",
  33003: "jpeg2000-ycbcr",
  33004: "jpeg2000",
  33005: "jpeg2000",
  34712: "jpeg2000",
  50000: "zstd",
  50001: "webp",
};

/** Those that a predictor precedes; with others its tag means nothing. */
export const PREDICTED: readonly Compression[] = ["lzw", "deflate", "zstd"];

// Compressions that libvips decodes reliably; for others it has returned black.
const VIPS_COMPRESSIONS = [1, 2, 3, 4, 5, 7, 8, 32773, 32946];

// Names of other compressions, for messages.
const CCITT: Record<number, string> = {
  2: "CCITT",
  3: "CCITT fax 3",
  4: "CCITT fax 4",
};
const OTHERS: Record<number, string> = {
  6: "old-style JPEG",
  34676: "SGI LogLuv",
  34677: "SGI LogLuv",
  34887: "LERC",
  34925: "LZMA",
  50002: "JPEG XL",
  52546: "JPEG XL",
};

/**
 * Reads the compression of a page.
 *
 * @throws {ImageError} With the reason only, if our decoder lacks it; a
 *   {@linkcode ForVipsError} if libvips has it.
 */
export async function readCompression(
  directory: TiffDirectory,
): Promise<Compression> {
  const number = await directory.number(TAG.compression, 1);
  const compression = COMPRESSIONS[number];
  if (compression !== undefined) return compression;
  const name = CCITT[number] ?? OTHERS[number] ?? `number ${number}`;
  if (number in CCITT) throw new ForVipsError(name);
  throw new ImageError(`compression ${name} is not supported`);
}

/**
 * Refuses a page that our block decoder lacks, and libvips does not decode
 * reliably.
 *
 * @throws {ImageError} With the reason only.
 */
export async function refuseUnlessForVips(
  directory: TiffDirectory,
  lacking: ForVipsError,
): Promise<void> {
  const number = await directory.number(TAG.compression, 1);
  if (!VIPS_COMPRESSIONS.includes(number)) {
    const name = COMPRESSIONS[number] ?? OTHERS[number] ?? `number ${number}`;
    throw new ImageError(
      `${lacking.kind} with compression ${name} is not supported`,
    );
  }
  const isPlanar = await directory.number(TAG.planarConfiguration, 1) === 2;
  if (isPlanar && directory.has(TAG.tileWidth)) {
    throw new ImageError(
      `${lacking.kind} in tiles with separate planes is not supported`,
    );
  }
}
