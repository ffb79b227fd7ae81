/**
 * One image of a TIFF: how its pixels are stored, checked for what
 * tiff_decoder.ts can decode.
 *
 * @module
 */
import { ImageError } from "../errors.ts";
import type { MapSize, Size } from "./geometry.ts";
import type { Backdrop } from "./pyramid.ts";
import { TAG, type TiffDirectory, type TiffTable } from "./tiff_parser.ts";

/** How blocks are compressed. */
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

// Those that a predictor goes before; with others its tag means nothing.
const PREDICTED: readonly Compression[] = ["lzw", "deflate", "zstd"];

// Those that libvips decodes for certain; of others it has returned black.
const VIPS_COMPRESSIONS = [1, 2, 3, 4, 5, 7, 8, 32773, 32946];

/** Whether a page that is not decoded in blocks may be decoded whole. */
export async function isForVips(directory: TiffDirectory): Promise<boolean> {
  const compression = await directory.number(TAG.compression, 1);
  return VIPS_COMPRESSIONS.includes(compression);
}

// What others there are, to be named.
const OTHERS: Record<number, string> = {
  2: "CCITT",
  3: "CCITT fax 3",
  4: "CCITT fax 4",
  6: "old-style JPEG",
  34676: "SGI LogLuv",
  34677: "SGI LogLuv",
  34887: "LERC",
  34925: "LZMA",
  50002: "JPEG XL",
  52546: "JPEG XL",
};

/** What the samples of a pixel mean. */
export type Colours =
  | { kind: "grey"; whiteIsZero: boolean }
  | { kind: "rgb" }
  | { kind: "ycbcr" }
  | { kind: "palette"; map: Uint8Array }; // RGB by index

/** What the last sample of a pixel says of its opacity. */
export type Alpha = "none" | "straight" | "premultiplied";

/** How an image of a TIFF is stored. */
export interface TiffPage extends Size {
  directory: TiffDirectory;
  tiled: boolean;
  /** Size of a block, px; those at the right and bottom may reach beyond. */
  block: Size;
  /** Blocks that cover the image; with separate planes, of each plane. */
  grid: MapSize;
  compression: Compression;
  predictor: boolean;
  samples: number;
  bits: 8 | 16;
  /** Each block holds one sample of its pixels, not all. */
  planar: boolean;
  colours: Colours;
  alpha: Alpha;
  /** Under pixels that are not opaque; white if omitted. */
  backdrop?: Backdrop;
  jpegTables: Uint8Array | undefined;
  offsets: TiffTable;
  bytes: TiffTable;
  /** Of an uncompressed strip cut into blocks: bytes from one to the next. */
  rowBytes: number | undefined;
}

// A block is decoded whole: 64 MiB as RGBA, beside its samples.
const MAX_BLOCK_PIXELS = 2 ** 24;
const MAX_BLOCK_BYTES = 2 ** 27;

// Pixels of the blocks that an uncompressed image in one strip is cut into.
const STRIP_PIXELS = 2 ** 18;

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
 * How a page is stored.
 *
 * @throws {ImageError} With the reason only, if it cannot be decoded in blocks.
 */
export async function readPage(directory: TiffDirectory): Promise<TiffPage> {
  const size = await pageSize(directory);
  const compression = await readCompression(directory);
  if (await directory.number(TAG.fillOrder, 1) !== 1) {
    throw new ImageError("bytes whose lowest bit is first are not supported");
  }
  const samples = await directory.number(TAG.samplesPerPixel, 1);
  const bits = await readBits(directory);
  const colours = await readColours(directory, compression, samples, bits);
  const planar = samples > 1 &&
    await directory.number(TAG.planarConfiguration, 1) === 2;
  const predictor = PREDICTED.includes(compression) &&
    await readPredictor(directory);
  const tiled = directory.has(TAG.tileWidth);
  let block = await blockSize(directory, size, tiled);
  let rowBytes: number | undefined;
  if (!tiled && compression === "none" && block.height >= size.height) {
    const height = Math.max(1, Math.floor(STRIP_PIXELS / size.width));
    block = { width: size.width, height: Math.min(height, size.height) };
    rowBytes = size.width * (planar ? 1 : samples) * bits / 8;
  }
  const pixels = block.width * block.height;
  if (
    pixels > MAX_BLOCK_PIXELS || pixels * samples * bits / 8 > MAX_BLOCK_BYTES
  ) {
    throw new ImageError(
      `its blocks of ${block.width} x ${block.height} px of ${samples} samples are too large`,
    );
  }
  const page = {
    ...size,
    directory,
    tiled,
    block,
    grid: {
      rows: Math.ceil(size.height / block.height),
      columns: Math.ceil(size.width / block.width),
    },
    compression,
    predictor,
    samples,
    bits,
    planar,
    colours,
    alpha: await readAlpha(directory, colours, samples),
    jpegTables: await directory.bytes(TAG.jpegTables),
    offsets: directory.table(tiled ? TAG.tileOffsets : TAG.stripOffsets),
    bytes: directory.table(tiled ? TAG.tileBytes : TAG.stripBytes),
    rowBytes,
  };
  checkTables(page);
  return page;
}

