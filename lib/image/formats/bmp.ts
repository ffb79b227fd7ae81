/**
 * BMP, uncompressed: 1, 2, 4, 8 bits with a palette, 16, 24 and 32 bits with or
 * without bit fields, bottom-up or top-down.
 *
 * Our own, because sharp's libvips has no BMP and image-js's decoder takes
 * palette indices for grey, supports neither top-down rows nor 4 or 16 bits,
 * and allocates whatever a hostile header claims.
 *
 * Format: https://learn.microsoft.com/windows/win32/gdi/bitmap-header-types
 *
 * @module
 */
import { ImageError } from "../../errors.ts";
import type { Size } from "../geometry.ts";
import {
  type Codec,
  type DecodedImage,
  type DecodeOptions,
  refuseTooLarge,
} from "../pyramids/raster.ts";

/** Position of a sample in the 16 or 32 bits of a pixel. */
interface Field {
  shift: number;
  /** Maximum value; 0 if the pixel has no such sample. */
  max: number;
}

interface Header extends Size {
  topDown: boolean;
  bitsPerPixel: number;
  /** Red, green, blue, alpha; of 16 and 32-bit pixels. */
  fields: readonly Field[];
  /** Colours of pixels of up to 8 bits, RGBA packed like the output. */
  palette: Uint32Array;
  /** Offset of the first row in the file. */
  pixelsAt: number;
}

const FILE_HEADER_BYTES = 14;
const CORE_HEADER_BYTES = 12; // OS/2 1.x and Windows 2: 16-bit sizes
const INFO_HEADER_BYTES = 40; // Windows 3: everything up to the bit fields
const V3_HEADER_BYTES = 56; // adds an alpha field
const OS2_HEADER_BYTES = [16, 64]; // OS/2 2.x: other compressions, same numbers

const COMPRESSION = [
  "none",
  "RLE8",
  "RLE4",
  "bit fields",
  "JPEG",
  "PNG",
  "bit fields with alpha",
];
const BIT_FIELDS = 3;
const ALPHA_BIT_FIELDS = 6;

const OPAQUE = 0xff000000; // alpha is the last byte of a pixel, and the CPU little-endian

/** BMP, of all kinds but compressed ones. */
export const BMP: Codec = {
  sizeOf: (bytes) => readHeader(viewOf(bytes)),
  decode: decodeBmp,
};

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/**
 * Decodes a BMP file.
 *
 * @throws {ImageError} With the reason only: the caller knows the file.
 */
export function decodeBmp(
  bytes: Uint8Array,
  { maxPixels }: DecodeOptions,
): DecodedImage {
  const view = viewOf(bytes);
  const header = readHeader(view);
  refuseTooLarge(header, maxPixels);
  const { width, height, bitsPerPixel } = header;
  const rowBytes = Math.ceil((width * bitsPerPixel) / 32) * 4;
  const end = header.pixelsAt + rowBytes * height;
  // The last row's padding is often missing.
  const padding = rowBytes - Math.ceil((width * bitsPerPixel) / 8);
  if (end - padding > bytes.length) {
    throw new ImageError(
      `it is truncated: ${width} x ${height} px of ${bitsPerPixel} bits end at byte ${end}, the file at ${bytes.length}`,
    );
  }

  const pixels = new Uint32Array(width * height);
  const readRow = rowReader(view, header);
  for (let row = 0; row < height; row++) {
    const from = header.topDown ? row : height - 1 - row;
    readRow(
      header.pixelsAt + from * rowBytes,
      pixels.subarray(row * width, (row + 1) * width),
    );
  }
  if (header.fields[3]?.max) makeOpaqueIfBlank(pixels);
  return {
    pixels: { data: new Uint8Array(pixels.buffer), width, height },
    warnings: bitsPerPixel <= 8 ? ["palette expanded to RGB"] : [],
  };
}

/** Alpha that is 0 everywhere was never filled in: such images are opaque. */
function makeOpaqueIfBlank(pixels: Uint32Array): void {
  if (pixels.some((pixel) => pixel >= 2 ** 24)) return;
  for (let i = 0; i < pixels.length; i++) pixels[i]! |= OPAQUE;
}

