/**
 * Pixels with a position, and copies between them.
 *
 * @module
 */
import type { Region } from "../geometry.ts";

/** RGBA pixels with their position. */
export interface PlacedPixels extends Region {
  data: Uint8Array;
}

/** Copies the overlap of `part` from `from` to `to`. */
export function copyPart(
  part: Region,
  from: PlacedPixels,
  to: PlacedPixels,
): void {
  const left = Math.max(part.x, from.x);
  const right = Math.min(part.x + part.width, from.x + from.width);
  const top = Math.max(part.y, from.y);
  const bottom = Math.min(part.y + part.height, from.y + from.height);
  if (left >= right) return;
  for (let y = top; y < bottom; y++) {
    const start = ((y - from.y) * from.width + left - from.x) * 4;
    to.data.set(
      from.data.subarray(start, start + (right - left) * 4),
      ((y - to.y) * to.width + left - to.x) * 4,
    );
  }
}
