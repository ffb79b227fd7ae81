/**
 * Squares about objects, and how a close-up moves from one to the next.
 *
 * @module
 */
import type { Point, Region } from "../../image/geometry.ts";

/** A square, level-0 px; not on whole px. */
export interface Square {
  /** Its middle. */
  middle: Point;
  side: number;
}

/** Numbers that place an object in a square: where its middle is, and its size. */
export const PLACEMENT = 3;

// Of road signs of 18 to 123 px under sub-tiles of 64 px, on training frames: a
// window half as wide again holds most of them whole, and twice the size of an
// object shows its surroundings.
const FIRST = 1.5, AROUND = 2.2;
// Of road signs: the heaviest of 30 draws is beside the sign in a fifth of the
// frames, and in half of those another one is on it.
const CANDIDATES = 4;
// Sizes of objects, in sub-tiles: a wild placement must not read half an image.
const LEAST = 0.2, MOST = 2.2;

/** Where a close-up begins, about the middle of a sub-tile. */
export function firstSquare(middle: Point, subTileSize: number): Square {
  return { middle, side: FIRST * subTileSize };
}

/**
 * The first of `places` that are not about the same object: at least half a
 * sub-tile apart.
 *
 * @param places the most promising first.
 */
export function candidates<P extends Point>(
  places: readonly P[],
  subTileSize: number,
): P[] {
  const kept: P[] = [];
  for (const place of places) {
    const isOther = kept.every(({ x, y }) =>
      Math.hypot(place.x - x, place.y - y) >= subTileSize / 2
    );
    if (isOther) kept.push(place);
    if (kept.length === CANDIDATES) break;
  }
  return kept;
}

/** An object with its surroundings, in which it is placed again. */
export function around({ middle, side }: Square): Square {
  return { middle, side: AROUND * side };
}

/**
 * Where an object lies in `square`: its middle from that of the square, in sides of
 * the square, and the logarithm of its side in that of the square.
 */
export function placementIn(square: Square, object: Square): number[] {
  return [
    (object.middle.x - square.middle.x) / square.side,
    (object.middle.y - square.middle.y) / square.side,
    Math.log(object.side / square.side),
  ];
}

/** The object that `placement` places in `square`. */
export function placedIn(
  square: Square,
  placement: ArrayLike<number>,
  subTileSize: number,
): Square {
  const side = Math.exp(placement[2]!) * square.side;
  return {
    middle: {
      x: square.middle.x + placement[0]! * square.side,
      y: square.middle.y + placement[1]! * square.side,
    },
    side: Math.min(Math.max(side, LEAST * subTileSize), MOST * subTileSize),
  };
}

/** The square about a box: as wide as the longer of its sides. */
export function squareAbout({ x, y, width, height }: Region): Square {
  return {
    middle: { x: x + width / 2, y: y + height / 2 },
    side: Math.max(width, height),
  };
}

/** The nearest region of whole px, at least one. */
export function regionOf({ middle, side }: Square): Region {
  const size = Math.max(1, Math.round(side));
  return {
    x: Math.round(middle.x - size / 2),
    y: Math.round(middle.y - size / 2),
    width: size,
    height: size,
  };
}