function readHeader(view: DataView): Header {
  const headerBytes = view.byteLength < 18 ? 0 : view.getUint32(14, true);
  const isKnown = headerBytes === CORE_HEADER_BYTES ||
    headerBytes >= INFO_HEADER_BYTES || OS2_HEADER_BYTES.includes(headerBytes);
  if (!isKnown || view.byteLength < FILE_HEADER_BYTES + headerBytes) {
    throw new ImageError("its header is damaged or truncated");
  }
  const header = headerBytes === CORE_HEADER_BYTES
    ? readCoreHeader(view)
    : readInfoHeader(view, headerBytes);
  const { width, height, bitsPerPixel } = header;
  if (width < 1 || height < 1) {
    throw new ImageError(`its header says ${width} x ${height} px`);
  }
  if (![1, 2, 4, 8, 16, 24, 32].includes(bitsPerPixel)) {
    throw new ImageError(`${bitsPerPixel} bits a pixel are not supported`);
  }
  return header;
}

function readCoreHeader(view: DataView): Header {
  const bitsPerPixel = view.getUint16(24, true);
  return {
    width: view.getUint16(18, true),
    height: view.getUint16(20, true),
    topDown: false,
    bitsPerPixel,
    fields: defaultFields(bitsPerPixel),
    palette: readPalette(view, {
      at: FILE_HEADER_BYTES + CORE_HEADER_BYTES,
      entryBytes: 3,
      bitsPerPixel,
      used: 0,
    }),
    pixelsAt: view.getUint32(10, true),
  };
}

function readInfoHeader(view: DataView, headerBytes: number): Header {
  const isShort = headerBytes < INFO_HEADER_BYTES; // ends after bits a pixel
  const height = view.getInt32(22, true);
  const bitsPerPixel = view.getUint16(28, true);
  const compression = isShort ? 0 : view.getUint32(30, true);
  const isOs2 = OS2_HEADER_BYTES.includes(headerBytes);
  refuseCompressed(compression, bitsPerPixel, isOs2);
  // Bit fields follow a 40-byte header; they are not part of it.
  const fieldBytes = headerBytes > INFO_HEADER_BYTES
    ? 0
    : { [BIT_FIELDS]: 12, [ALPHA_BIT_FIELDS]: 16 }[compression] ?? 0;
  return {
    width: view.getInt32(18, true),
    height: Math.abs(height),
    topDown: height < 0,
    bitsPerPixel,
    fields: compression === 0
      ? defaultFields(bitsPerPixel)
      : readFields(view, headerBytes + fieldBytes),
    palette: readPalette(view, {
      at: FILE_HEADER_BYTES + headerBytes + fieldBytes,
      entryBytes: 4,
      bitsPerPixel,
      used: isShort ? 0 : view.getUint32(46, true),
    }),
    pixelsAt: view.getUint32(10, true),
  };
}

function refuseCompressed(
  compression: number,
  bitsPerPixel: number,
  isOs2: boolean,
): void {
  if (compression === 0) return;
  const isFields = compression === BIT_FIELDS ||
    compression === ALPHA_BIT_FIELDS;
  if (isFields && !isOs2 && (bitsPerPixel === 16 || bitsPerPixel === 32)) {
    return;
  }
  const name = isOs2 ? undefined : COMPRESSION[compression];
  throw new ImageError(
    `compression ${
      name ?? `number ${compression}`
    } of ${bitsPerPixel}-bit pixels is not supported, only uncompressed BMP`,
  );
}

/** Default fields: 5-5-5 and 8-8-8, no alpha. */
function defaultFields(bitsPerPixel: number): Field[] {
  const masks = bitsPerPixel === 16
    ? [0x7c00, 0x03e0, 0x001f]
    : [0xff0000, 0x00ff00, 0x0000ff];
  return masks.map(toField);
}

