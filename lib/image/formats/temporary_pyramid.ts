/**
 * Large PNG and JPEG files, which have no levels and decode only from the top:
 * libvips streams them once into a temporary tiled pyramid.
 *
 * @module
 */
import type { Metadata } from "sharp";
import { ImageError } from "../../errors.ts";
import { withSignal } from "../bytes/with_signal.ts";
import type { BlockCache } from "../pyramids/block_cache.ts";
import { temporaryFile } from "../bytes/file.ts";
import { libvips } from "./libvips.ts";
import type { Orientation } from "../pyramids/orientation.ts";
import type { Backdrop, Pyramid } from "../pyramid.ts";
import type { ByteSource } from "../bytes/source.ts";
import { readTiffImage } from "../tiff/levels.ts";
import { TiffFile } from "../tiff/parser.ts";
import { tiffPyramid } from "../tiff/pyramid.ts";
import { conversions, decodingError, FAIL_ON } from "./vips.ts";

const WARNING =
  'converted to a temporary pyramid, which is slow: convert it once with "deno task pyramid IN OUT.tif"';

// Uncompressed: 4 bytes of disk a px, but seven times as fast as LZW.
const TIFF = {
  tile: true,
  tileWidth: 256,
  tileHeight: 256,
  pyramid: true,
  compression: "none",
  bigtiff: true,
} as const;

/**
 * Opens a PNG or JPEG through a temporary pyramid, removed when closed.
 *
 * @param path of the file that `source` is, which is closed.
 * @throws {ImageError} With the reason only; also for interlaced and
 *   progressive files, which libvips would hold whole.
 */
export async function openAsPyramid(
  source: ByteSource,
  { path, header, cache, signal, backdrop = "white" }: {
    path: string;
    header: Metadata;
    cache: BlockCache;
    signal?: AbortSignal | undefined;
    backdrop?: Backdrop | undefined;
  },
): Promise<Pyramid> {
  const { width, height, isProgressive, hasAlpha, orientation = 1 } = header;
  if (isProgressive) {
    throw new ImageError(
      `it has ${width} x ${height} px and is interlaced or progressive, so it can only be decoded whole; save it without interlacing`,
    );
  }
  const temporary = await convert(path, header, { signal, backdrop });
  const bytes = await temporaryFile(temporary, {
    name: source.name,
    traffic: { bytes: source.size, requests: 1 },
    warnings: [...source.warnings, WARNING],
  });
  source.close();
  try {
    const file = await TiffFile.open(bytes, signal);
    const image = await readTiffImage(file, await file.directories(signal));
    return tiffPyramid(bytes, {
      ...image,
      orientation: orientation as Orientation,
      warnings: [
        ...conversions(header),
        ...hasAlpha ? [`has alpha: composited over ${backdrop}`] : [],
      ],
    }, cache);
  } catch (error) {
    bytes.close();
    throw error;
  }
}

/** Writes the pyramid of a file, its pixels as stored but opaque. */
async function convert(
  path: string,
  { space }: Metadata,
  { signal, backdrop }: {
    signal: AbortSignal | undefined;
    backdrop: Backdrop;
  },
): Promise<string> {
  const sharp = await libvips();
  signal?.throwIfAborted();
  const out = await Deno.makeTempFile({ prefix: "zoomin-", suffix: ".tif" });
  const converting = sharp(path, {
    failOn: FAIL_ON,
    ignoreIcc: space !== "cmyk",
    limitInputPixels: false,
    sequentialRead: true,
  }).toColourspace("srgb").flatten({ background: backdrop }).tiff(TIFF)
    .toFile(out).catch(async (cause) => {
      throw await decodingError(cause, path);
    });
  try {
    await withSignal(converting, signal);
    return out;
  } catch (error) {
    await Deno.remove(out);
    // libvips cannot be interrupted, and may create its file only now.
    converting.catch(() => {}).then(() => Deno.remove(out)).catch(() => {});
    throw error;
  }
}
