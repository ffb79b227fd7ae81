/**
 * Directories (IFDs) of TIFF and BigTIFF files, as bytes.
 *
 * Formats: TIFF 6.0, https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf
 * and BigTIFF, https://libtiff.gitlab.io/libtiff/specification/bigtiff.html
 *
 * @module
 */

/** Bytes reserved for a header: a BigTIFF's; a classic one has 8. */
export const HEADER_BYTES = 16;

/** Types of values, by the number the formats give them. */
export const TYPE = {
  ascii: 2,
  short: 3,
  long: 4,
  rational: 5,
  undefined: 7,
  double: 12,
  long8: 16,
} as const;

const BYTES_OF_TYPE: Record<number, number> = {
  [TYPE.ascii]: 1,
  [TYPE.short]: 2,
  [TYPE.long]: 4,
  [TYPE.rational]: 8,
  [TYPE.undefined]: 1,
  [TYPE.double]: 8,
  [TYPE.long8]: 8,
};

/** A value written with its directory; rationals are pairs. */
export interface ValueField {
  tag: number;
  type: number;
  values: readonly number[];
}

/** A table written to the file before its directory. */
export interface TableField {
  tag: number;
  type: number;
  count: number;
  /** Offset of the first value in the file. */
  at: number;
}

/** An entry of a directory. */
export type Field = ValueField | TableField;

/** The header of a file whose first directory is at byte `directory`. */
export function encodeHeader(directory: number, big: boolean): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, 0x4949); // "II", little-endian
  view.setUint16(2, big ? 43 : 42, true);
  if (big) {
    view.setUint16(4, 8, true); // bytes of an offset
    view.setBigUint64(8, BigInt(directory), true);
  } else {
    view.setUint32(4, directory, true);
  }
  return bytes;
}

/** Bytes of the values that fit into an entry. */
export function inlineBytes(big: boolean): number {
  return big ? 8 : 4;
}

/**
 * A directory to be written at byte `at`, followed by the values that do not
 * fit into it. The next directory is to follow it, unless this is the `last`.
 */
export function encodeDirectory(
  fields: readonly Field[],
  { at, big, last }: { at: number; big: boolean; last: boolean },
): Uint8Array {
  const sorted = fields.toSorted((a, b) => a.tag - b.tag);
  const entryBytes = big ? 20 : 12;
  const countBytes = big ? 8 : 2;
  const directoryBytes = countBytes + entryBytes * sorted.length +
    inlineBytes(big);
  const values = sorted.map((field) =>
    "values" in field ? encodeValues(field) : undefined
  );
  const places: number[] = [];
  let end = directoryBytes;
  for (const value of values) {
    places.push(end);
    if (value && value.length > inlineBytes(big)) end += padded(value.length);
  }
  const total = padded(end);
  const out = new Out(total, big);
  if (big) out.offset(sorted.length);
  else out.short(sorted.length);
  for (const [i, field] of sorted.entries()) {
    const value = values[i];
    out.short(field.tag);
    out.short(field.type);
    out.offset("count" in field ? field.count : countOf(field));
    if (value === undefined) out.offset((field as TableField).at);
    else if (value.length > inlineBytes(big)) {
      out.offset(at + places[i]!);
      out.bytes.set(value, places[i]!);
    } else out.inline(value);
  }
  out.offset(last ? 0 : at + total);
  return out.bytes;
}

/** Bytes of a table of offsets, as the formats store them. */
export function encodeTable(
  values: Float64Array | Uint32Array,
  type: number,
): Uint8Array {
  if (type === TYPE.long) {
    return new Uint8Array(Uint32Array.from(values).buffer);
  }
  return new Uint8Array(BigUint64Array.from(values, BigInt).buffer);
}

/** Bytes of `count` values of `type`. */
export function bytesOf(type: number, count: number): number {
  return BYTES_OF_TYPE[type]! * count;
}

/** `length` rounded up to a multiple of 8. */
function padded(length: number): number {
  return Math.ceil(length / 8) * 8;
}

function countOf({ type, values }: ValueField): number {
  return type === TYPE.rational ? values.length / 2 : values.length;
}

function encodeValues({ type, values }: ValueField): Uint8Array {
  switch (type) {
    case TYPE.ascii:
      return Uint8Array.from(values);
    case TYPE.short:
      return new Uint8Array(Uint16Array.from(values).buffer);
    case TYPE.double:
      return new Uint8Array(Float64Array.from(values).buffer);
    case TYPE.long8:
      return new Uint8Array(BigUint64Array.from(values, BigInt).buffer);
    default: // long, and the two longs of a rational
      return new Uint8Array(Uint32Array.from(values).buffer);
  }
}

/** Numbers written one after the other, little-endian. */
class Out {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  readonly #big: boolean;
  #at = 0;

  constructor(length: number, big: boolean) {
    this.bytes = new Uint8Array(length);
    this.#view = new DataView(this.bytes.buffer);
    this.#big = big;
  }

  short(value: number): void {
    this.#view.setUint16(this.#at, value, true);
    this.#at += 2;
  }

  /** A count or an offset: 8 bytes in a BigTIFF, 4 in a classic one. */
  offset(value: number): void {
    if (this.#big) this.#view.setBigUint64(this.#at, BigInt(value), true);
    else this.#view.setUint32(this.#at, value, true);
    this.#at += inlineBytes(this.#big);
  }

  /** Writes a value in the place of its offset. */
  inline(value: Uint8Array): void {
    this.bytes.set(value, this.#at);
    this.#at += inlineBytes(this.#big);
  }
}
