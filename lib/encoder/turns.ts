/**
 * The eight turns of a square picture: four rotations, each mirrored or not.
 *
 * @module
 */

/** Number of turns; the first leaves a picture as it is. */
export const TURNS = 8;
const ROTATIONS = 4;

/** The turn that takes a turn back. */
export function inverseOf(turn: number): number {
  // A mirrored rotation is its own inverse.
  return turn < ROTATIONS ? (ROTATIONS - turn) % ROTATIONS : turn;
}

/**
 * Where each value of a turned picture comes from.
 *
 * @param side px; the picture is `[side, side, 3]`.
 */
export function turnedValues(turn: number, side: number): Uint32Array {
  const from = new Uint32Array(side * side * 3);
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      const source = sourceOf({ x, y }, turn, side);
      for (let c = 0; c < 3; c++) {
        from[(y * side + x) * 3 + c] = (source.y * side + source.x) * 3 + c;
      }
    }
  }
  return from;
}

function sourceOf(
  place: { x: number; y: number },
  turn: number,
  side: number,
): { x: number; y: number } {
  const last = side - 1;
  let { x, y } = turn < ROTATIONS ? place : { x: last - place.x, y: place.y };
  for (let i = 0; i < turn % ROTATIONS; i++) [x, y] = [last - y, x];
  return { x, y };
}
