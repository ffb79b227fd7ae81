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
import { openFile } from "./bytes/file.ts";
import { openUrl } from "./bytes/http.ts";
import { type ByteSource, isUrl } from "./bytes/source.ts";
import { isDicomWeb, openDicomWeb } from "./dicomweb/open.ts";
import { BMP } from "./formats/bmp.ts";
import { refuseOtherDicom } from "./formats/dicom.ts";
import { JPEG } from "./formats/jpeg_decoder.ts";
import { findLibvips } from "./formats/libvips.ts";
import { openWithOpenSlide } from "./formats/openslide.ts";
import { PNG } from "./formats/png_decoder.ts";
import { openAsPyramid } from "./formats/temporary_pyramid.ts";
import { readHeader, VIPS } from "./formats/vips.ts";
import type { Pyramid } from "./pyramid.ts";
import {
  type Codec,
  refuseImmense,
  refuseTooLarge,
} from "./pyramids/raster.ts";
import { openTiff } from "./tiff/open.ts";
import { isZarr, openZarr } from "./zarr/open.ts";
import {
  decodeWhole,
  defaultCache,
  MAX_WHOLE_PIXELS,
  type OpenOptions,
} from "./whole.ts";

export type { OpenOptions };

const HEAD_BYTES = 132; // DICOM: 128 bytes of anything, then DICM

// PNG and JPEG files with more pixels are converted to a pyramid first.
const MAX_HELD_PIXELS = 2 ** 26;

// Limit for an image without blocks; converting one takes 12 s per gigapixel.
const DEFAULT_MAX_PIXELS = 2 ** 31;

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
  flatReader("PNG", "\x89PNG\r\n\x1a\n", PNG),
  flatReader("JPEG", "\xff\xd8\xff", JPEG),
  rasterReader("WebP", ["RIFF????WEBP"], VIPS),
  {
    format: "TIFF",
    signatures: ["II*\0", "MM\0*", "II+\0", "MM\0+"], // "+" marks BigTIFF
    open: openTiff,
  },
  rasterReader("BMP", ["BM"], BMP),
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

/** A format of many objects, which the address tells. */
interface ReaderOfMany {
  format: string;
  is(address: string): Promise<boolean>;
  open(address: string, options: OpenOptions): Promise<Pyramid>;
}

const readersOfMany: readonly ReaderOfMany[] = [
  { format: "OME-Zarr", is: isZarr, open: openZarr },
  { format: "DICOMweb", is: isDicomWeb, open: openDicomWeb },
];

/**
 * Opens the image at `path`, or at a URL (http, https, s3, gs, az). Close it after use.
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
  return (await openIdentified(path, options)).image;
}

/** An open image, and the identity of its file and of its version. */
export interface IdentifiedImage {
  image: Pyramid;
  /** `ByteSource.identity`. */
  identity: string;
  /** Name of the format, such as "TIFF". */
  format: string;
}

/** As {@linkcode openImage}, for what is kept of an image beyond its closing. */
export async function openIdentified(
  path: string,
  options: OpenOptions = {},
): Promise<IdentifiedImage> {
  options.signal?.throwIfAborted();
  const many = await readerOfMany(path);
  if (many) {
    const { format } = many;
    const opening = many.open(path, options).then(notImmense);
    const image = await named(path, format, opening);
    return { image, identity: image.identity!, format };
  }
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
      throw new ImageFormatError(unknownFormat(path));
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
    const { identity } = source;
    const opening = reader.open(source, options).then(notImmense);
    const { format } = reader;
    return { image: await named(path, format, opening), identity, format };
  } catch (error) {
    source.close();
    throw error;
  }
}

async function readerOfMany(path: string): Promise<ReaderOfMany | undefined> {
  for (const reader of readersOfMany) {
    if (await reader.is(path)) return reader;
  }
  return undefined;
}

/** `pyramid`, unless a side of what is read in blocks is too long. */
function notImmense(pyramid: Pyramid): Pyramid {
  try {
    refuseImmense(pyramid);
    return pyramid;
  } catch (error) {
    pyramid.close();
    throw error;
  }
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

/** Shows no byte of the file: a request may name any file of a server. */
function unknownFormat(path: string): string {
  const formats = readers.map((reader) => reader.format).join(", ");
  return `Cannot open ${path} as an image: it begins with the signature of none of ${formats}`;
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
  codec: Codec,
): Reader {
  return {
    format,
    signatures,
    open: (source, options) => decodeWhole(source, codec, options),
  };
}

/**
 * A reader of a format that libvips decodes, or `codec` if libvips does not
 * load.
 */
function flatReader(
  format: string,
  signature: string,
  codec: Codec,
): Reader {
  return {
    format,
    signatures: [signature],
    open: async (source, options) =>
      (await findLibvips()).libvips
        ? await openFlat(source, options)
        : await decodeWhole(source, codec, options),
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

/** Opens a PNG or JPEG: held whole, or converted to a pyramid if it is large. */
async function openFlat(
  source: ByteSource,
  options: OpenOptions,
): Promise<Pyramid> {
  // libvips parses brackets at the end of a name as options.
  const path = source.path?.endsWith("]") ? undefined : source.path;
  const header = path === undefined ? undefined : await readHeader(path);
  if (path === undefined || header === undefined || isHeld(header, options)) {
    return await decodeWhole(source, VIPS, options);
  }
  const { signal, cache = defaultCache(), backdrop, room } = options;
  refuseTooLarge(header, options.maxPixels ?? DEFAULT_MAX_PIXELS);
  using _room = await room?.take(header.width * STREAMED_BYTES, signal);
  return await openAsPyramid(source, { path, header, cache, signal, backdrop });
}

// Bytes that libvips holds of each column while it streams a file into a
// pyramid: rows of tiles, on every level. A wide file of few rows takes less
// if it is decoded whole.
const STREAMED_BYTES = 1024;
const FEW_ROWS = 128, WIDE = 2 ** 16;

/**
 * Interlaced and progressive files cannot be streamed, so larger ones are held
 * whole.
 */
function isHeld(
  { width, height, isProgressive }: Metadata,
  { heldPixels = MAX_HELD_PIXELS }: OpenOptions,
): boolean {
  const isStrip = width > WIDE && height < FEW_ROWS;
  const most = isProgressive
    ? MAX_WHOLE_PIXELS
    : isStrip
    ? MAX_HELD_PIXELS
    : heldPixels;
  return width * height <= most;
}
