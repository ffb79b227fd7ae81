/**
 * Types of the values in TIFF and BigTIFF files, and a reader of each.
 *
 * Formats: see directory.ts.
 *
 * @module
 */

type ReadValue = (view: DataView, at: number, little: boolean) => number;

export function readLong(view: DataView, at: number, little: boolean): number {
  return view.getUint32(at, little);
}

/** A 64-bit number; inexact from 2^53 on, which no file reaches. */
export function readBig(view: DataView, at: number, little: boolean): number {
  return Number(view.getBigUint64(at, little));
}

function readSignedLong(view: DataView, at: number, little: boolean): number {
  return view.getInt32(at, little);
}

/** Size and reader of a value, by the type number of the formats. */
export const TYPES: Record<number, { bytes: number; read: ReadValue }> = {
  1: { bytes: 1, read: (view, at) => view.getUint8(at) },
  2: { bytes: 1, read: (view, at) => view.getUint8(at) }, // ASCII
  3: { bytes: 2, read: (view, at, little) => view.getUint16(at, little) },
  4: { bytes: 4, read: readLong },
  5: { // rational
    bytes: 8,
    read: (view, at, little) =>
      readLong(view, at, little) / readLong(view, at + 4, little),
  },
  6: { bytes: 1, read: (view, at) => view.getInt8(at) },
  7: { bytes: 1, read: (view, at) => view.getUint8(at) }, // undefined
  8: { bytes: 2, read: (view, at, little) => view.getInt16(at, little) },
  9: { bytes: 4, read: readSignedLong },
  10: { // signed rational
    bytes: 8,
    read: (view, at, little) =>
      readSignedLong(view, at, little) / readSignedLong(view, at + 4, little),
  },
  11: { bytes: 4, read: (view, at, little) => view.getFloat32(at, little) },
  12: { bytes: 8, read: (view, at, little) => view.getFloat64(at, little) },
  13: { bytes: 4, read: readLong }, // IFD
  16: { bytes: 8, read: readBig },
  17: {
    bytes: 8,
    read: (view, at, little) => Number(view.getBigInt64(at, little)),
  },
  18: { bytes: 8, read: readBig }, // IFD8
};

/** Types whose values may be fractions: rationals and floating point. */
export const REAL_TYPES: ReadonlySet<number> = new Set([5, 10, 11, 12]);
