/**
 * Decodes the blocks of a TIFF to opaque RGBA. libjpeg-turbo and libwebp work
 * through sharp (without it JPEG in JavaScript), deflate and zstd through node:zlib, all in their own threads;
 * OpenJPEG is WebAssembly, LZW and PackBits are ours. Several JPEG or LZW tiles
 * are decoded faster together: blocks_together.ts.
 *
 * @module
 */
import { promisify } from "node:util";
import { inflate, zstdDecompress } from "node:zlib";
import { ImageError } from "../errors.ts";
import type { Size } from "./geometry.ts";
import { jpegPixels } from "./jpeg_decoder.ts";
import { decodeJpeg2000, type Interleaved } from "./jpeg2000.ts";
import { findLibvips, libvips } from "./libvips.ts";
import { decodeLzw } from "./lzw.ts";
import type { Pixels } from "./pyramid.ts";
import type { Colours, TiffPage } from "./tiff_page.ts";

const inflated = promisify(inflate);
const zstdDecompressed = promisify(zstdDecompress);

/**
 * The pixels of a block.
 *
 * @param encoded its bytes; with separate planes one array a sample.
 * @param size of what is stored: the last strip of an image is shorter.
 * @throws {ImageError} With the reason only.
 */
export async function decodeBlock(
  page: TiffPage,
  encoded: readonly Uint8Array[],
  size: Size,
): Promise<Pixels> {
  const planes = await Promise.all(
    encoded.map((bytes) => decodeSamples(page, bytes, size)),
  );
  const [first] = planes;
  const samples = page.planar ? interleave(planes) : first!;
  return { data: toRgba(page, samples, size), ...size };
}

/** 8-bit samples side by side: of all channels, or of one plane. */
async function decodeSamples(
  page: TiffPage,
  bytes: Uint8Array,
  size: Size,
): Promise<Interleaved> {
  switch (page.compression) {
    case "jpeg":
      return await decodeJpegBlock(wholeJpeg(page, bytes), size);
    case "webp":
      return await decodeWithSharp(bytes, size);
    case "jpeg2000":
    case "jpeg2000-ycbcr": {
      const picture = await decodeJpeg2000(
        bytes,
        page.block.width * page.block.height,
      );
      if (page.compression === "jpeg2000-ycbcr") ycbcrToRgb(picture);
      return cropTo(picture, size);
    }
    default: {
      const channels = page.planar ? 1 : page.samples;
      const data = await decompress(page, bytes, channels, size);
      return { data: toBytes(page, data, channels, size), channels, ...size };
    }
  }
}

/** The stored samples of a block, as bytes of the file's byte order. */
async function decompress(
  { compression, bits }: TiffPage,
  bytes: Uint8Array,
  channels: number,
  { width, height }: Size,
): Promise<Uint8Array> {
  const length = width * height * channels * bits / 8;
  const data = await expand(compression, bytes, length);
  if (data.length < length) {
    throw new ImageError(
      `it holds ${data.length} of ${length} bytes`,
    );
  }
  return data.subarray(0, length);
}

// What may follow the pixels of a block: a strip padded to its full height.
const SLACK_BYTES = 2 ** 20;

async function expand(
  compression: TiffPage["compression"],
  bytes: Uint8Array,
  length: number,
): Promise<Uint8Array> {
  const maxOutputLength = length + SLACK_BYTES;
  try {
    switch (compression) {
      case "none":
        return bytes.slice(0, length);
      case "lzw":
        return decodeLzw(bytes, length);
      case "packbits":
        return decodePackBits(bytes, length);
      case "deflate":
        return await inflated(bytes, { maxOutputLength });
      case "zstd":
        return await zstdDecompressed(bytes, { maxOutputLength });
    }
  } catch (cause) {
    throw new ImageError((cause as Error).message, { cause });
  }
  throw new TypeError(`Cannot expand ${compression}`);
}

