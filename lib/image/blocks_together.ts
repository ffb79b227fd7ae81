/**
 * JPEG and LZW blocks of a TIFF, several at a time. A call of libvips takes longer
 * than the decoding of a block of 256 x 256 px, so blocks are laid under each other
 * as the tiles of a small TIFF in memory, and decoded in one call, in a thread of
 * libvips.
 *
 * @module
 */
import sharp from "sharp";
import { freeNow } from "../memory.ts";
import {
  encodeDirectory,
  encodeHeader,
  HEADER_BYTES,
  TYPE,
} from "./tiff_directory.ts";
import type { Compression, TiffPage } from "./tiff_page.ts";
import { TAG } from "./tiff_parser.ts";

// Of 256 x 256 px sixteen: more are no faster, and others want the next thread.
const MOST_PIXELS = 2 ** 20;

/** The compressions of blocks that are decoded together, by their number. */
const NUMBERS: Partial<Record<Compression, number>> = { lzw: 5, jpeg: 7 };

/** How many blocks of a page are decoded together; 1 where they cannot be. */
export function blocksTogether(page: TiffPage): number {
  const { compression, tiled, planar, type, samples, colours, block } = page;
  // YCbCr that is not JPEG is left as it is, shown as RGB.
  const isRgb = colours.kind === "rgb" ||
    colours.kind === "ycbcr" && compression === "jpeg";
  const isPlain = compression in NUMBERS && tiled && !planar && isRgb &&
    samples === 3 && type.bits === 8 && type.kind === "unsigned" &&
    !page.reversedBits;
  const isWhole = block.width % 16 === 0 && block.height % 16 === 0; // TIFF's rule
  if (!isPlain || !isWhole) return 1;
  return Math.max(1, Math.floor(MOST_PIXELS / (block.width * block.height)));
}

/**
 * Opaque RGBA of each block of a page that takes several together.
 *
 * @throws {Error} If libvips cannot decode one of them.
 */
export async function decodeTogether(
  page: TiffPage,
  blocks: readonly Uint8Array[],
): Promise<Uint8Array<ArrayBuffer>[]> {
  if (page.compression === "jpeg" && !blocks.every(isComplete)) {
    throw new RangeError("A block is cut off");
  }
  const { data, info } = await sharp(tiffOf(page, blocks), {
    failOn: "warning", // which is all that libtiff has for damaged LZW
    ignoreIcc: true,
    limitInputPixels: 2 * MOST_PIXELS,
  }).ensureAlpha().raw().toBuffer({ resolveWithObject: true });
  if (info.channels !== 4) {
    throw new RangeError(`Blocks have ${info.channels} channels`);
  }
  const bytes = data.length / blocks.length;
  const pixels = blocks.map((_, i) =>
    new Uint8Array(data.subarray(i * bytes, (i + 1) * bytes))
  );
  freeNow(data);
  return pixels;
}

/** Whether a JPEG has its end: libtiff would fill up what is missing. */
function isComplete(bytes: Uint8Array): boolean {
  return bytes.at(-2) === 0xff && bytes.at(-1) === 0xd9;
}

/** A TIFF of one column of tiles. */
function tiffOf(page: TiffPage, blocks: readonly Uint8Array[]): Uint8Array {
  const { jpegTables } = page;
  const offsets: number[] = [];
  let end = HEADER_BYTES;
  for (const { length } of blocks) {
    offsets.push(end);
    end += length + length % 2; // values begin at words
  }
  const tablesAt = end;
  end += jpegTables?.length ?? 0;
  const at = Math.ceil(end / 8) * 8;
  const directory = encodeDirectory(
    [
      ...fieldsOf(page, blocks.length),
      { tag: TAG.tileOffsets, type: TYPE.long, values: offsets },
      {
        tag: TAG.tileBytes,
        type: TYPE.long,
        values: blocks.map(({ length }) => length),
      },
      ...jpegTables
        ? [{
          tag: TAG.jpegTables,
          type: TYPE.undefined,
          count: jpegTables.length,
          at: tablesAt,
        }]
        : [],
    ],
    { at, big: false, last: true },
  );
  const file = new Uint8Array(at + directory.length);
  file.set(encodeHeader(at, false));
  for (const [i, bytes] of blocks.entries()) file.set(bytes, offsets[i]);
  if (jpegTables) file.set(jpegTables, tablesAt);
  file.set(directory, at);
  return file;
}

/** What the tiles are; libtiff corrects the subsampling by the first of them. */
function fieldsOf(
  { block: { width, height }, compression, predictor, colours }: TiffPage,
  count: number,
) {
  const isYcbcr = colours.kind === "ycbcr";
  const short = (tag: number, ...values: number[]) => ({
    tag,
    type: TYPE.short,
    values,
  });
  const long = (tag: number, value: number) => ({
    tag,
    type: TYPE.long,
    values: [value],
  });
  return [
    long(TAG.width, width),
    long(TAG.height, height * count),
    short(TAG.bitsPerSample, 8, 8, 8),
    short(TAG.compression, NUMBERS[compression]!),
    short(TAG.photometric, isYcbcr ? 6 : 2),
    short(TAG.samplesPerPixel, 3),
    short(TAG.planarConfiguration, 1),
    ...predictor === "horizontal" ? [short(TAG.predictor, 2)] : [],
    long(TAG.tileWidth, width),
    long(TAG.tileHeight, height),
    ...isYcbcr ? [short(TAG.subsampling, 2, 2)] : [],
  ];
}
