/**
 * Decodes pieces of a TIFF in batches. A call of libvips takes longer than the
 * decoding of a tile of 256 x 256 px, or of a strip of one row, so pieces are
 * stacked into a small TIFF in memory and decoded in one call, in a thread of
 * libvips.
 *
 * @module
 */
import { freeNow } from "../../../memory.ts";
import type { Size } from "../../geometry.ts";
import { libvips } from "../../formats/libvips.ts";
import type { Pixels } from "../../pyramid.ts";
import {
  encodeDirectory,
  encodeHeader,
  HEADER_BYTES,
  TYPE,
} from "../directory.ts";
import type { Compression } from "../compression.ts";
import type { TiffPage } from "../page.ts";
import { TAG } from "../tags.ts";
import { jpegFrame } from "./pictures.ts";

// Sixteen tiles of 256 x 256 px: more are no faster, and occupy threads that
// others need.
const MAX_PIXELS = 2 ** 20;

/** Compressions of pieces that are decoded in batches, by their number. */
const TILES: Numbers = { lzw: 5, jpeg: 7 };
const STRIPS: Numbers = { ...TILES, deflate: 8, packbits: 32773 };
type Numbers = Partial<Record<Compression, number>>;

/** libvips decodes the page to the same pixels as our decoder. */
export function isPlain(page: TiffPage): boolean {
  const { compression, planar, type, samples, colours, reversedBits } = page;
  // libvips leaves YCbCr that is not JPEG unconverted.
  const isRgb = colours.kind === "rgb" ||
    colours.kind === "ycbcr" && compression === "jpeg";
  return isRgb && samples === 3 && !planar && !reversedBits &&
    type.bits === 8 && type.kind === "unsigned";
}

/** Number of tiles of a page decoded per batch; 1 if they cannot be batched. */
export function blocksTogether(page: TiffPage): number {
  const { compression, tiled, block } = page;
  const isWhole = block.width % 16 === 0 && block.height % 16 === 0; // TIFF's rule
  if (!tiled || !isWhole || !(compression in TILES) || !isPlain(page)) return 1;
  return Math.max(1, Math.floor(MAX_PIXELS / (block.width * block.height)));
}

/** The strips of a block of this page are decoded in a batch. */
export function areStripsTogether(page: TiffPage): boolean {
  return !page.tiled && page.compression in STRIPS && isPlain(page);
}

/**
 * Opaque RGBA of each tile in a batch.
 *
 * @throws {Error} If libvips cannot decode one of them.
 */
export async function decodeTogether(
  page: TiffPage,
  tiles: readonly Uint8Array[],
): Promise<Uint8Array<ArrayBuffer>[]> {
  const height = page.block.height * tiles.length;
  const data = await decodeTiff(page, tiles, height);
  const bytes = data.length / tiles.length;
  const pixels = tiles.map((_, i) =>
    new Uint8Array(data.subarray(i * bytes, (i + 1) * bytes))
  );
  freeNow(data);
  return pixels;
}

/**
 * Opaque RGBA of the strips of a block.
 *
 * @throws {Error} If libvips cannot decode one of them.
 */
export async function decodeStrips(
  page: TiffPage,
  strips: readonly Uint8Array[],
  { width, height }: Size,
): Promise<Pixels> {
  const data = await decodeTiff(page, strips, height);
  const isAligned = data.byteOffset % 4 === 0;
  return { data: isAligned ? data : new Uint8Array(data), width, height };
}

async function decodeTiff(
  page: TiffPage,
  pieces: readonly Uint8Array[],
  height: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const { width } = page.block;
  const isWhole = (bytes: Uint8Array, i: number) =>
    isWholeJpeg(bytes, {
      width,
      height: Math.min(page.pieceRows, height - i * page.pieceRows),
    });
  if (page.compression === "jpeg" && !pieces.every(isWhole)) {
    throw new RangeError("A block is cut off, or not of its size");
  }
  const sharp = await libvips();
  const { data, info } = await sharp(tiffOf(page, pieces, height), {
    failOn: "warning", // libtiff only warns of damaged LZW
    ignoreIcc: true,
    limitInputPixels: 2 * MAX_PIXELS,
  }).ensureAlpha().raw().toBuffer({ resolveWithObject: true });
  if (info.channels !== 4) {
    throw new RangeError(`Blocks have ${info.channels} channels`);
  }
  return data;
}

/** Checks the size and end of a JPEG: libvips would fill missing pixels. */
export function isWholeJpeg(
  bytes: Uint8Array,
  { width, height }: Size,
): boolean {
  const frame = jpegFrame(bytes);
  return frame?.width === width && frame.height === height &&
    bytes.at(-2) === 0xff && bytes.at(-1) === 0xd9;
}

/** A TIFF of one column of tiles, or of strips. */
function tiffOf(
  page: TiffPage,
  blocks: readonly Uint8Array[],
  height: number,
): Uint8Array {
  const { jpegTables, tiled } = page;
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
      ...fieldsOf(page, height),
      {
        tag: tiled ? TAG.tileOffsets : TAG.stripOffsets,
        type: TYPE.long,
        values: offsets,
      },
      {
        tag: tiled ? TAG.tileBytes : TAG.stripBytes,
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

/**
 * The fields that describe the pieces; libtiff corrects the subsampling from
 * the first piece.
 */
function fieldsOf(
  { block, tiled, pieceRows, compression, predictor, colours }: TiffPage,
  height: number,
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
    long(TAG.width, block.width),
    long(TAG.height, height),
    short(TAG.bitsPerSample, 8, 8, 8),
    short(TAG.compression, STRIPS[compression]!),
    short(TAG.photometric, isYcbcr ? 6 : 2),
    short(TAG.samplesPerPixel, 3),
    short(TAG.planarConfiguration, 1),
    ...predictor === "horizontal" ? [short(TAG.predictor, 2)] : [],
    ...tiled
      ? [long(TAG.tileWidth, block.width), long(TAG.tileHeight, block.height)]
      : [long(TAG.rowsPerStrip, pieceRows)],
    ...isYcbcr ? [short(TAG.subsampling, 2, 2)] : [],
  ];
}
