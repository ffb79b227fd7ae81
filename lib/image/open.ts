/**
 * Opens an image file: looks at its first bytes, never at its name, and hands
 * it to the reader that knows the format.
 *
 * @module
 */
import { ImageError } from "../errors.ts";
import type { BlockCache } from "./block_cache.ts";
import { decodeBmp } from "./bmp.ts";
import type { Pyramid } from "./pyramid.ts";
import {
  type DecodedImage,
  type DecodeOptions,
  RasterPyramid,
} from "./raster.ts";
import { decodeWithVips } from "./vips.ts";

const HEAD_BYTES = 12; // RIFF????WEBP

/** Pixels of the largest image that is decoded whole: 1 GiB as RGBA. */
export const DEFAULT_MAX_PIXELS = 2 ** 28;

/** How to open an image. */
export interface OpenOptions {
  signal?: AbortSignal;
  /** Images with more pixels than this are refused before they are decoded. */
  maxPixels?: number;
  /** Where blocks are kept; a small cache of its own where left out. */
  cache?: BlockCache;
}

type Decoder = (
  bytes: Uint8Array,
  options: DecodeOptions,
) => Promise<DecodedImage> | DecodedImage;

/** A format: how its files begin and what opens them. */
interface Reader {
  format: string;
  /** Whether a file that starts with `head` (HEAD_BYTES or less) is one. */
  recognises(head: Uint8Array): boolean;
  open(path: string, options: OpenOptions): Promise<Pyramid>;
}

// The first that recognises a file opens it: a reader of slides goes on top.
const readers: readonly Reader[] = [
  rasterReader("PNG", ["\x89PNG\r\n\x1a\n"], decodeWithVips),
  rasterReader("JPEG", ["\xff\xd8\xff"], decodeWithVips),
  rasterReader("WebP", ["RIFF????WEBP"], decodeWithVips),
  // "+" marks BigTIFF.
  rasterReader("TIFF", ["II*\0", "MM\0*", "II+\0", "MM\0+"], decodeWithVips),
  rasterReader("BMP", ["BM"], decodeBmp),
];

/**
 * Opens the image at `path`.
 *
 * @throws {ImageError} If it is missing, of no known format, damaged,
 *   truncated or too large; the message names the file and the reason.
 */
export async function openImage(
  path: string,
  options: OpenOptions = {},
): Promise<Pyramid> {
  const { signal } = options;
  signal?.throwIfAborted();
  const head = await readHead(path);
  const reader = readers.find((reader) => reader.recognises(head));
  if (reader === undefined) throw new ImageError(unknownFormat(path, head));
  try {
    return await reader.open(path, options);
  } catch (cause) {
    if (!(cause instanceof ImageError)) throw cause;
    throw new ImageError(
      `Cannot open ${path} as ${reader.format}: ${cause.message}`,
      { cause },
    );
  }
}

/** The first bytes of a file that is there, is a file and is not empty. */
async function readHead(path: string): Promise<Uint8Array> {
  const head = new Uint8Array(HEAD_BYTES);
  try {
    const { isFile, isDirectory } = await Deno.stat(path);
    if (!isFile) { // a pipe would be waited for without end
      throw new Error(isDirectory ? "it is a folder" : "it is not a file");
    }
    using file = await Deno.open(path);
    const length = await file.read(head);
    if (length === null) throw new Error("it is empty");
    return head.subarray(0, length);
  } catch (cause) {
    const reason = cause instanceof Deno.errors.NotFound
      ? "no such file"
      : (cause as Error).message;
    throw new ImageError(`Cannot open ${path} as an image: ${reason}`, {
      cause,
    });
  }
}

function unknownFormat(path: string, head: Uint8Array): string {
  const bytes = [...head.subarray(0, 8)]
    .map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
  const formats = readers.map((reader) => reader.format).join(", ");
  return `Cannot open ${path} as an image: it starts with the bytes ${bytes}, which is none of ${formats}`;
}

/** A format whose files are decoded whole. */
function rasterReader(
  format: string,
  signatures: string[],
  decode: Decoder,
): Reader {
  return {
    format,
    recognises: (head) => signatures.some((text) => startsWith(head, text)),
    async open(path, { signal, maxPixels = DEFAULT_MAX_PIXELS }) {
      await refuseHugeFile(path, maxPixels);
      const bytes = await Deno.readFile(path, signal ? { signal } : {});
      const image = await decode(bytes, { maxPixels, signal });
      return new RasterPyramid(path, image, {
        bytes: bytes.length,
        requests: 1,
      });
    },
  };
}

/** Whether the bytes are the characters of `signature`, "?" being any. */
function startsWith(head: Uint8Array, signature: string): boolean {
  return [...signature].every((character, i) =>
    character === "?" || head[i] === character.charCodeAt(0)
  );
}

// 16-bit RGBA: no picture of maxPixels needs more, so the file is not one.
const MAX_BYTES_PER_PIXEL = 8;

async function refuseHugeFile(path: string, maxPixels: number): Promise<void> {
  const { size } = await Deno.stat(path);
  if (size > maxPixels * MAX_BYTES_PER_PIXEL + 2 ** 20) { // 1 MiB of metadata
    throw new ImageError(
      `the file has ${size} bytes, too many for the ${maxPixels} px allowed`,
    );
  }
}
