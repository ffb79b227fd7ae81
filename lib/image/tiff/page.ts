/**
 * One image of a TIFF: the storage of its pixels, checked against the abilities
 * of decode/decoder.ts.
 *
 * @module
 */
import { ImageError } from "../../errors.ts";
import type { MapSize, Size } from "../geometry.ts";
import type { Backdrop } from "../pyramid.ts";
import {
  type Alpha,
  type Colours,
  readAlpha,
  readColours,
  sharesColours,
} from "./decode/colours.ts";
import { type Compression, PREDICTED, readCompression } from "./compression.ts";
import type { TiffDirectory, TiffTable } from "./parser.ts";
import { TAG } from "./tags.ts";
import {
  bytesOfRow,
  type Predictor,
  readPredictor,
  readSampleType,
  type SampleType,
} from "./decode/samples.ts";

/** Storage of an image of a TIFF. */
export interface TiffPage extends Size, Stored, Layout {
  directory: TiffDirectory;
  predictor: Predictor;
  /** The lowest bit of each byte comes first. */
  reversedBits: boolean;
  /**
   * GDAL's nodata value. Such pixels are shown as stored: white in their place
   * would put specks into shadows of the same value.
   */
  nodata: number | undefined;
  /** Colour under pixels that are not opaque; white if omitted. */
  backdrop?: Backdrop;
  jpegTables: Uint8Array | undefined;
}

/** The meaning of the bytes of a piece: a tile or a strip. */
interface Stored {
  compression: Compression;
  samples: number;
  type: SampleType;
  colours: Colours;
  alpha: Alpha | undefined;
  /** Each piece holds one sample of its pixels: separate planes. */
  planar: boolean;
}

/** The places of an image's pieces, and the blocks they are decoded in. */
interface Layout {
  tiled: boolean;
  /** Size of a block, px; the last ones may extend beyond the image. */
  block: Size;
  /** Blocks that cover the image; with separate planes, of each plane. */
  grid: MapSize;
  /** Rows of a tile or a strip. A block is one tile, or several strips. */
  pieceRows: number;
  /**
   * Bytes of a row of uncompressed strips, which blocks may cut at any row;
   * otherwise undefined.
   */
  rowBytes: number | undefined;
  offsets: TiffTable;
  /** Lengths of the pieces; empty if the file does not state them. */
  bytes: TiffTable;
}

// A tile is decoded whole: 64 MiB as RGBA, beside its samples.
const MAX_TILE = { pixels: 2 ** 24, bytes: 2 ** 27 };

// So is a compressed strip, which may be a whole picture: 1 GiB as RGBA.
const MAX_STRIP = { pixels: 2 ** 28, bytes: 2 ** 30 };

// Pixels of the blocks that uncompressed strips are cut into, and that other
// strips are merged into: fewer calls of libvips take less time.
const CUT_PIXELS = 2 ** 18;
const TOGETHER_PIXELS = 2 ** 20;

/** Width and height of a page. */
export async function pageSize(directory: TiffDirectory): Promise<Size> {
  const width = await directory.number(TAG.width, 0);
  const height = await directory.number(TAG.height, 0);
  if (!(width >= 1 && height >= 1)) {
    throw new ImageError(`it is damaged: a page has ${width} x ${height} px`);
  }
  return { width, height };
}

/**
 * Reads the storage of a page.
 *
 * @throws {ImageError} With the reason only, if it cannot be decoded in blocks;
 *   a `ForVipsError` if libvips can decode it whole.
 */
export async function readPage(directory: TiffDirectory): Promise<TiffPage> {
  const size = await pageSize(directory);
  const stored = await readStored(directory);
  const page = {
    ...size,
    ...stored,
    ...await readLayout(directory, size, stored),
    directory,
    predictor: await predictorOf(directory, stored),
    reversedBits: await directory.number(TAG.fillOrder, 1) === 2,
    nodata: await readNodata(directory),
    jpegTables: await directory.bytes(TAG.jpegTables),
  };
  checkTables(page);
  return page;
}

async function predictorOf(
  directory: TiffDirectory,
  { compression, type, colours }: Stored,
): Promise<Predictor> {
  if (!PREDICTED.includes(compression)) return "none";
  const predictor = await readPredictor(directory, type);
  if (predictor === "none" || !sharesColours(colours)) return predictor;
  throw new ImageError(
    "a predictor with subsampled YCbCr is not supported",
  );
}

async function readStored(directory: TiffDirectory): Promise<Stored> {
  const compression = await readCompression(directory);
  const samples = await directory.number(TAG.samplesPerPixel, 1);
  const alpha = await readAlpha(directory, samples);
  const colours = await readColours(directory, {
    samples,
    alpha,
    // WebP and JPEG 2000 declare their own channels.
    ownColours: compression === "webp" || compression.startsWith("jpeg2000"),
  });
  const planar = samples > 1 &&
    await directory.number(TAG.planarConfiguration, 1) === 2;
  const type = await readSampleType(directory, samples);
  const stored = { compression, samples, type, colours, alpha, planar };
  refuseCombination(stored);
  return stored;
}

