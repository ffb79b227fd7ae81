/**
 * Where the pieces of a TIFF's blocks, its tiles and strips, lie in the file.
 *
 * @module
 */
import { ImageError } from "../errors.ts";
import type { Size } from "./geometry.ts";
import { blockOrigin } from "./block_pyramid.ts";
import { piecesOfPlane, type TiffPage } from "./tiff_page.ts";

/** A piece, or some rows of a strip, in the file. */
export interface Place {
  rows: number;
  offset: number;
  /** Bytes; 0 where the file leaves the piece out. */
  length: number;
}

/** Places without a gap between them, which are read together. */
export interface Run {
  offset: number;
  length: number;
  places: readonly Place[];
}

/** A block of one plane. */
interface PlaneBlock {
  block: number;
  plane: number;
}

/** Indices of the planes whose pieces a block has. */
export function planesOf({ planar, samples }: TiffPage): number[] {
  return Array.from({ length: planar ? samples : 1 }, (_, plane) => plane);
}

/** What of a block lies in the image. */
export function insideOf(page: TiffPage, block: number): Size {
  const { x, y } = blockOrigin(page, block);
  return {
    width: Math.min(page.block.width, page.width - x),
    height: Math.min(page.block.height, page.height - y),
  };
}

/**
 * The pieces of a block, from top to bottom.
 *
 * @throws {ImageError} With the reason only.
 */
export async function placesOf(
  page: TiffPage,
  { block, plane }: PlaneBlock,
  signal: AbortSignal | undefined,
): Promise<Place[]> {
  const { tiled, pieceRows } = page;
  const before = plane * piecesOfPlane(page);
  if (tiled) {
    const index = before + block;
    return [await placeOf(page, { index, first: 0, rows: pieceRows }, signal)];
  }
  const top = block * page.block.height;
  const bottom = Math.min(top + page.block.height, page.height);
  const strips: Promise<Place>[] = [];
  for (let row = top; row < bottom;) {
    const strip = Math.floor(row / pieceRows);
    const end = Math.min(bottom, (strip + 1) * pieceRows);
    strips.push(placeOf(page, {
      index: before + strip,
      first: row - strip * pieceRows,
      rows: end - row,
    }, signal));
    row = end;
  }
  return await Promise.all(strips);
}

/** `rows` of a piece, from its row `first` on. */
async function placeOf(
  page: TiffPage,
  { index, first, rows }: { index: number; first: number; rows: number },
  signal: AbortSignal | undefined,
): Promise<Place> {
  const { offsets, bytes, rowBytes } = page;
  const offset = await offsets.at(index, signal);
  const stored = bytes.count === 0 ? undefined : await bytes.at(index, signal);
  // Writers of one strip have its length wrong: then its rows tell it.
  const isSure = rowBytes === undefined || piecesOfPlane(page) > 1;
  if (offset === 0 || isSure && stored === 0) {
    return { rows, offset: 0, length: 0 };
  }
  if (rowBytes === undefined) {
    const most = longestPiece(page);
    const left = Math.max(0, page.directory.file.source.size - offset);
    const length = stored ?? Math.min(most, left);
    if (length > most) throw new ImageError("it ends too early");
    return { rows, offset, length };
  }
  const end = (first + rows) * rowBytes;
  if (isSure && stored !== undefined && stored < end) {
    throw new ImageError(`it holds ${stored} of ${end} bytes`);
  }
  return { rows, offset: offset + first * rowBytes, length: rows * rowBytes };
}

/** Bytes beyond which no compression makes a piece larger than its pixels. */
function longestPiece({ block, pieceRows, samples, type }: TiffPage): number {
  const numbers = block.width * pieceRows * samples;
  return numbers * Math.max(4, type.bits / 4) + 2 ** 16;
}

/** What of `places` is in the file, those without a gap together. */
export function runsOf(places: readonly Place[]): Run[] {
  const runs: { offset: number; length: number; places: Place[] }[] = [];
  for (const place of places) {
    if (place.length === 0) continue;
    const last = runs.at(-1);
    if (last && last.offset + last.length === place.offset) {
      last.length += place.length;
      last.places.push(place);
    } else runs.push({ ...place, places: [place] });
  }
  return runs;
}
