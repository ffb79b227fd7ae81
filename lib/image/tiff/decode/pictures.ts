/**
 * Pieces of a TIFF that are complete images: JPEG and WebP, decoded by
 * libjpeg-turbo and libwebp through sharp (without it, JPEG in JavaScript), and
 * JPEG 2000.
 *
 * @module
 */
import type { Sharp } from "sharp";
import { ImageError } from "../../../errors.ts";
import type { Size } from "../../geometry.ts";
import { jpegPixels } from "../../formats/jpeg_decoder.ts";
import { decodeJpeg2000, type Interleaved } from "./jpeg2000.ts";
import { findLibvips, libvips } from "../../formats/libvips.ts";
import type { Pixels } from "../../pyramid.ts";
import type { TiffPage } from "../page.ts";
import { JFIF_RULES, ycbcrToRgb } from "./ycbcr.ts";

/** The facts of a page that its pictures are decoded by. */
export type PicturePage = Pick<
  TiffPage,
  "compression" | "planar" | "samples" | "colours" | "jpegTables"
>;

/** Required size of a piece. */
export interface PieceSize {
  /** Size of the piece as stored, px. */
  size: Size;
  /** Size of its part inside the image. */
  inside: Size;
}

/** The pieces of the page are complete images. */
export function isPicture({ compression }: TiffPage): boolean {
  return compression === "jpeg" || compression === "webp" ||
    compression.startsWith("jpeg2000");
}

/**
 * The samples of a piece, 8 bits each: RGB if it declares YCbCr, or is a JPEG
 * of three channels.
 *
 * @throws {ImageError} With the reason only.
 */
export async function decodePicture(
  page: PicturePage,
  bytes: Uint8Array,
  piece: PieceSize,
): Promise<Interleaved> {
  const channels = page.planar ? 1 : page.samples;
  const picture = await decodeWhole(page, bytes, {
    channels,
    size: piece.size,
  });
  refuseOtherChannels(picture.channels, channels);
  return fitTo(picture, piece);
}

async function decodeWhole(
  page: PicturePage,
  bytes: Uint8Array,
  { channels, size }: { channels: number; size: Size },
): Promise<Interleaved> {
  switch (page.compression) {
    case "jpeg":
      refuseOtherChannels(jpegFrame(bytes)?.channels ?? 0, channels);
      return await decodeJpeg(wholeJpeg(page, bytes), channels, size);
    case "webp": // one without transparent pixels has no alpha
      return await decodeWithSharp(
        bytes,
        size,
        (image) => channels === 4 ? image.ensureAlpha() : image.removeAlpha(),
      );
    default: {
      const picture = await decodeJpeg2000(bytes, size.width * size.height);
      if (page.compression === "jpeg2000-ycbcr") {
        ycbcrToRgb(picture, JFIF_RULES);
      }
      return picture;
    }
  }
}

function refuseOtherChannels(found: number, wanted: number): void {
  if (found !== wanted) {
    throw new ImageError(`it has ${found} channels, not ${wanted}`);
  }
}

/** Channels as stored: libvips takes one for grey, and four for inverted inks. */
async function decodeJpeg(
  bytes: Uint8Array,
  channels: number,
  size: Size,
): Promise<Interleaved> {
  if (!(await findLibvips()).libvips) {
    return withChannels(await jpegPixels(bytes), channels);
  }
  if (channels !== 4) {
    return await decodeWithSharp(
      bytes,
      size,
      (image) => channels === 1 ? image.toColourspace("b-w") : image,
    );
  }
  const picture = await decodeWithSharp(
    bytes,
    size,
    (image) => image.pipelineColourspace("cmyk").toColourspace("cmyk"),
  );
  return { ...picture, data: picture.data.map((value) => 255 - value) };
}

