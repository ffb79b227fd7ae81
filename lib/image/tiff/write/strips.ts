/**
 * Raw pixels as a TIFF: a header, then the pixels unchanged. Nothing is decoded
 * or held, so they may be streamed.
 *
 * Format: TIFF 6.0, section 6 (RGB, uncompressed, in strips).
 *
 * @module
 */
import type { Size } from "../../geometry.ts";
import {
  bytesOf,
  encodeDirectory,
  encodeHeader,
  encodeTable,
  type Field,
  HEADER_BYTES,
  TYPE,
} from "../directory.ts";

// Readers fetch whole strips, so strips should be small.
const STRIP_BYTES = 2 ** 16;

/** Bytes of a pixel: 8 bits each of red, green and blue. */
export const RGB_BYTES = 3;

/**
 * The bytes before the pixels of a TIFF of 8-bit RGB. The pixels follow row
 * by row, `RGB_BYTES` each, without padding.
 *
 * @throws {RangeError} If the file would exceed the 4 GiB of a classic TIFF.
 */
export function rgbTiffHeader({ width, height }: Size): Uint8Array {
  const rowBytes = width * RGB_BYTES;
  const rows = Math.min(
    height,
    Math.max(1, Math.floor(STRIP_BYTES / rowBytes)),
  );
  const strips = Math.ceil(height / rows);
  const tableBytes = bytesOf(TYPE.long, strips);
  // Single values are in their entries; two tables follow the header.
  const tables = strips === 1 ? 0 : 2 * tableBytes;
  const at = Math.ceil((HEADER_BYTES + tables) / 8) * 8;
  const directory = (offsets: Uint32Array, counts: Uint32Array) =>
    encodeDirectory([
      ...rgbFields({ width, height }, rows),
      table(273, offsets, HEADER_BYTES),
      table(279, counts, HEADER_BYTES + tableBytes),
    ], { at, big: false, last: true });
  const counts = Uint32Array.from(
    { length: strips },
    (_, i) => Math.min(rows, height - i * rows) * rowBytes,
  );
  const bytes = at + directory(counts, counts).length; // offsets change no size
  if (bytes + height * rowBytes >= 2 ** 32) {
    throw new RangeError(
      `Cannot write ${width} x ${height} px as a classic TIFF: it would exceed 4 GiB`,
    );
  }
  const offsets = counts.map((_, i) => bytes + i * rows * rowBytes);
  const file = new Uint8Array(bytes);
  file.set(encodeHeader(at, false));
  if (strips > 1) {
    file.set(encodeTable(offsets, TYPE.long), HEADER_BYTES);
    file.set(encodeTable(counts, TYPE.long), HEADER_BYTES + tableBytes);
  }
  file.set(directory(offsets, counts), at);
  return file;
}

function rgbFields({ width, height }: Size, rows: number): Field[] {
  const { short, long } = TYPE;
  return [
    { tag: 256, type: long, values: [width] },
    { tag: 257, type: long, values: [height] },
    { tag: 258, type: short, values: [8, 8, 8] }, // bits a sample
    { tag: 259, type: short, values: [1] }, // uncompressed
    { tag: 262, type: short, values: [2] }, // RGB
    { tag: 277, type: short, values: [RGB_BYTES] }, // samples a pixel
    { tag: 278, type: long, values: [rows] },
    { tag: 284, type: short, values: [1] }, // samples stand side by side
  ];
}

function table(tag: number, values: Uint32Array, at: number): Field {
  const type = TYPE.long;
  return values.length === 1
    ? { tag, type, values: [values[0]!] }
    : { tag, type, count: values.length, at };
}