/** @param length bytes of the header and of the fields behind it. */
function readFields(view: DataView, length: number): Field[] {
  const count = length >= V3_HEADER_BYTES ? 4 : 3;
  const at = FILE_HEADER_BYTES + INFO_HEADER_BYTES;
  if (view.byteLength < at + 4 * count) {
    throw new ImageError("its bit fields are truncated");
  }
  return Array.from(
    { length: count },
    (_, i) => toField(view.getUint32(at + 4 * i, true)),
  );
}

function toField(mask: number): Field {
  if (mask === 0) return { shift: 0, max: 0 };
  const shift = 31 - Math.clz32(mask & -mask);
  const max = mask >>> shift;
  if ((max & (max + 1)) !== 0) {
    throw new ImageError(
      `its bit field 0x${mask.toString(16)} is not contiguous`,
    );
  }
  return { shift, max };
}

/** The palette; missing entries are black. */
function readPalette(
  view: DataView,
  { at, entryBytes, bitsPerPixel, used }: {
    at: number;
    entryBytes: number;
    bitsPerPixel: number;
    used: number;
  },
): Uint32Array {
  if (bitsPerPixel > 8) return new Uint32Array(0);
  const size = 2 ** bitsPerPixel;
  const palette = new Uint32Array(size).fill(OPAQUE);
  const end = Math.min(view.getUint32(10, true), view.byteLength);
  const present = Math.max(0, Math.floor((end - at) / entryBytes));
  const count = Math.min(size, used || size, present);
  for (let i = 0; i < count; i++) {
    const entry = at + i * entryBytes; // blue, green, red
    palette[i] = OPAQUE | view.getUint8(entry) << 16 |
      view.getUint8(entry + 1) << 8 | view.getUint8(entry + 2);
  }
  return palette;
}

/** Reads the row that starts at byte `at` into `out`, one RGBA pixel a number. */
type ReadRow = (at: number, out: Uint32Array) => void;

function rowReader(view: DataView, header: Header): ReadRow {
  const { bitsPerPixel } = header;
  if (bitsPerPixel <= 8) return paletteRowReader(view, header);
  if (bitsPerPixel === 24) return rgbRowReader(view);
  return fieldRowReader(view, header);
}

function paletteRowReader(
  view: DataView,
  { bitsPerPixel, palette }: Header,
): ReadRow {
  const mask = 2 ** bitsPerPixel - 1;
  return (at, out) => {
    for (let x = 0; x < out.length; x++) {
      const bit = x * bitsPerPixel; // the leftmost pixel is in the highest bits
      const shift = 8 - bitsPerPixel - (bit & 7);
      out[x] = palette[view.getUint8(at + (bit >> 3)) >> shift & mask]!;
    }
  };
}

function rgbRowReader(view: DataView): ReadRow {
  return (at, out) => {
    for (let x = 0, i = at; x < out.length; x++, i += 3) { // blue, green, red
      out[x] = OPAQUE | view.getUint8(i) << 16 | view.getUint8(i + 1) << 8 |
        view.getUint8(i + 2);
    }
  };
}

function fieldRowReader(
  view: DataView,
  { bitsPerPixel, fields }: Header,
): ReadRow {
  const bytes = bitsPerPixel / 8;
  const hasAlpha = (fields[3]?.max ?? 0) > 0;
  const samples = hasAlpha ? fields : fields.slice(0, 3);
  return (at, out) => {
    for (let x = 0; x < out.length; x++) {
      const packed = bytes === 2
        ? view.getUint16(at + 2 * x, true)
        : view.getUint32(at + 4 * x, true);
      let pixel = hasAlpha ? 0 : OPAQUE;
      for (let c = 0; c < samples.length; c++) {
        pixel |= toByte(packed, samples[c]!) << (8 * c);
      }
      out[x] = pixel;
    }
  };
}

function toByte(packed: number, { shift, max }: Field): number {
  if (max === 0) return 0;
  const sample = (packed >>> shift & max) >>> 0;
  return max === 255 ? sample : Math.round((sample * 255) / max);
}
