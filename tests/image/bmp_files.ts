/**
 * BMP files for the tests, field by field.
 *
 * @module
 */

/** Content of a file. */
export interface Bmp {
  width: number;
  height: number;
  bits: number;
  /** Rows as stored: from the bottom unless height < 0, padded to 4 bytes. */
  rows: number[];
  compression?: number;
  /** Bit fields. */
  masks?: number[];
  /** Blue, green, red, 0 of each entry. */
  palette?: number[];
  used?: number;
}

/** A file with the 40-byte header of Windows 3. */
export function bmpFile(
  {
    width,
    height,
    bits,
    rows,
    compression = 0,
    masks = [],
    palette = [],
    used,
  }: Bmp,
): Uint8Array {
  const pixelsAt = 54 + masks.length * 4 + palette.length;
  const view = new DataView(new ArrayBuffer(pixelsAt + rows.length));
  view.setUint16(0, 0x424d); // "BM"
  view.setUint32(10, pixelsAt, true);
  view.setUint32(14, 40, true);
  view.setInt32(18, width, true);
  view.setInt32(22, height, true);
  view.setUint16(28, bits, true);
  view.setUint32(30, compression, true);
  view.setUint32(46, used ?? palette.length / 4, true);
  masks.forEach((mask, i) => view.setUint32(54 + 4 * i, mask, true));
  const bytes = new Uint8Array(view.buffer);
  bytes.set(palette, 54 + masks.length * 4);
  bytes.set(rows, pixelsAt);
  return bytes;
}
