/**
 * Annotated objects in the px of an image as a network sees it: resampled,
 * a part of it, mirrored or turned.
 *
 * @module
 */
import type { Polygon } from "../../image/foreground/polygons.ts";
import {
  type Point,
  type Region,
  rescaledRegion,
  type Size,
} from "../../image/geometry.ts";
import {
  type Orientation,
  orientedSize,
  storedRegion,
} from "../../image/pyramids/orientation.ts";
import type { AnnotatedObject } from "./object.ts";

/** What became of an image before it was looked at, in this order. */
export interface SeenImage {
  /** Size in its file, to whose px annotations refer: `pyramid.stored`. */
  stored: Size;
  /** Size after it was resampled; `stored` if it was not. */
  size: Size;
  /** The part that is looked at, px of `size`; all of it if omitted. */
  part?: Region | undefined;
  /** How that part is mirrored or turned; as it is if omitted. */
  orientation?: Orientation | undefined;
}

/**
 * The objects of an image in the px in which it is seen. Those that lie outside
 * of the part are left out; those that reach outside keep their size.
 *
 * @example An image at half its size, mirrored
 * ```ts
 * const stored = { width: 100, height: 80 }, size = { width: 50, height: 40 };
 * const box = { x: 10, y: 20, width: 4, height: 6 };
 * objectsSeen([box], { stored, size, orientation: 2 }); // x 43, y 10, 2 x 3 px
 * ```
 */
export function objectsSeen(
  objects: readonly AnnotatedObject[],
  { stored, size, part, orientation = 1 }: SeenImage,
): AnnotatedObject[] {
  const frame = part ?? { x: 0, y: 0, ...size };
  return objects
    .map((object) => moved(object, (at) => rescaledRegion(at, stored, size)))
    .filter((object) => meets(object, frame))
    .map((object) => moved(object, (at) => shifted(at, frame)))
    .map((object) => moved(object, (at) => oriented(at, frame, orientation)));
}

/** True if an object lies in `frame`, or reaches into it. */
export function meets(
  { x, y, width, height }: AnnotatedObject,
  frame: Region,
): boolean {
  const right = frame.x + frame.width, bottom = frame.y + frame.height;
  return x < right && y < bottom && x + width >= frame.x &&
    y + height >= frame.y;
}

/** An object after a change of regions, of which a corner is one of 0 px. */
function moved(
  object: AnnotatedObject,
  change: (region: Region) => Region,
): AnnotatedObject {
  const point = ({ x, y }: Point) => {
    const to = change({ x, y, width: 0, height: 0 });
    return { x: to.x, y: to.y };
  };
  const polygon = (rings: Polygon) => rings.map((ring) => ring.map(point));
  const { x, y, width, height } = object;
  return {
    ...object,
    ...change({ x, y, width, height }),
    ...(object.polygons && { polygons: object.polygons.map(polygon) }),
  };
}

function shifted(region: Region, { x, y }: Point): Region {
  return { ...region, x: region.x - x, y: region.y - y };
}

// Turned clockwise is undone counter-clockwise; all others undo themselves.
const UNDONE: Partial<Record<Orientation, Orientation>> = { 6: 8, 8: 6 };

/** `region` of something of `size` once that is put in `orientation`. */
function oriented(
  region: Region,
  size: Size,
  orientation: Orientation,
): Region {
  const undone = UNDONE[orientation] ?? orientation;
  return storedRegion(region, orientedSize(size, orientation), undone);
}