/** Runs of bytes, and repeated bytes (TIFF 6.0, section 9). */
function decodePackBits(bytes: Uint8Array, maxBytes: number): Uint8Array {
  const out = new Uint8Array(maxBytes);
  let size = 0;
  for (let at = 0; at < bytes.length && size < maxBytes;) {
    const count = bytes[at++]!;
    if (count < 128) {
      const run = bytes.subarray(at, at + Math.min(count + 1, maxBytes - size));
      out.set(run, size);
      at += count + 1;
      size += run.length;
    } else if (count > 128) {
      const end = Math.min(size + 257 - count, maxBytes);
      out.fill(bytes[at++]!, size, end);
      size = end;
    }
  }
  return out.subarray(0, size);
}

/** Undoes the predictor, and takes the high bytes of 16-bit samples. */
function toBytes(
  { bits, predictor, directory }: TiffPage,
  data: Uint8Array,
  channels: number,
  { width, height }: Size,
): Uint8Array {
  const row = width * channels;
  if (bits === 8) {
    if (predictor) {
      for (let y = 0; y < height; y++) {
        const end = (y + 1) * row;
        for (let i = y * row + channels; i < end; i++) {
          data[i]! += data[i - channels]!;
        }
      }
    }
    return data;
  }
  const high = directory.file.littleEndian ? 1 : 0;
  const out = new Uint8Array(row * height);
  const left = new Uint16Array(channels); // wraps around, as the format has it
  for (let y = 0, i = 0; y < height; y++) {
    left.fill(0);
    for (let x = 0; x < row; x++, i++) {
      const value = data[2 * i + high]! << 8 | data[2 * i + 1 - high]!;
      const c = x % channels;
      left[c] = predictor ? left[c]! + value : value;
      out[i] = left[c]! >> 8;
    }
  }
  return out;
}

function interleave(planes: readonly Interleaved[]): Interleaved {
  const { width, height } = planes[0]!;
  const channels = planes.length;
  const data = new Uint8Array(width * height * channels);
  for (const [c, plane] of planes.entries()) {
    for (let i = 0, to = c; to < data.length; i++, to += channels) {
      data[to] = plane.data[i]!;
    }
  }
  return { data, width, height, channels };
}

/** Opaque RGBA: grey and palettes expanded, transparent pixels composited. */
function toRgba(
  { colours, alpha, backdrop }: TiffPage,
  { data, channels }: Interleaved,
  { width, height }: Size,
): Uint8Array<ArrayBuffer> {
  const own = colours.kind === "rgb" || colours.kind === "ycbcr" ? 3 : 1;
  if (channels < own) throw new ImageError(`it has ${channels} channels`);
  const pixels = new Uint32Array(width * height); // a pixel a number
  if (own === 3) {
    for (let i = 0, from = 0; i < pixels.length; i++, from += channels) {
      pixels[i] = OPAQUE | data[from + 2]! << 16 | data[from + 1]! << 8 |
        data[from]!;
    }
  } else {
    const table = colourTable(colours);
    for (let i = 0, from = 0; i < pixels.length; i++, from += channels) {
      pixels[i] = table[data[from]!]!;
    }
  }
  const out = new Uint8Array(pixels.buffer);
  if (alpha !== "none" && channels > own) {
    const behind = backdrop === "black" ? 0 : 255;
    composite(out, data, { channels, own, alpha, behind });
  }
  return out;
}

const OPAQUE = 0xff000000;

/** The opaque pixel of each value of one sample. */
function colourTable(colours: Colours): Uint32Array {
  return Uint32Array.from({ length: 256 }, (_, value) => {
    if (colours.kind === "palette") {
      const [red, green, blue] = colours.map.subarray(3 * value);
      return OPAQUE | blue! << 16 | green! << 8 | red!;
    }
    const isInverted = colours.kind === "grey" && colours.whiteIsZero;
    const grey = isInverted ? 255 - value : value;
    return OPAQUE | grey << 16 | grey << 8 | grey;
  });
}