/** Refuses combinations of features that are supported only separately. */
function refuseCombination(
  { compression, samples, type, colours, alpha, planar }: Stored,
): void {
  const { bits, kind } = type;
  const isPlain = kind === "unsigned" && bits === 8;
  const isPicture = compression === "jpeg" || compression === "webp";
  if (
    isPicture && !isPlain ||
    compression.startsWith("jpeg2000") && kind !== "unsigned"
  ) {
    throw new ImageError(
      `${compression} of ${bits}-bit samples (${kind}) is not supported`,
    );
  }
  const channels = planar ? 1 : samples;
  if (compression.startsWith("jpeg2000") && ![1, 3].includes(channels)) {
    throw new ImageError(
      `JPEG 2000 of ${channels} channels is not supported, only of 1 or 3`,
    );
  }
  if (colours.kind === "ycbcr" && !isPlain) {
    throw new ImageError(
      `YCbCr of ${bits}-bit samples (${kind}) is not supported`,
    );
  }
  const isChunky = !planar && (samples === 3 || compression === "jpeg");
  if (sharesColours(colours) && !isChunky) {
    throw new ImageError(
      `subsampled YCbCr of ${samples} channels is not supported`,
    );
  }
  const isIndexed = colours.kind === "palette";
  if (isIndexed && (kind !== "unsigned" || alpha && bits !== 8)) {
    throw new ImageError(
      `palettes of ${bits}-bit samples (${kind}) are not supported`,
    );
  }
}

/** Parses GDAL's text of one number, such as -1e+10 or nan. */
async function readNodata(
  directory: TiffDirectory,
): Promise<number | undefined> {
  const text = (await directory.text(TAG.noData)).trim().toLowerCase();
  if (text === "nan") return NaN;
  const value = Number(text.replace(/inf$/, "Infinity"));
  return text === "" || Number.isNaN(value) ? undefined : value;
}

async function readLayout(
  directory: TiffDirectory,
  size: Size,
  stored: Stored,
): Promise<Layout> {
  const { compression, samples, planar, type, colours } = stored;
  const tiled = directory.has(TAG.tileWidth);
  const piece = await pieceSize(directory, size, tiled);
  // The blocks of such strips may begin at any row.
  const isCut = !tiled && compression === "none" && !sharesColours(colours);
  const block = {
    width: piece.width,
    height: tiled ? piece.height : stripsHeight(size, {
      rows: isCut ? 1 : piece.height,
      pixels: isCut ? CUT_PIXELS : TOGETHER_PIXELS,
    }),
  };
  const pixels = piece.width * (isCut ? block.height : piece.height);
  const most = tiled ? MAX_TILE : MAX_STRIP;
  if (pixels > most.pixels || pixels * samples * type.bits / 8 > most.bytes) {
    throw new ImageError(
      `its blocks of ${piece.width} x ${piece.height} px of ${samples} samples are too large`,
    );
  }
  const ofTiles = tiled && directory.has(TAG.tileOffsets);
  return {
    tiled,
    block,
    grid: {
      rows: Math.ceil(size.height / block.height),
      columns: Math.ceil(size.width / block.width),
    },
    pieceRows: piece.height,
    rowBytes: isCut
      ? bytesOfRow(type, size.width * (planar ? 1 : samples))
      : undefined,
    offsets: directory.table(ofTiles ? TAG.tileOffsets : TAG.stripOffsets),
    bytes: directory.table(ofTiles ? TAG.tileBytes : TAG.stripBytes),
  };
}

/** Size of a tile or a strip. */
async function pieceSize(
  directory: TiffDirectory,
  size: Size,
  tiled: boolean,
): Promise<Size> {
  const piece = tiled
    ? {
      width: await directory.number(TAG.tileWidth, 0),
      height: await directory.number(TAG.tileHeight, 0),
    }
    : {
      width: size.width,
      height: Math.min(
        await directory.number(TAG.rowsPerStrip, size.height),
        size.height,
      ),
    };
  if (piece.width >= 1 && piece.height >= 1) return piece;
  throw new ImageError(
    `it is damaged: its blocks have ${piece.width} x ${piece.height} px`,
  );
}

/** Rows of a block of about `pixels`, of whole strips of `rows`. */
function stripsHeight(
  { width, height }: Size,
  { rows, pixels }: { rows: number; pixels: number },
): number {
  const strips = Math.max(1, Math.floor(pixels / (width * rows)));
  return Math.min(strips * rows, height);
}

/** Tiles or strips of one plane. */
export function piecesOfPlane(
  { tiled, grid, height, pieceRows }: Layout & Size,
): number {
  return tiled ? grid.rows * grid.columns : Math.ceil(height / pieceRows);
}

/** Refuses an image that has fewer pieces than its size needs. */
function checkTables(page: TiffPage): void {
  const { planar, samples, offsets, bytes } = page;
  const wanted = piecesOfPlane(page) * (planar ? samples : 1);
  const found = bytes.count === 0
    ? offsets.count
    : Math.min(offsets.count, bytes.count);
  if (found < wanted) {
    throw new ImageError(
      `it is damaged: its tables list ${found} of ${wanted} blocks`,
    );
  }
}
