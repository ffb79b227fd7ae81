/**
 * Opens an image, local or remote: detects the format by its first bytes, never
 * by its name, and passes it to the reader of that format.
 *
 * @module
 */
import { join, parse } from "node:path";
import type { Metadata } from "sharp";
import {
  ImageError,
  ImageFormatError,
  ImageRefusedError,
  retold,
} from "../errors.ts";
import { BlockCache } from "./pyramids/block_cache.ts";
import { decodeBmp } from "./formats/bmp.ts";
import { refuseOtherDicom } from "./formats/dicom.ts";
import { openFile } from "./bytes/file.ts";
import type { Fetch } from "./bytes/http_client.ts";
import { decodeJpeg, JPEG_WARNING } from "./formats/jpeg_decoder.ts";
import { openUrl } from "./bytes/http.ts";
import { findLibvips } from "./formats/libvips.ts";
import { openSlideVersion, openWithOpenSlide } from "./formats/openslide.ts";
import { decodePng } from "./formats/png_decoder.ts";
import {
  type Backdrop,
  type ImageFacts,
  MAX_SIDE,
  type Pyramid,
} from "./pyramid.ts";
import {
  type DecodedImage,
  type DecodeOptions,
  RasterPyramid,
  refuseTooLarge,
} from "./pyramids/raster.ts";
import { type ByteSource, isUrl } from "./bytes/source.ts";
import { openAsPyramid } from "./formats/temporary_pyramid.ts";
import { ForVipsError } from "./tiff/decode/colours.ts";
import { readTiffImage } from "./tiff/levels.ts";
import { readPictureFacts, scannerOf } from "./tiff/metadata.ts";
import { isForVips, type TiffPage } from "./tiff/page.ts";
import { TiffFile } from "./tiff/parser.ts";
import { type TiffImage, tiffPyramid } from "./tiff/pyramid.ts";
import { decodeWithVips, readHeader } from "./formats/vips.ts";

const HEAD_BYTES = 132; // DICOM: 128 bytes of anything, then DICM

// Pixels of the largest image that is decoded whole: 1 GiB as RGBA.
const MAX_WHOLE_PIXELS = 2 ** 28;

// PNG and JPEG files with more pixels are converted to a pyramid first.
const MAX_HELD_PIXELS = 2 ** 26;

// Limit for an image without blocks; converting one takes 12 s per gigapixel.
const DEFAULT_MAX_PIXELS = 2 ** 31;

/** Options of {@linkcode openImage}. */
export interface OpenOptions {
  /** Aborts the opening. */
  signal?: AbortSignal;
  /**
   * Images with more pixels are refused before they are decoded, unless they
   * are read in blocks.
   */
  maxPixels?: number;
  /** Cache of decoded blocks; a small one of its own if omitted. */
  cache?: BlockCache;
  /**
   * Colour under transparent pixels; white if omitted. Do not share `cache` if
   * set.
   */
  backdrop?: Backdrop;
  /** Fetches URLs in place of Deno's `fetch`. */
  fetch?: Fetch;
  /**
   * The file is untrusted: no other file that it names, or that lies beside it,
   * is read. Remote files are always opened so.
   */
  alone?: boolean;
}

type Decoder = (
  bytes: Uint8Array,
  options: DecodeOptions,
) => Promise<DecodedImage> | DecodedImage;

/** A format: the signatures of its files, and their reader. */
interface Reader {
  format: string;
  /** First bytes of its files; "?" is any byte. */
  signatures: readonly string[];
  /** A slide consists of several files, which name each other. */
  several?: boolean;
  /** Refuses files with this signature that are not images. */
  check?(source: ByteSource, signal?: AbortSignal): Promise<void>;
  /** Takes ownership of the source: closes it, now or with the pyramid. */
  open(source: ByteSource, options: OpenOptions): Promise<Pyramid>;
}

