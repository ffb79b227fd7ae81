/**
 * Samples of a TIFF: their storage, and their conversion to 8 bits.
 *
 * Formats: TIFF 6.0, and Adobe Photoshop TIFF Technical Note 3 for the
 * predictor of floating point.
 *
 * @module
 */
import { ImageError } from "../../../errors.ts";
import type { TiffDirectory } from "../parser.ts";
import { TAG } from "../tags.ts";

/** The type of a page's numbers. */
export interface SampleType {
  bits: number;
  kind: "unsigned" | "signed" | "floating point";
  /**
   * The numbers shown as 0 and 255; undefined if the highest 8 bits are taken.
   */
  range: SampleRange | undefined;
}

/** Range of numbers that is shown. */
export interface SampleRange {
  min: number;
  max: number;
}

/** Transform applied before compression. */
export type Predictor = "none" | "horizontal" | "floating point";

/** Layout of the numbers in a row of a block. */
export interface RowLayout {
  /** Numbers in a row. */
  length: number;
  rows: number;
  /** Numbers of a pixel. */
  channels: number;
}

const KINDS: Record<number, SampleType["kind"]> = {
  1: "unsigned",
  2: "signed",
  3: "floating point",
  4: "unsigned", // "undefined": treated as the default, as in libtiff
};
const BITS: Record<SampleType["kind"], (bits: number) => boolean> = {
  unsigned: (bits) => bits >= 1 && bits <= 32 || bits === 64,
  signed: (bits) => [8, 16, 32, 64].includes(bits),
  "floating point": (bits) => [16, 32, 64].includes(bits),
};

/** @throws {ImageError} With the reason only. */
export async function readSampleType(
  directory: TiffDirectory,
  samples: number,
): Promise<SampleType> {
  const values = await directory.numbers(TAG.bitsPerSample);
  const allBits = values.slice(0, samples); // some writers have one too many
  const bits = allBits[0] ?? 1;
  const formats = (await directory.numbers(TAG.sampleFormat))
    .slice(0, samples);
  const format = formats[0] ?? 1;
  if (allBits.some((other) => other !== bits)) {
    throw new ImageError(
      `its samples have ${allBits.join(", ")} bits, not all the same`,
    );
  }
  const kind = KINDS[format];
  if (kind === undefined || formats.some((other) => other !== format)) {
    throw new ImageError(
      `its samples are of format ${
        formats.join(", ")
      }, not all integers or floating point`,
    );
  }
  if (!BITS[kind](bits)) {
    throw new ImageError(`samples of ${bits} bits (${kind}) are not supported`);
  }
  return { bits, kind, range: await readRange(directory, kind, bits) };
}

/**
 * Unsigned numbers up to 16 bits use their full range. For others the file may
 * state black and white; otherwise it is the range of their type, and 0 to 1
 * for floating point.
 */
async function readRange(
  directory: TiffDirectory,
  kind: SampleType["kind"],
  bits: number,
): Promise<SampleRange | undefined> {
  if (kind === "unsigned" && bits <= 16) return undefined;
  const min = await directory.number(TAG.sMinSampleValue, NaN);
  const max = await directory.number(TAG.sMaxSampleValue, NaN);
  if (min < max && Number.isFinite(max - min)) return { min, max };
  if (kind === "floating point") return { min: 0, max: 1 };
  return kind === "signed"
    ? { min: -(2 ** (bits - 1)), max: 2 ** (bits - 1) - 1 }
    : { min: 0, max: 2 ** bits - 1 };
}

/** @throws {ImageError} With the reason only. */
export async function readPredictor(
  directory: TiffDirectory,
  { bits, kind }: SampleType,
): Promise<Predictor> {
  const predictor = await directory.number(TAG.predictor, 1);
  if (predictor === 1) return "none";
  if (predictor === 2 && [8, 16, 32, 64].includes(bits)) return "horizontal";
  if (predictor === 3 && kind === "floating point") return "floating point";
  throw new ImageError(
    `predictor ${predictor} of ${bits}-bit samples (${kind}) is not supported`,
  );
}

/** Bytes of a row; rows are padded to whole bytes. */
export function bytesOfRow({ bits }: SampleType, length: number): number {
  return Math.ceil(length * bits / 8);
}

/** The 8-bit sample that shows `value`, clamped to the type's range. */
export function shownSample(type: SampleType, value: number): number {
  return toBytes(type, [value])[0]!;
}

type Numbers = ArrayLike<number>;

/**
 * The samples of rows as 8 bits.
 *
 * @param data consecutive rows, each padded to whole bytes; may be modified.
 * @param raw keeps numbers below 8 bits unscaled: indices.
 */
export function unpackSamples(
  data: Uint8Array,
  layout: RowLayout,
  { type, predictor, littleEndian, raw }: {
    type: SampleType;
    predictor: Predictor;
    littleEndian: boolean;
    raw: boolean;
  },
): Uint8Array {
  const { bits } = type;
  if (bits === 8 && type.kind === "unsigned") {
    if (predictor !== "none") addUp(data, layout);
    return data;
  }
  if (![8, 16, 32, 64].includes(bits)) {
    // libtiff, and so GDAL, puts the lowest byte first in a big-endian file.
    if (bits === 24 && !littleEndian) swap(data, 3);
    const numbers = unpackBits(data, bits, layout);
    return raw ? Uint8Array.from(numbers) : toBytes(type, numbers);
  }
  const bytes = bits / 8;
  if (predictor === "floating point") joinBytes(data, bytes, layout);
  else if (!littleEndian) swap(data, bytes);
  if (predictor === "horizontal") addUp(unsigned(data, bits), layout);
  return toBytes(type, numbersOf(data, type));
}

