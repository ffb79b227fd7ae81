/**
 * Decodes PNGs if libvips does not load, to the same pixels: image-js 1.7
 * misreads rows of less than 8 bits a sample, and ignores transparency of grey
 * and RGB.
 *
 * Format: see png_chunks.ts.
 *
 * @module
 */
import { ImageError } from "../../errors.ts";
import { orientPixels } from "../pyramids/oriented.ts";
import {
  type CheckedPng,
  checkedPng,
  COLOURS,
  PALETTE,
  PngFault,
  pngHeader,
  type PngPass,
} from "./png_chunks.ts";
import {
  type Codec,
  type DecodedImage,
  type DecodeOptions,
  refuseTooLarge,
} from "../pyramids/raster.ts";

/** PNG in JavaScript. */
export const PNG: Codec = {
  sizeOf: (bytes) => told(() => pngHeader(bytes)),
  decode: decodePng,
};

/** @throws {ImageError} With the reason only. */
export function decodePng(
  bytes: Uint8Array,
  { maxPixels }: Pick<DecodeOptions, "maxPixels">,
): DecodedImage {
  return told(() => {
    refuseTooLarge(pngHeader(bytes), maxPixels);
    const png = checkedPng(bytes, Infinity);
    const { width, height } = png.header;
    const data = new Uint8Array(width * height * 4);
    const toRgba = rgbaOf(png);
    let at = 0;
    for (const pass of png.passes) {
      const end = at + pass.bytes * pass.rows;
      paint(png, pass, { rows: png.rows!.subarray(at, end), data, toRgba });
      at = end;
    }
    const stored = { data, width, height };
    const { orientation } = png;
    return {
      pixels: orientation === 1 ? stored : orientPixels(stored, orientation),
      warnings: conversions(png),
    };
  });
}

/** Turns a fault of the file into an error for the caller. */
function told<T>(read: () => T): T {
  try {
    return read();
  } catch (cause) {
    if (!(cause instanceof PngFault)) throw cause;
    throw new ImageError(cause.message, { cause });
  }
}

/** Puts the samples of a pixel, from index `i` of `samples`, at `to` of `out`. */
type ToRgba = (
  samples: Uint16Array,
  i: number,
  out: Uint8Array,
  to: number,
) => void;

/** Writes the pixels of a pass to their places in the image. */
function paint(
  { header }: CheckedPng,
  { x, y, stepX, stepY, columns, rows: count, bytes }: PngPass,
  { rows, data, toRgba }: {
    rows: Uint8Array;
    data: Uint8Array;
    toRgba: ToRgba;
  },
): void {
  const { bits, colours, width } = header;
  const { samples: channels } = COLOURS[colours]!;
  const step = Math.max(1, channels * bits / 8);
  let above: Uint8Array = new Uint8Array(bytes - 1);
  for (let row = 0; row < count; row++) {
    const filter = rows[row * bytes]!;
    const line = rows.subarray(row * bytes + 1, (row + 1) * bytes);
    unfilter(line, above, { filter, step });
    const samples = samplesOf(line, columns * channels, bits);
    let to = ((y + row * stepY) * width + x) * 4;
    for (let i = 0; i < samples.length; i += channels, to += stepX * 4) {
      toRgba(samples, i, data, to);
    }
    above = line;
  }
}

/** Undoes the filter of a row, in place (section 9.2). */
function unfilter(
  line: Uint8Array,
  above: Uint8Array,
  { filter, step }: { filter: number; step: number },
): void {
  if (filter === 0) return;
  for (let i = 0; i < line.length; i++) {
    const left = i < step ? 0 : line[i - step]!;
    const corner = i < step ? 0 : above[i - step]!;
    line[i]! += predicted(filter, left, above[i]!, corner);
  }
}

function predicted(
  filter: number,
  left: number,
  up: number,
  corner: number,
): number {
  switch (filter) {
    case 1:
      return left;
    case 2:
      return up;
    case 3:
      return left + up >> 1;
    default: { // Paeth: the one that is nearest to left + up - corner
      const byLeft = Math.abs(up - corner), byUp = Math.abs(left - corner);
      const byCorner = Math.abs(left + up - 2 * corner);
      if (byLeft <= byUp && byLeft <= byCorner) return left;
      return byUp <= byCorner ? up : corner;
    }
  }
}

/** The samples of a row as numbers of their own bits. */
function samplesOf(
  line: Uint8Array,
  count: number,
  bits: number,
): Uint16Array {
  const samples = new Uint16Array(count);
  if (bits === 8) samples.set(line.subarray(0, count));
  else if (bits === 16) {
    for (let i = 0; i < count; i++) {
      samples[i] = line[2 * i]! << 8 | line[2 * i + 1]!;
    }
  } else {
    const mask = 2 ** bits - 1;
    for (let i = 0; i < count; i++) {
      const bit = i * bits;
      samples[i] = line[bit >> 3]! >> (8 - bits - (bit & 7)) & mask;
    }
  }
  return samples;
}

/** Converter of samples to 8-bit RGBA. */
function rgbaOf({ header, palette, transparency }: CheckedPng): ToRgba {
  const { bits, colours } = header;
  if (colours === PALETTE) return ofPalette(palette!, transparency);
  const { samples } = COLOURS[colours]!;
  const toByte = (value: number) =>
    bits === 16 ? value >> 8 : value * 255 / (2 ** bits - 1);
  const own = samples < 3 ? 1 : 3;
  const key = transparency && samples === own
    ? Array.from(
      { length: own },
      (_, c) => transparency[2 * c]! << 8 | transparency[2 * c + 1]!,
    )
    : undefined;
  return (values, i, out, to) => {
    for (let c = 0; c < 3; c++) out[to + c] = toByte(values[i + c % own]!);
    const isKey = key?.every((value, c) => value === values[i + c]!) ?? false;
    const alpha = samples > own ? toByte(values[i + own]!) : 255;
    out[to + 3] = isKey ? 0 : alpha;
  };
}

/** An index outside of the palette is opaque black. */
function ofPalette(
  palette: Uint8Array,
  transparency: Uint8Array | undefined,
): ToRgba {
  return (values, i, out, to) => {
    const index = values[i]!;
    for (let c = 0; c < 3; c++) out[to + c] = palette[3 * index + c] ?? 0;
    out[to + 3] = transparency?.[index] ?? 255;
  };
}

/** Warnings, worded as by the other decoders. */
function conversions(
  { header, hasProfile, orientation }: CheckedPng,
): string[] {
  const { bits, colours } = header;
  const isGrey = COLOURS[colours]!.samples < 3 && colours !== PALETTE;
  return [
    ...colours === PALETTE ? ["palette expanded to RGB"] : [],
    ...isGrey ? ["grey expanded to RGB"] : [],
    ...hasProfile ? ["colour profile not applied"] : [],
    ...bits === 16 ? ["16-bit samples scaled to 8"] : [],
    ...orientation > 1 ? [`EXIF orientation ${orientation} applied`] : [],
  ];
}