const readers: readonly Reader[] = [
  flatReader("PNG", "\x89PNG\r\n\x1a\n", decodePng),
  flatReader("JPEG", "\xff\xd8\xff", decodeJpeg),
  rasterReader("WebP", ["RIFF????WEBP"], decodeWithVips),
  {
    format: "TIFF",
    signatures: ["II*\0", "MM\0*", "II+\0", "MM\0+"], // "+" marks BigTIFF
    open: openTiff,
  },
  rasterReader("BMP", ["BM"], decodeBmp),
  {
    ...slideReader("DICOM", [`${"?".repeat(128)}DICM`], 4),
    several: true,
    check: refuseOtherDicom,
  },
  {
    ...slideReader("Hamamatsu VMS", [
      "[Virtual Microscope Specimen]",
      "[Uncompressed Virtual Microscope Specimen]",
    ]),
    several: true,
  },
  slideReader("Zeiss CZI", ["ZISRAWFILE"], 4),
  slideReader("Sakura (SQLite)", ["SQLite format 3\0"]),
];

// Bytes of decoded blocks if the caller passes no cache: 256 of 256 x 256 px.
const DEFAULT_CACHE_BYTES = 2 ** 26;

function defaultCache(): BlockCache {
  return new BlockCache(DEFAULT_CACHE_BYTES);
}

/**
 * Opens the image at `path`, or at a URL (http, https, s3). Close it after use.
 *
 * @example Read the upper left 512 x 512 px at full resolution
 * ```ts
 * const image = await openImage("scan.tif");
 * console.log(image.width, image.height, image.mpp);
 * const region = { x: 0, y: 0, width: 512, height: 512 };
 * const { data } = await image.read(region, 0); // RGBA, row by row
 * image.close();
 * ```
 *
 * @throws {ImageError} If it is missing, of no known format, damaged,
 *   truncated or too large; the message names the file and the reason.
 */
export async function openImage(
  path: string,
  options: OpenOptions = {},
): Promise<Pyramid> {
  options.signal?.throwIfAborted();
  const alone = options.alone || isUrl(path);
  const source = await named(
    path,
    "an image",
    isUrl(path) ? openUrl(path, options) : openFile(path),
  );
  try {
    const head = await named(
      path,
      "an image",
      source.read(0, HEAD_BYTES, options.signal),
    );
    const reader = !alone && await isMirax(source.path ?? path)
      ? slideReader("MIRAX", [])
      : readers.find(({ signatures }) =>
        signatures.some((signature) => startsWith(head, signature))
      );
    if (reader === undefined) {
      throw new ImageFormatError(unknownFormat(path, head));
    }
    await named(
      path,
      reader.format,
      Promise.resolve(reader.check?.(source, options.signal)),
    );
    if (alone && reader.several) {
      throw new ImageError(
        `Cannot open ${path} as ${reader.format}: this format spans several files; name it by a local path, it cannot be uploaded or fetched`,
      );
    }
    const opening = reader.open(source, options).then(refuseImmense);
    return await named(path, reader.format, opening);
  } catch (error) {
    source.close();
    throw error;
  }
}

function refuseImmense(pyramid: Pyramid): Pyramid {
  const { width, height } = pyramid;
  if (Math.max(width, height) <= MAX_SIDE) return pyramid;
  pyramid.close();
  throw new ImageError(
    `its header says ${width} x ${height} px; a side may have at most ${MAX_SIDE} px`,
  );
}

/**
 * The file is the thumbnail of a MIRAX slide, whose data is in a folder of the
 * same name.
 */
async function isMirax(path: string): Promise<boolean> {
  const { dir, name } = parse(path);
  const info = await Deno.stat(join(dir, name, "Slidedat.ini"))
    .catch(() => undefined);
  return info?.isFile ?? false;
}

