/**
 * File offsets of a TIFF's tiles and strips, block by block.
 *
 * @module
 */
import { ImageError } from "../../errors.ts";
import type { Size } from "../geometry.ts";
import { blockOrigin } from "../pyramids/block_pyramid.ts";
import { shownSamples } from "./decode/colours.ts";
import { piecesOfPlane, type TiffPage } from "./page.ts";

/** A piece, or some rows of a strip, in the file. */
export interface Place {
  rows: number;
  offset: number;
  /** Bytes; 0 if the file omits the piece. */
  length: number;
}

/** Adjacent places, which are read together. */
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

/** The planes of a block: one of all channels, or each one that is shown. */
export function planesOf(page: TiffPage): number[] {
  return page.planar ? shownSamples(page) : [0];
}

/** Size of the part of a block that lies in the image. */
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
  const { offsets, bytes, rowBytes } = page;
  const pieces = piecesOf(page, block);
  const from = plane * piecesOfPlane(page) + pieces[0]!.index;
  const [places, lengths] = await Promise.all([
    offsets.range(from, pieces.length, signal),
    bytes.count === 0 ? [] : bytes.range(from, pieces.length, signal),
  ]);
  const found = pieces.map((piece, i) =>
    placeOf(page, piece, { offset: places[i]!, stored: lengths[i] })
  );
  return rowBytes === undefined ? found : joined(found);
}

/** Rows of a tile or a strip, from its row `first` on. */
interface Rows {
  /** Index of the piece in its plane. */
  index: number;
  first: number;
  rows: number;
}

function piecesOf(page: TiffPage, block: number): Rows[] {
  const { tiled, pieceRows, height } = page;
  if (tiled) return [{ index: block, first: 0, rows: pieceRows }];
  const top = block * page.block.height;
  const bottom = Math.min(top + page.block.height, height);
  const pieces: Rows[] = [];
  for (let row = top; row < bottom;) {
    const index = Math.floor(row / pieceRows);
    const end = Math.min(bottom, (index + 1) * pieceRows);
    pieces.push({ index, first: row - index * pieceRows, rows: end - row });
    row = end;
  }
  return pieces;
}

function placeOf(
  page: TiffPage,
  { first, rows }: Rows,
  { offset, stored }: { offset: number; stored: number | undefined },
): Place {
  const { rowBytes } = page;
  // Some writers of a single strip state a wrong length: derive it from its
  // rows.
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

/** Joins places whose rows are adjacent in the file. */
function joined(places: readonly Place[]): Place[] {
  const found: Place[] = [];
  for (const place of places) {
    const last = found.at(-1);
    const follows = last &&
      (place.length === 0
        ? last.length === 0
        : last.offset + last.length === place.offset);
    if (follows) {
      last.rows += place.rows;
      last.length += place.length;
    } else found.push({ ...place });
  }
  return found;
}

/**
 * Maximum bytes of a piece: compression does not expand its pixels beyond this.
 */
function longestPiece({ block, pieceRows, samples, type }: TiffPage): number {
  const numbers = block.width * pieceRows * samples;
  return numbers * Math.max(4, type.bits / 4) + 2 ** 16;
}

/** Groups the places in the file into adjacent runs. */
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
