/**
 * Small hand-made TIFF files with samples by a formula: layouts, sample types
 * and compressions that no available writer has.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { deflateSync, zstdCompressSync } from "node:zlib";
import {
  encodeDirectory,
  encodeHeader,
  type Field,
  HEADER_BYTES,
  TYPE,
} from "../../../lib/image/tiff/directory.ts";

/** Layout of a file; sizes in px. */
export interface TiffRecipe {
  width: number;
  height: number;
  /** The number stored for a sample of a pixel. */
  value(x: number, y: number, sample: number): number;
  samples?: number;
  bits?: number;
  format?: "unsigned" | "signed" | "float";
  /** PhotometricInterpretation; 1 if omitted, of less than 3 samples, else 2. */
  photometric?: number;
  extra?: readonly number[];
  compression?: keyof typeof COMPRESSIONS;
  planar?: boolean;
  tile?: number;
  rowsPerStrip?: number;
  /** Tiles at the bottom hold only the rows of the image. */
  short?: boolean;
  /** Indices of pieces that the file omits. */
  missing?: readonly number[];
  /** Encodes a piece in place of the compression. */
  encode?: (piece: PieceSamples, index: number) => Uint8Array;
  fields?: readonly Field[];
}

/** Samples of a tile or a strip, row by row, channels interleaved. */
export interface PieceSamples {
  numbers: number[];
  width: number;
  rows: number;
  channels: number;
}

const COMPRESSIONS = {
  none: { number: 1, encode: (bytes: Uint8Array) => bytes },
  lzw: { number: 5, encode: oldLzw },
  jpeg: { number: 7, encode: refused },
  deflate: { number: 8, encode: (bytes: Uint8Array) => deflateSync(bytes) },
  packbits: { number: 32773, encode: packBits },
  ccitt: { number: 2, encode: refused },
  zstd: {
    number: 50000,
    encode: (bytes: Uint8Array) => zstdCompressSync(bytes),
  },
};

/** The bytes of a file of pages. */
export function tiffFile(...recipes: readonly TiffRecipe[]): Uint8Array {
  let at = HEADER_BYTES;
  const pages = recipes.map((recipe) => {
    const { missing = [] } = recipe;
    const pieces = piecesOf(recipe).map((piece, i) =>
      missing.includes(i) ? new Uint8Array(0) : encoded(recipe, piece, i)
    );
    const offsets = pieces.map(({ length }) => {
      const offset = length === 0 ? 0 : at;
      at += length;
      return offset;
    });
    return { fields: fieldsOf(recipe, pieces, offsets), pieces };
  });
  const first = at;
  const directories = pages.map(({ fields }, i) => {
    const last = i === pages.length - 1;
    const directory = encodeDirectory(fields, { at, big: false, last });
    at += directory.length;
    return directory;
  });
  return Buffer.concat([
    encodeHeader(first, false),
    ...pages.flatMap(({ pieces }) => pieces),
    ...directories,
  ]);
}

function fieldsOf(
  recipe: TiffRecipe,
  pieces: readonly Uint8Array[],
  offsets: number[],
): Field[] {
  const { width, height, tile, planar = false, samples = 1 } = recipe;
  const { bits = 8, compression = "none", format = "unsigned" } = recipe;
  const { rowsPerStrip = height, fields = [] } = recipe;
  const repeated = (value: number) => Array<number>(samples).fill(value);
  return [
    longField(256, width),
    longField(257, height),
    shortField(258, ...repeated(bits)),
    shortField(259, COMPRESSIONS[compression].number),
    shortField(262, recipe.photometric ?? (samples < 3 ? 1 : 2)),
    shortField(277, samples),
    shortField(284, planar ? 2 : 1),
    ...tile === undefined
      ? [longField(278, rowsPerStrip)]
      : [longField(322, tile), longField(323, tile)],
    longField(tile === undefined ? 273 : 324, ...offsets),
    longField(
      tile === undefined ? 279 : 325,
      ...pieces.map(({ length }) => length),
    ),
    ...recipe.extra ? [shortField(338, ...recipe.extra)] : [],
    shortField(339, ...repeated({ unsigned: 1, signed: 2, float: 3 }[format])),
    ...fields,
  ];
}

export function shortField(tag: number, ...values: number[]): Field {
  return { tag, type: TYPE.short, values };
}