/** Awaits `opening` and adds the name of the file to its errors. */
async function named<T>(
  path: string,
  what: string,
  opening: Promise<T>,
): Promise<T> {
  try {
    return await opening;
  } catch (cause) {
    if (!(cause instanceof ImageError)) throw cause;
    if (cause instanceof ImageRefusedError) throw cause;
    throw retold(cause, `Cannot open ${path} as ${what}: ${cause.message}`);
  }
}

function unknownFormat(path: string, head: Uint8Array): string {
  const bytes = [...head.subarray(0, 8)]
    .map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
  const formats = readers.map((reader) => reader.format).join(", ");
  return `Cannot open ${path} as an image: it starts with the bytes ${bytes}, the signature of none of ${formats}`;
}

/** The bytes match `signature`; "?" matches any byte. */
function startsWith(head: Uint8Array, signature: string): boolean {
  return [...signature].every((character, i) =>
    character === "?" || head[i] === character.charCodeAt(0)
  );
}

/** A reader of a format whose files are decoded whole. */
function rasterReader(
  format: string,
  signatures: string[],
  decode: Decoder,
): Reader {
  return {
    format,
    signatures,
    open: (source, options) => decodeWhole(source, decode, options),
  };
}

/**
 * A reader of a format that libvips decodes, or `decode` if libvips does not
 * load.
 */
function flatReader(
  format: string,
  signature: string,
  decode: Decoder,
): Reader {
  return {
    format,
    signatures: [signature],
    open: async (source, options) =>
      (await findLibvips()).libvips
        ? await openFlat(source, options)
        : await decodeWhole(source, decode, options),
  };
}

/** A reader of a format that OpenSlide supports since version `since`. */
function slideReader(
  format: string,
  signatures: string[],
  since = 3,
): Reader {
  return {
    format,
    signatures,
    open: (source, { cache = defaultCache(), backdrop }) =>
      openWithOpenSlide(source, {
        kind: `a ${format} slide`,
        since,
        cache,
        backdrop,
      }),
  };
}

async function decodeWhole(
  source: ByteSource,
  decode: Decoder,
  options: OpenOptions,
  said: { facts?: ImageFacts; warnings?: readonly string[] } = {},
): Promise<Pyramid> {
  const { signal } = options;
  const maxPixels = Math.min(
    options.maxPixels ?? MAX_WHOLE_PIXELS,
    MAX_WHOLE_PIXELS,
  );
  refuseHugeFile(source, maxPixels);
  const bytes = await source.read(0, source.size, signal);
  const { pixels, warnings } = await decode(bytes, { maxPixels, signal });
  source.close();
  const image = {
    pixels,
    warnings: [...source.warnings, ...warnings, ...said.warnings ?? []],
  };
  const { traffic } = source;
  const { backdrop } = options;
  const { facts } = said;
  return new RasterPyramid(source.name, image, { traffic, facts, backdrop });
}

// 16-bit RGBA: no picture of maxPixels needs more, so the file is not one.
const MAX_BYTES_PER_PIXEL = 8;

function refuseHugeFile({ size }: ByteSource, maxPixels: number): void {
  if (size > maxPixels * MAX_BYTES_PER_PIXEL + 2 ** 20) { // 1 MiB of metadata
    throw new ImageError(
      `the file has ${size} bytes, too many for the ${maxPixels} px allowed`,
    );
  }
}

/** Opens a PNG or JPEG: held whole, or converted to a pyramid if it is large. */
async function openFlat(
  source: ByteSource,
  options: OpenOptions,
): Promise<Pyramid> {
  // libvips parses brackets at the end of a name as options.
  const path = source.path?.endsWith("]") ? undefined : source.path;
  const header = path === undefined ? undefined : await readHeader(path);
  if (path === undefined || header === undefined || isHeld(header)) {
    return await decodeWhole(source, decodeWithVips, options);
  }
  const { signal, cache = defaultCache(), backdrop } = options;
  refuseTooLarge(header, options.maxPixels ?? DEFAULT_MAX_PIXELS);
  return await openAsPyramid(source, { path, header, cache, signal, backdrop });
}

