/**
 * Opens TIFF files: in blocks, whole, or through OpenSlide.
 *
 * @module
 */
import { ImageError } from "../../errors.ts";
import type { ByteSource } from "../bytes/source.ts";
import { JPEG_WARNING } from "../formats/jpeg_decoder.ts";
import { findLibvips } from "../formats/libvips.ts";
import { openSlideVersion, openWithOpenSlide } from "../formats/openslide.ts";
import { VIPS } from "../formats/vips.ts";
import type { Pyramid } from "../pyramid.ts";
import { BlockCache } from "../pyramids/block_cache.ts";
import { RasterPyramid, refuseTooLarge } from "../pyramids/raster.ts";
import {
  decodeWhole,
  defaultCache,
  inRoom,
  MAX_WHOLE_PIXELS,
  type OpenOptions,
} from "../whole.ts";
import { ForVipsError } from "./decode/colours.ts";
import { readTiffImage } from "./levels.ts";
import { readPictureFacts, scannerOf } from "./metadata.ts";
import { refuseUnlessForVips } from "./compression.ts";
import type { TiffPage } from "./page.ts";
import { TiffFile } from "./parser.ts";
import { type TiffImage, tiffPyramid } from "./pyramid.ts";

/**
 * Opens a TIFF file. Takes ownership of `source`: closes it, now or with the
 * pyramid.
 *
 * @throws {ImageError} With the reason only.
 */
export async function openTiff(
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
    if (!(cause instanceof ForVipsError)) throw cause;
    await refuseUnlessForVips(pages[0]!, cause);
    const said = await readPictureFacts(file, pages[0]!);
    return await decodeWhole(source, VIPS, options, said);
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
  options: OpenOptions,
): Promise<Pyramid> {
  const { signal, maxPixels = MAX_WHOLE_PIXELS, backdrop } = options;
  const size = image.levels[0]!;
  refuseTooLarge(size, Math.min(maxPixels, MAX_WHOLE_PIXELS));
  return await inRoom(size, options, async (room) => {
    const pyramid = tiffPyramid(source, image, new BlockCache(0));
    const { width, height } = pyramid;
    const pixels = await pyramid.read({ x: 0, y: 0, width, height }, 0, signal);
    pyramid.close();
    const held = { pixels, warnings: [...pyramid.warnings] };
    const { identity, traffic } = source;
    return new RasterPyramid(source.name, held, {
      identity,
      traffic,
      facts: pyramid,
      backdrop,
      room,
    });
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
  if (isOf("jpeg") && levels.some(isJpegOfOtherChannels)) {
    throw new ImageError(
      "its blocks are JPEG of other than 1 or 3 channels, which only sharp decodes: run with --allow-ffi",
    );
  }
  return isOf("jpeg")
    ? { ...image, warnings: [...warnings, JPEG_WARNING] }
    : image;
}

function isJpegOfOtherChannels({ planar, samples }: TiffPage): boolean {
  return !planar && samples !== 1 && samples !== 3;
}

/**
 * The blocks are Aperio's JPEG 2000 with subsampled chroma, which only
 * OpenSlide decodes.
 */
function isSubsampled2000({ aperio, levels }: TiffImage): boolean {
  return aperio &&
    levels.some(({ compression }) => compression === "jpeg2000-ycbcr");
}
