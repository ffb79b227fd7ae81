/**
 * Squares about annotated objects, moved and resized at random, with the placement
 * of the object in each: what finding and placing are learned from.
 *
 * @module
 */
import type { RandomStream } from "../../../../kernels/random.ts";
import {
  around,
  firstSquare,
  placementIn,
  type Square,
} from "../../../model/close_up/squares.ts";

/** A square, and where its object is. */
export interface PlacementExample {
  square: Square;
  placement: number[];
}

// Of a sub-tile, whose middle may be anywhere on an object: moved by half of it, or
// of this share of a sub-tile for a small one.
const REACH = 1 / 2, LEAST_REACH = 3 / 8;
// The logarithm of the size of the first window varies by this much, within which
// the object fills no less and no more of it.
const FIRST_SIZES = 0.9, LEAST_FACTOR = 1.2, MOST_FACTOR = 5;
// What the first placement leaves over.
const SHIFT = 0.35, SIZES = 0.35;

/** A window in which a sub-tile may have found `object`. */
export function firstExample(
  object: Square,
  subTileSize: number,
  random: RandomStream,
): PlacementExample {
  const reach = REACH * Math.max(object.side, LEAST_REACH * subTileSize);
  const { side } = firstSquare(object.middle, subTileSize);
  const resized = side * Math.exp(FIRST_SIZES * between(random));
  return example(object, {
    middle: moved(object, reach, random),
    side: Math.min(
      Math.max(resized, LEAST_FACTOR * object.side),
      MOST_FACTOR * object.side,
    ),
  });
}

/** A square around `object`, as a placement may have it. */
export function nearExample(
  object: Square,
  random: RandomStream,
): PlacementExample {
  return example(object, {
    middle: moved(object, SHIFT * object.side, random),
    side: around(object).side * Math.exp(SIZES * between(random)),
  });
}

/** `object` as a good placement may have it. */
export function jittered(object: Square, random: RandomStream): Square {
  return {
    middle: moved(object, READ_SHIFT * object.side, random),
    side: object.side * Math.exp(READ_SIZES * between(random)),
  };
}

const READ_SHIFT = 0.08, READ_SIZES = 0.12;

function example(object: Square, square: Square): PlacementExample {
  return { square, placement: placementIn(square, object) };
}

function moved({ middle }: Square, reach: number, random: RandomStream) {
  return {
    x: middle.x + reach * between(random),
    y: middle.y + reach * between(random),
  };
}

/** A number in [-1, 1). */
function between(random: RandomStream): number {
  return 2 * random.uniform() - 1;
}