/** Lays pixels over a grey, `behind`, by the channel after their own ones. */
function composite(
  out: Uint8Array,
  data: Uint8Array,
  { channels, own, alpha, behind }: {
    channels: number;
    own: number;
    alpha: TiffPage["alpha"];
    behind: number;
  },
): void {
  for (let from = own, to = 0; to < out.length; from += channels, to += 4) {
    const opacity = data[from]!;
    if (opacity === 255) continue;
    for (let c = to; c < to + 3; c++) {
      const value = alpha === "straight"
        ? Math.round(out[c]! * opacity / 255)
        : out[c]!;
      const shown = behind * (255 - opacity) / 255; // whole: 0 or all of it
      out[c] = Math.min(255, value + shown);
    }
  }
}

async function decodeJpegBlock(
  bytes: Uint8Array,
  size: Size,
): Promise<Interleaved> {
  if ((await findLibvips()).libvips) return await decodeWithSharp(bytes, size);
  return cropTo({ ...await jpegPixels(bytes), channels: 4 }, size);
}

/** A JPEG or WebP picture as it is stored, no colours converted beyond that. */
async function decodeWithSharp(
  bytes: Uint8Array,
  size: Size,
): Promise<Interleaved> {
  const sharp = await libvips();
  try {
    const { data, info } = await sharp(bytes, {
      failOn: "error",
      ignoreIcc: true,
      limitInputPixels: 2 * Math.max(size.width * size.height, 2 ** 16),
    }).raw().toBuffer({ resolveWithObject: true });
    const { width, height, channels } = info;
    return cropTo({ data, width, height, channels }, size);
  } catch (cause) {
    if (cause instanceof ImageError) throw cause;
    const [line] = (cause as Error).message.split("\n");
    throw new ImageError(line!, { cause });
  }
}

/** A JPEG that needs no tables of its file, and says what its colours are. */
function wholeJpeg(
  { jpegTables, colours }: TiffPage,
  bytes: Uint8Array,
): Uint8Array {
  const body = withoutMarkers(bytes.subarray(2)); // without start of image
  // Between start and end of image.
  const tables = jpegTables?.subarray(2, -2) ?? new Uint8Array(0);
  const kind = colours.kind === "ycbcr" ? 1 : 0;
  return joined([
    [0xff, 0xd8],
    [0xff, 0xee, 0, 14, ...ADOBE, 0, 100, 0, 0, 0, 0, kind], // APP14
    tables,
    body,
  ]);
}

function joined(parts: readonly ArrayLike<number>[]): Uint8Array {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

const ADOBE = new TextEncoder().encode("Adobe");

/** A JPEG from behind its start, without JFIF and Adobe segments in its head. */
function withoutMarkers(bytes: Uint8Array): Uint8Array {
  let at = 0;
  while (
    bytes[at] === 0xff && (bytes[at + 1] === 0xe0 || bytes[at + 1] === 0xee)
  ) {
    at += 2 + (bytes[at + 2]! << 8 | bytes[at + 3]!);
  }
  return bytes.subarray(at);
}

/** The upper left of a picture that may be larger than what is needed. */
function cropTo(picture: Interleaved, { width, height }: Size): Interleaved {
  const { data, channels } = picture;
  if (picture.width === width && picture.height === height) return picture;
  if (picture.width < width || picture.height < height) {
    throw new ImageError(
      `it has ${picture.width} x ${picture.height} px, not ${width} x ${height}`,
    );
  }
  const out = new Uint8Array(width * height * channels);
  for (let y = 0; y < height; y++) {
    const from = y * picture.width * channels;
    out.set(
      data.subarray(from, from + width * channels),
      y * width * channels,
    );
  }
  return { data: out, width, height, channels };
}

/** JFIF's conversion, in place. */
function ycbcrToRgb({ data, channels }: Interleaved): void {
  if (channels !== 3) return;
  const clamped = new Uint8ClampedArray(
    data.buffer,
    data.byteOffset,
    data.length,
  );
  for (let i = 0; i < data.length; i += 3) {
    const y = data[i]!, cb = data[i + 1]! - 128, cr = data[i + 2]! - 128;
    clamped[i] = y + 1.402 * cr;
    clamped[i + 1] = y - 0.344136 * cb - 0.714136 * cr;
    clamped[i + 2] = y + 1.772 * cb;
  }
}