/**
 * Interlaced and progressive files cannot be streamed, so larger ones are held
 * whole.
 */
function isHeld({ width, height, isProgressive }: Metadata): boolean {
  const most = isProgressive ? MAX_WHOLE_PIXELS : MAX_HELD_PIXELS;
  return width * height <= most;
}

async function openTiff(
  source: ByteSource,
  options: OpenOptions,
): Promise<Pyramid> {
  const { signal, cache = defaultCache(), backdrop } = options;
  const file = await TiffFile.open(source, signal);
  const pages = await file.directories(signal);
  const scanner = await scannerOf(pages[0]!);
  if (scanner !== undefined) {
    const kind = `a slide of ${scanner}'s`;
    return await openWithOpenSlide(source, { kind, cache, backdrop });
  }
  let image: TiffImage;
  try {
    image = await readTiffImage(file, pages, backdrop);
  } catch (cause) {
    // libvips decodes kinds of pixels that our block decoder lacks, if whole;
    // it must not show what we refuse for its meaning.
    const isKind = cause instanceof ForVipsError;
    if (!isKind || !await isForVips(pages[0]!)) throw cause;
    const said = await readPictureFacts(file, pages[0]!);
    return await decodeWhole(source, decodeWithVips, options, said);
  }
  if (isSubsampled2000(image) && source.path && openSlideVersion()) {
    const kind = "a slide of Aperio's";
    return await openWithOpenSlide(source, { kind, cache, backdrop });
  }
  if (!(await findLibvips()).libvips) image = inJavaScript(image);
  if (!isOfLargeBlocks(image)) return tiffPyramid(source, image, cache);
  return await holdWhole(source, image, options);
}

// A block of more pixels would fill a cache, and be decoded again for each of
// its regions: 16 MiB as RGBA.
const LARGE_BLOCK = 2 ** 22;

/** The image has strips so high that it is decoded as a whole. */
function isOfLargeBlocks({ levels: [base] }: TiffImage): boolean {
  const { tiled, rowBytes, block } = base!;
  const isCut = rowBytes !== undefined; // to blocks of some rows
  return !tiled && !isCut && block.width * block.height > LARGE_BLOCK;
}

async function holdWhole(
  source: ByteSource,
  image: TiffImage,
  { signal, maxPixels = MAX_WHOLE_PIXELS, backdrop }: OpenOptions,
): Promise<Pyramid> {
  refuseTooLarge(image.levels[0]!, Math.min(maxPixels, MAX_WHOLE_PIXELS));
  const pyramid = tiffPyramid(source, image, new BlockCache(0));
  const { width, height } = pyramid;
  const pixels = await pyramid.read({ x: 0, y: 0, width, height }, 0, signal);
  pyramid.close();
  const held = { pixels, warnings: [...pyramid.warnings] };
  const { traffic } = source;
  return new RasterPyramid(source.name, held, {
    traffic,
    facts: pyramid,
    backdrop,
  });
}

/** The image with the warnings or refusals of decoding without libvips. */
function inJavaScript(image: TiffImage): TiffImage {
  const { levels, warnings } = image;
  const isOf = (kind: TiffPage["compression"]) =>
    levels.some(({ compression }) => compression === kind);
  if (isOf("webp")) {
    throw new ImageError(
      "its blocks are WebP, which only sharp decodes: run with --allow-ffi",
    );
  }
  return isOf("jpeg")
    ? { ...image, warnings: [...warnings, JPEG_WARNING] }
    : image;
}

/**
 * The blocks are Aperio's JPEG 2000 with subsampled chroma, which only
 * OpenSlide decodes.
 */
function isSubsampled2000({ aperio, levels }: TiffImage): boolean {
  return aperio &&
    levels.some(({ compression }) => compression === "jpeg2000-ycbcr");
}
