/**
 * Decodes the blocks of a TIFF to opaque RGBA. A block is a tile or some
 * strips, each of one piece or, with separate planes, of several. JPEG and LZW
 * tiles are decoded faster in batches: batch_decoder.ts.
 *
 * @module
 */
import type { Size } from "../../geometry.ts";
import type { Interleaved } from "./jpeg2000.ts";
import type { Pixels } from "../../pyramid.ts";
import { sharesColours, toRgba } from "./colours.ts";
import { expandSamples } from "./expand.ts";
import type { TiffPage } from "../page.ts";
import { decodePicture, isPicture, type PieceSize } from "./pictures.ts";
import { bytesOfRow, shownSample, unpackSamples } from "./samples.ts";
import { JFIF_RULES, spreadYcbcr, ycbcrBytes, ycbcrToRgb } from "./ycbcr.ts";

/** The bytes of a tile, a strip, or of rows of one. */
export interface Piece {
  /** Undefined if the file omits it. */
  bytes: Uint8Array | undefined;
  rows: number;
}

/**
 * The pixels of a block.
 *
 * @param planes its pieces from top to bottom, for each plane that is shown.
 * @param size size as stored: the last strip of an image is shorter.
 * @param inside the part inside the image; the rest may be missing.
 * @throws {ImageError} With the reason only.
 */
export async function decodeBlock(
  page: TiffPage,
  planes: readonly (readonly Piece[])[],
  { size, inside = size }: { size: Size; inside?: Size },
): Promise<Pixels> {
  const decoded = await Promise.all(planes.map(async (pieces, plane) => {
    const parts = await Promise.all(pieces.map(({ bytes, rows }) => {
      const piece = {
        size: { width: size.width, height: rows },
        inside: { width: inside.width, height: Math.min(rows, inside.height) },
      };
      return bytes
        ? decodePiece(page, bytes, piece)
        : emptyPiece(page, plane, piece.size);
    }));
    return stacked(parts, size);
  }));
  if (!page.planar) return { data: toRgba(decoded[0]!, page), ...size };
  const samples = interleaved(decoded);
  convertYcbcr(page, samples);
  const alpha = page.alpha && { ...page.alpha, sample: decoded.length - 1 };
  return { data: toRgba(samples, { ...page, alpha }), ...size };
}

/** Interleaved 8-bit samples: of all channels, or of one plane. */
async function decodePiece(
  page: TiffPage,
  bytes: Uint8Array,
  piece: PieceSize,
): Promise<Interleaved> {
  const samples = isPicture(page)
    ? await decodePicture(page, bytes, piece)
    : await unpackPiece(page, bytes, piece);
  if (!page.planar) convertYcbcr(page, samples);
  return samples;
}

async function unpackPiece(
  page: TiffPage,
  bytes: Uint8Array,
  { size, inside }: PieceSize,
): Promise<Interleaved> {
  const { colours, type, directory, predictor } = page;
  const channels = page.planar ? 1 : page.samples;
  const layout = {
    length: size.width * channels,
    rows: size.height,
    channels,
  };
  const littleEndian = directory.file.littleEndian;
  if (colours.kind === "ycbcr" && sharesColours(colours)) {
    const length = ycbcrBytes(size, colours.rules);
    const least = ycbcrBytes({ ...inside, width: size.width }, colours.rules);
    const units = await expandSamples(page, bytes, { length, least });
    return { data: spreadYcbcr(units, size, colours.rules), channels, ...size };
  }
  const rowBytes = bytesOfRow(type, layout.length);
  const stored = await expandSamples(page, bytes, {
    length: rowBytes * size.height,
    least: rowBytes * inside.height,
  });
  const data = unpackSamples(stored, layout, {
    type,
    predictor,
    littleEndian,
    raw: colours.kind === "palette",
  });
  return { data, channels, ...size };
}

/** Converts to RGB, unless libjpeg did: it does so with three channels. */
function convertYcbcr(page: TiffPage, samples: Interleaved): void {
  const { colours, compression, planar } = page;
  if (colours.kind !== "ycbcr") return;
  if (compression !== "jpeg") ycbcrToRgb(samples, colours.rules);
  else if (planar || page.samples !== 3) ycbcrToRgb(samples, JFIF_RULES);
}

/**
 * A piece that the file omits: its samples are the nodata value, or zero,
 * whatever colour that is.
 */
function emptyPiece(
  page: TiffPage,
  plane: number,
  { width, height }: Size,
): Interleaved {
  const { colours, nodata = 0, planar, samples, type } = page;
  const channels = planar ? 1 : samples;
  const value = colours.kind === "palette"
    ? Math.max(0, Math.min(nodata, 2 ** type.bits - 1))
    : shownSample(type, nodata);
  const data = new Uint8Array(width * height * channels).fill(value);
  if (colours.kind === "ycbcr" && planar && plane > 0) data.fill(128);
  return { data, width, height, channels };
}

/** Stacks parts vertically. */
function stacked(
  parts: readonly Interleaved[],
  { width, height }: Size,
): Interleaved {
  const [first] = parts;
  if (parts.length === 1) return first!;
  const { channels } = first!;
  const data = new Uint8Array(width * height * channels);
  let at = 0;
  for (const part of parts) {
    data.set(part.data, at);
    at += part.data.length;
  }
  return { data, width, height, channels };
}

/** Interleaves planes: the first channel of each. */
function interleaved(planes: readonly Interleaved[]): Interleaved {
  const { width, height } = planes[0]!;
  const channels = planes.length;
  const data = new Uint8Array(width * height * channels);
  for (const [c, plane] of planes.entries()) {
    for (
      let from = 0, to = c;
      to < data.length;
      from += plane.channels, to += channels
    ) data[to] = plane.data[from]!;
  }
  return { data, width, height, channels };
}
