/**
 * The eight orientations of an image, and the mapping of its pixels.
 *
 * @module
 */
import type { Point, Region, Size } from "../geometry.ts";

/**
 * Transform from stored to upright pixels, by EXIF number: 1 as they are, 2
 * mirrored left to right, 3 turned by 180 degrees, 4 mirrored top to bottom, 5
 * transposed, 6 turned clockwise, 7 transposed along the other diagonal, 8
 * turned counter-clockwise.
 */
export type Orientation = 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8;

/** All of them: the symmetries of a square. */
export const ORIENTATIONS: readonly Orientation[] = [1, 2, 3, 4, 5, 6, 7, 8];

/** Size of something of `size` in `orientation`. */
export function orientedSize(
  { width, height }: Size,
  orientation: Orientation,
): Size {
  return orientation >= 5
    ? { width: height, height: width }
    : { width, height };
}

/**
 * The stored region that becomes `region` when an image of stored `size` is put
 * in `orientation`.
 */
export function storedRegion(
  region: Region,
  size: Size,
  orientation: Orientation,
): Region {
  const { x, y, width, height } = orientation >= 5
    ? { x: region.y, y: region.x, width: region.height, height: region.width }
    : region;
  const fromRight = [2, 3, 7, 8].includes(orientation);
  const fromBottom = [3, 4, 6, 7].includes(orientation);
  return {
    x: fromRight ? size.width - x - width : x,
    y: fromBottom ? size.height - y - height : y,
    width,
    height,
  };
}

/** The stored pixel that becomes `point`: `storedRegion` of one pixel. */
export function storedPoint(
  point: Point,
  size: Size,
  orientation: Orientation,
): Point {
  const { x, y } = storedRegion(
    { ...point, width: 1, height: 1 },
    size,
    orientation,
  );
  return { x, y };
}

const ORIENTATION_TAG = 274;

/** Orientation in EXIF, which is a small TIFF; 1 if absent or damaged. */
export function exifOrientation(exif: Uint8Array | undefined): Orientation {
  if (!exif || exif.length < 8) return 1;
  const view = new DataView(exif.buffer, exif.byteOffset, exif.length);
  const little = view.getUint16(0) === 0x4949;
  const first = view.getUint32(4, little);
  if (first + 2 > exif.length) return 1;
  const count = view.getUint16(first, little);
  for (let at = first + 2; at < first + 2 + 12 * count; at += 12) {
    if (at + 12 > exif.length) return 1;
    if (view.getUint16(at, little) !== ORIENTATION_TAG) continue;
    const value = view.getUint16(at + 8, little);
    return ORIENTATIONS.find((orientation) => orientation === value) ?? 1;
  }
  return 1;
}