async function readCompression(directory: TiffDirectory): Promise<Compression> {
  const number = await directory.number(TAG.compression, 1);
  const compression = COMPRESSIONS[number];
  if (compression !== undefined) return compression;
  const name = OTHERS[number] ?? `number ${number}`;
  throw new ImageError(`compression ${name} is not supported`);
}

async function readBits(directory: TiffDirectory): Promise<8 | 16> {
  const all = await directory.numbers(TAG.bitsPerSample);
  const bits = all[0] ?? 1;
  const format = await directory.number(TAG.sampleFormat, 1);
  if (format !== 1) {
    const name = { 2: "signed integers", 3: "floating point" }[format];
    throw new ImageError(
      `its samples are ${
        name ?? `of format ${format}`
      }, not 8 or 16-bit integers`,
    );
  }
  if ((bits !== 8 && bits !== 16) || all.some((other) => other !== bits)) {
    throw new ImageError(
      `its samples have ${all.join(", ") || 1} bits, not 8 or 16`,
    );
  }
  return bits;
}

const PHOTOMETRICS: Record<number, string> = {
  4: "a mask",
  5: "CMYK",
  8: "Lab",
  9: "ICC Lab",
  32803: "a colour filter array",
  32844: "LogL",
  32845: "LogLuv",
};

async function readColours(
  directory: TiffDirectory,
  compression: Compression,
  samples: number,
  bits: number,
): Promise<Colours> {
  const photometric = await directory.number(TAG.photometric, 1);
  if ((photometric === 0 || photometric === 1) && samples <= 2) {
    return { kind: "grey", whiteIsZero: photometric === 0 };
  }
  if (photometric === 2 && samples >= 3) return { kind: "rgb" };
  if (photometric === 3 && samples <= 2 && bits === 8) {
    return { kind: "palette", map: await readColorMap(directory) };
  }
  if (photometric === 6 && samples === 3) {
    // WebP and JPEG 2000 say themselves what they hold.
    if (compression === "jpeg") return { kind: "ycbcr" };
    if (compression === "webp" || compression.startsWith("jpeg2000")) {
      return { kind: "rgb" };
    }
    throw new ImageError(
      `YCbCr with compression ${compression} is not supported`,
    );
  }
  const name = PHOTOMETRICS[photometric];
  throw new ImageError(
    name === undefined
      ? `its ${samples} channels are not grey, RGB or a palette`
      : `its pixels are ${name}, not grey, RGB or a palette`,
  );
}

/** RGB by index, 8 bits: the map has all reds, then greens, then blues. */
async function readColorMap(directory: TiffDirectory): Promise<Uint8Array> {
  const values = await directory.numbers(TAG.colorMap);
  const size = Math.floor(values.length / 3);
  if (size < 256) throw new ImageError("it is damaged: its palette is short");
  // Some writers store 8 bits in the 16 of an entry.
  const shift = values.some((value) => value > 255) ? 8 : 0;
  const map = new Uint8Array(256 * 3);
  for (let i = 0; i < 256; i++) {
    for (let c = 0; c < 3; c++) map[i * 3 + c] = values[c * size + i]! >> shift;
  }
  return map;
}

async function readAlpha(
  directory: TiffDirectory,
  colours: Colours,
  samples: number,
): Promise<Alpha> {
  const extra = await directory.number(TAG.extraSamples, 0);
  const own = colours.kind === "rgb" || colours.kind === "ycbcr" ? 3 : 1;
  if (samples <= own) return "none";
  return extra === 1 ? "premultiplied" : extra === 2 ? "straight" : "none";
}

async function readPredictor(directory: TiffDirectory): Promise<boolean> {
  const predictor = await directory.number(TAG.predictor, 1);
  if (predictor <= 2) return predictor === 2;
  throw new ImageError(`predictor ${predictor} is not supported`);
}

async function blockSize(
  directory: TiffDirectory,
  size: Size,
  tiled: boolean,
): Promise<Size> {
  const block = tiled
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
  if (block.width >= 1 && block.height >= 1) return block;
  throw new ImageError(
    `it is damaged: its blocks have ${block.width} x ${block.height} px`,
  );
}

/** Refuses an image whose size is a lie: it has not as many blocks. */
function checkTables(
  { grid, planar, samples, rowBytes, offsets, bytes }: TiffPage,
): void {
  const each = rowBytes === undefined ? grid.rows * grid.columns : 1;
  const wanted = each * (planar ? samples : 1);
  if (offsets.count < wanted || bytes.count < wanted) {
    throw new ImageError(
      `it is damaged: of ${wanted} blocks its tables name ${
        Math.min(offsets.count, bytes.count)
      }`,
    );
  }
}