/** The first channels of RGBA. */
function withChannels(
  { data, width, height }: Pixels,
  channels: number,
): Interleaved {
  const out = new Uint8Array(width * height * channels);
  for (let from = 0, to = 0; to < out.length; from += 4, to += channels) {
    out.set(data.subarray(from, from + channels), to);
  }
  return { data: out, width, height, channels };
}

async function decodeWithSharp(
  bytes: Uint8Array,
  size: Size,
  prepare: (image: Sharp) => Sharp,
): Promise<Interleaved> {
  const sharp = await libvips();
  try {
    const image = sharp(bytes, {
      failOn: "error",
      ignoreIcc: true,
      limitInputPixels: 2 * Math.max(size.width * size.height, 2 ** 16),
    });
    const { data, info } = await prepare(image).raw()
      .toBuffer({ resolveWithObject: true });
    const { width, height, channels } = info;
    return { data, width, height, channels };
  } catch (cause) {
    const [line] = (cause as Error).message.split("\n");
    throw new ImageError(line!, { cause });
  }
}

/** The frame header of a JPEG (ITU T.81, B.2.2); undefined if it has none. */
export function jpegFrame(
  bytes: Uint8Array,
): Size & { channels: number } | undefined {
  const short = (at: number) => bytes[at]! << 8 | bytes[at + 1]!;
  for (let at = 2; at + 9 < bytes.length && bytes[at] === 0xff;) {
    const marker = bytes[at + 1]!;
    const isFrame = marker >= 0xc0 && marker <= 0xcf &&
      ![0xc4, 0xc8, 0xcc].includes(marker); // those are tables
    if (isFrame) {
      const [height, width] = [short(at + 5), short(at + 7)];
      return { width, height, channels: bytes[at + 9]! };
    }
    const isFill = marker === 0xff;
    at += isFill ? 1 : 2 + short(at + 2);
  }
  return undefined;
}

/** A self-contained JPEG: with its tables, and a declaration of its colours. */
export function wholeJpeg(
  { jpegTables, colours, samples }: PicturePage,
  bytes: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const body = withoutMarkers(bytes.subarray(2)); // without start of image
  // Between start and end of image.
  const tables = jpegTables?.subarray(2, -2) ?? new Uint8Array(0);
  // Four channels are never converted: with 2 they would be YCCK.
  const kind = colours.kind === "ycbcr" && samples === 3 ? 1 : 0;
  return joined([
    [0xff, 0xd8],
    [0xff, 0xee, 0, 14, ...ADOBE, 0, 100, 0, 0, 0, 0, kind], // APP14
    tables,
    body,
  ]);
}

function joined(parts: readonly ArrayLike<number>[]): Uint8Array<ArrayBuffer> {
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

/** A JPEG after its start marker, without JFIF and Adobe segments. */
function withoutMarkers(bytes: Uint8Array): Uint8Array {
  let at = 0;
  while (
    bytes[at] === 0xff && (bytes[at + 1] === 0xe0 || bytes[at + 1] === 0xee)
  ) {
    at += 2 + (bytes[at + 2]! << 8 | bytes[at + 3]!);
  }
  return bytes.subarray(at);
}

/**
 * The upper left of a picture that may be larger than needed, or end at the
 * edge of the image.
 */
function fitTo(picture: Interleaved, { size, inside }: PieceSize): Interleaved {
  const { width, height } = size;
  const { data, channels } = picture;
  if (picture.width === width && picture.height === height) return picture;
  if (picture.width < inside.width || picture.height < inside.height) {
    throw new ImageError(
      `it has ${picture.width} x ${picture.height} px, not ${width} x ${height}`,
    );
  }
  const out = new Uint8Array(width * height * channels);
  const rowBytes = Math.min(width, picture.width) * channels;
  for (let y = 0; y < Math.min(height, picture.height); y++) {
    const from = y * picture.width * channels;
    out.set(data.subarray(from, from + rowBytes), y * width * channels);
  }
  return { data: out, width, height, channels };
}