/** Adds to each number the one on its left, with wraparound. */
function addUp(
  numbers: Uint8Array | Uint16Array | Uint32Array | BigUint64Array,
  { length, rows, channels }: RowLayout,
): void {
  if (numbers instanceof BigUint64Array) {
    for (let i = channels; i < length * rows; i++) {
      if (i % length >= channels) numbers[i]! += numbers[i - channels]!;
    }
    return;
  }
  for (let y = 0; y < rows; y++) {
    const end = (y + 1) * length;
    for (let i = y * length + channels; i < end; i++) {
      numbers[i]! += numbers[i - channels]!;
    }
  }
}

/** Undoes the floating-point predictor: rows become little-endian numbers. */
function joinBytes(
  data: Uint8Array,
  bytes: number,
  { length, rows, channels }: RowLayout,
): void {
  const rowBytes = length * bytes;
  addUp(data, { length: rowBytes, rows, channels });
  const row = new Uint8Array(rowBytes);
  for (let start = 0; start < rows * rowBytes; start += rowBytes) {
    row.set(data.subarray(start, start + rowBytes)); // all highest bytes first
    for (let i = 0, to = start; i < length; i++) {
      for (let b = bytes - 1; b >= 0; b--) data[to++] = row[b * length + i]!;
    }
  }
}

/** Reverses the bytes of each number. */
function swap(data: Uint8Array, bytes: number): void {
  for (let start = 0; start + bytes <= data.length; start += bytes) {
    for (let a = start, b = start + bytes - 1; a < b; a++, b--) {
      const first = data[a]!;
      data[a] = data[b]!;
      data[b] = first;
    }
  }
}

function unsigned(data: Uint8Array, bits: number) {
  const { buffer, byteOffset, byteLength } = data;
  if (bits === 16) return new Uint16Array(buffer, byteOffset, byteLength / 2);
  if (bits === 32) return new Uint32Array(buffer, byteOffset, byteLength / 4);
  if (bits === 64) {
    return new BigUint64Array(buffer, byteOffset, byteLength / 8);
  }
  return data;
}

/** Little-endian bytes as numbers. */
function numbersOf(data: Uint8Array, { bits, kind }: SampleType): Numbers {
  const { buffer, byteOffset, byteLength } = data;
  const count = byteLength * 8 / bits;
  if (kind === "floating point") {
    if (bits === 64) return new Float64Array(buffer, byteOffset, count);
    if (bits === 32) return new Float32Array(buffer, byteOffset, count);
    return new Float16Array(buffer, byteOffset, count);
  }
  if (bits === 64) {
    const long = kind === "signed"
      ? new BigInt64Array(buffer, byteOffset, count)
      : new BigUint64Array(buffer, byteOffset, count);
    return Float64Array.from(long as Iterable<bigint>, Number);
  }
  if (kind === "unsigned") return unsigned(data, bits) as Numbers;
  if (bits === 32) return new Int32Array(buffer, byteOffset, count);
  if (bits === 16) return new Int16Array(buffer, byteOffset, count);
  return new Int8Array(buffer, byteOffset, count);
}

/**
 * Unpacks numbers of any bit width, the highest bit first; rows are
 * byte-aligned.
 */
function unpackBits(
  data: Uint8Array,
  bits: number,
  { length, rows }: RowLayout,
): Uint32Array {
  const out = new Uint32Array(length * rows);
  const rowBytes = Math.ceil(length * bits / 8);
  for (let y = 0, to = 0; y < rows; y++) {
    let at = y * rowBytes;
    let held = 0, count = 0; // bits left of the byte before
    for (let x = 0; x < length; x++) {
      let value = 0;
      for (let wanted = bits; wanted > 0;) {
        if (count === 0) {
          held = data[at++]!;
          count = 8;
        }
        const taken = Math.min(wanted, count);
        count -= taken;
        wanted -= taken;
        value = value * 2 ** taken + (held >> count & (1 << taken) - 1);
      }
      out[to++] = value;
    }
  }
  return out;
}

/** Scales numbers of a type to 8 bits. */
function toBytes({ bits, range }: SampleType, numbers: Numbers): Uint8Array {
  const out = new Uint8ClampedArray(numbers.length);
  if (range === undefined && numbers instanceof Uint16Array) { // the fast way
    for (let i = 0; i < out.length; i++) out[i] = numbers[i]! >> bits - 8;
  } else if (range === undefined) {
    // Below 8 bits values are spread over 0 to 255; above, the highest 8 bits
    // are taken.
    const factor = bits < 8 ? 255 / (2 ** bits - 1) : 2 ** (8 - bits);
    const round = bits < 8 ? Math.round : Math.floor;
    for (let i = 0; i < out.length; i++) out[i] = round(numbers[i]! * factor);
  } else {
    const { min, max } = range;
    const factor = 255 / (max - min);
    for (let i = 0; i < out.length; i++) {
      out[i] = (numbers[i]! - min) * factor; // rounds, and NaN is 0
    }
  }
  return new Uint8Array(out.buffer);
}