export function longField(tag: number, ...values: number[]): Field {
  return { tag, type: TYPE.long, values };
}

/** An ASCII field. */
export function asciiField(tag: number, text: string): Field {
  const values = [...new TextEncoder().encode(`${text}\0`)];
  return { tag, type: TYPE.ascii, values };
}

/** The pieces of a recipe, in the order in which they are stored. */
export function piecesOf(recipe: TiffRecipe): PieceSamples[] {
  const { width, height, tile, planar = false, samples = 1 } = recipe;
  const { rowsPerStrip = height, short = false } = recipe;
  const across = tile ?? width, down = tile ?? rowsPerStrip;
  const planes = Array.from({ length: planar ? samples : 1 }, (_, i) => i);
  const pieces: PieceSamples[] = [];
  for (const plane of planes) {
    for (let top = 0; top < height; top += down) {
      for (let left = 0; left < width; left += across) {
        const isCut = tile === undefined || short;
        const rows = isCut ? Math.min(down, height - top) : down;
        const channels = planar ? 1 : samples;
        const numbers: number[] = [];
        for (let y = top; y < top + rows; y++) {
          for (let x = left; x < left + across; x++) {
            for (let c = 0; c < channels; c++) {
              const isInside = x < width && y < height;
              numbers.push(isInside ? recipe.value(x, y, plane + c) : 0);
            }
          }
        }
        pieces.push({ numbers, width: across, rows, channels });
      }
    }
  }
  return pieces;
}

function encoded(
  recipe: TiffRecipe,
  piece: PieceSamples,
  index: number,
): Uint8Array {
  const { compression = "none", encode } = recipe;
  if (encode) return encode(piece, index);
  return COMPRESSIONS[compression].encode(bytesOf(recipe, piece));
}

function bytesOf(
  { bits = 8, format = "unsigned" }: TiffRecipe,
  { numbers, rows }: PieceSamples,
): Uint8Array {
  if (format === "float") {
    const Floats = { 16: Float16Array, 32: Float32Array, 64: Float64Array }[
      bits as 16 | 32 | 64
    ];
    return new Uint8Array(Floats.from(numbers).buffer);
  }
  if (bits === 16) return new Uint8Array(Uint16Array.from(numbers).buffer);
  if (bits === 32) return new Uint8Array(Uint32Array.from(numbers).buffer);
  return packed(numbers, rows, bits);
}

/**
 * Packs numbers of any bit width, the highest bit first; rows are byte-aligned.
 */
function packed(numbers: number[], rows: number, bits: number): Uint8Array {
  const length = numbers.length / rows;
  const rowBytes = Math.ceil(length * bits / 8);
  const bytes = new Uint8Array(rowBytes * rows);
  for (const [i, number] of numbers.entries()) {
    const start = Math.floor(i / length) * rowBytes * 8 + i % length * bits;
    for (let bit = 0; bit < bits; bit++) {
      const at = start + bit;
      const isSet = number >> bits - 1 - bit & 1;
      bytes[at >> 3]! |= isSet << 7 - at % 8;
    }
  }
  return bytes;
}

/** PackBits with literal runs only. */
function packBits(bytes: Uint8Array): Uint8Array {
  const parts: number[] = [];
  for (let at = 0; at < bytes.length; at += 128) {
    const run = bytes.subarray(at, at + 128);
    parts.push(run.length - 1, ...run);
  }
  return Uint8Array.from(parts);
}

/** LZW before TIFF 5: the lowest bit first, here without any string. */
function oldLzw(bytes: Uint8Array): Uint8Array {
  const CLEAR = 256, END = 257, WIDTH = 9;
  const codes: number[] = [];
  for (const [i, byte] of bytes.entries()) {
    if (i % 200 === 0) codes.push(CLEAR); // before codes grow to 10 bits
    codes.push(byte);
  }
  codes.push(END);
  const out = new Uint8Array(Math.ceil(codes.length * WIDTH / 8));
  for (const [i, code] of codes.entries()) {
    for (let bit = 0; bit < WIDTH; bit++) {
      const at = i * WIDTH + bit;
      out[at >> 3]! |= (code >> bit & 1) << at % 8;
    }
  }
  return out;
}

function refused(): never {
  throw new TypeError("Give encode() for such pieces");
}
