/**
 * YCbCr of a TIFF that no image decoder converts: its storage, and its
 * conversion to RGB.
 *
 * Format: TIFF 6.0, sections 20 and 21.
 *
 * @module
 */
import { ImageError } from "../../../errors.ts";
import type { MapSize, Size } from "../../geometry.ts";
import type { Interleaved } from "./jpeg2000.ts";
import type { TiffDirectory } from "../parser.ts";
import { TAG } from "../tags.ts";

/** Storage of YCbCr, and its conversion to RGB. */
export interface YcbcrRules {
  /** Rows and columns of pixels that share their chroma. */
  shared: MapSize;
  /** Weights of red, green and blue in luma. */
  weights: readonly [number, number, number];
  /** Reference black and white of Y, Cb and Cr. */
  reference: readonly number[];
}

/** JFIF's rules: libjpeg applies them, whatever a file says. */
export const JFIF_RULES: YcbcrRules = {
  shared: { rows: 1, columns: 1 },
  weights: [0.299, 0.587, 0.114],
  reference: [0, 255, 128, 255, 128, 255],
};

/** @throws {ImageError} With the reason only. */
export async function readYcbcrRules(
  directory: TiffDirectory,
): Promise<YcbcrRules> {
  const [columns = 2, rows = 2] = await directory.numbers(TAG.subsampling);
  const weights = await directory.numbers(TAG.ycbcrCoefficients);
  const reference = await directory.numbers(TAG.referenceBlackWhite);
  if (![1, 2, 4].includes(columns) || ![1, 2, 4].includes(rows)) {
    throw new ImageError(`YCbCr in ${columns} x ${rows} px is not supported`);
  }
  return {
    shared: { rows, columns },
    weights: weights.length === 3 && weights.every((weight) => weight > 0)
      ? weights as [number, number, number]
      : JFIF_RULES.weights,
    reference: reference.length === 6 && reference.every(Number.isFinite)
      ? reference
      : JFIF_RULES.reference,
  };
}

/** Y, Cb and Cr of each pixel to red, green and blue, in place. */
export function ycbcrToRgb(
  { data, channels }: Interleaved,
  { weights, reference }: YcbcrRules,
): void {
  if (channels < 3) return;
  const { buffer, byteOffset, length } = data;
  const clamped = new Uint8ClampedArray(buffer, byteOffset, length);
  const [red, green, blue] = weights;
  const [black, white, noCb, fullCb, noCr, fullCr] = reference;
  const scaleY = 255 / (white! - black! || 1);
  const scaleCb = 127 / (fullCb! - noCb! || 1);
  const scaleCr = 127 / (fullCr! - noCr! || 1);
  for (let i = 0; i < length; i += channels) {
    const y = (data[i]! - black!) * scaleY;
    const cb = (data[i + 1]! - noCb!) * scaleCb * (2 - 2 * blue);
    const cr = (data[i + 2]! - noCr!) * scaleCr * (2 - 2 * red);
    clamped[i] = y + cr;
    clamped[i + 1] = y - (blue * cb + red * cr) / green;
    clamped[i + 2] = y + cb;
  }
}

/** Bytes of YCbCr with subsampled chroma. */
export function ycbcrBytes(
  { width, height }: Size,
  { shared }: YcbcrRules,
): number {
  return Math.ceil(width / shared.columns) * Math.ceil(height / shared.rows) *
    (shared.columns * shared.rows + 2);
}

/**
 * Expands subsampled YCbCr to Y, Cb and Cr of each pixel. Stored are units:
 * their Y row by row, then Cb and Cr.
 */
export function spreadYcbcr(
  units: Uint8Array,
  { width, height }: Size,
  { shared: { rows, columns } }: YcbcrRules,
): Uint8Array {
  const data = new Uint8Array(width * height * 3);
  const across = Math.ceil(width / columns);
  const unitBytes = rows * columns + 2;
  for (let y = 0, to = 0; y < height; y++) {
    const unitRow = Math.floor(y / rows) * across;
    for (let x = 0; x < width; x++, to += 3) {
      const unit = (unitRow + Math.floor(x / columns)) * unitBytes;
      data[to] = units[unit + y % rows * columns + x % columns]!;
      data[to + 1] = units[unit + unitBytes - 2]!;
      data[to + 2] = units[unit + unitBytes - 1]!;
    }
  }
  return data;
}
