/**
 * An annotated object of an image, however its file draws it.
 *
 * @module
 */
import type { Polygon } from "../../image/foreground/polygons.ts";
import type { Point, Region } from "../../image/geometry.ts";

/**
 * An annotated object: a point, which has no width and height; a box; or
 * polygons with their bounding box. In px of the image as it is stored.
 */
export interface AnnotatedObject extends Region {
  /** Kind of object, as its file names it. */
  type?: string;
  /** Its parts, each an outline and its holes by the even-odd rule. */
  polygons?: readonly Polygon[];
}

/** The objects that a file states of one image. */
export interface AnnotatedImage {
  /** The image, as the file names it. */
  image: string;
  /** Its objects. */
  objects: AnnotatedObject[];
}

/** The content of a file: of one image, which it does not name, or of several. */
export type Annotations =
  | { objects: AnnotatedObject[] }
  | { images: AnnotatedImage[] };

/** `region` as an object of `type`, if it has one. */
export function boxObject(
  region: Region,
  type: string | undefined,
): AnnotatedObject {
  return { ...region, ...(type !== undefined && { type }) };
}

/** A point as an object. */
export function pointObject(
  { x, y }: Point,
  type: string | undefined,
): AnnotatedObject {
  return boxObject({ x, y, width: 0, height: 0 }, type);
}

/** One object of `polygons`, each with at least an outline. */
export function polygonObject(
  polygons: readonly Polygon[],
  type: string | undefined,
): AnnotatedObject {
  return { ...boxObject(boundingBox(polygons), type), polygons };
}

/** The smallest box around the outlines of `polygons`. */
export function boundingBox(polygons: readonly Polygon[]): Region {
  let left = Infinity, top = Infinity, right = -Infinity, bottom = -Infinity;
  for (const [outline] of polygons) {
    for (const { x, y } of outline!) {
      left = Math.min(left, x);
      top = Math.min(top, y);
      right = Math.max(right, x);
      bottom = Math.max(bottom, y);
    }
  }
  return { x: left, y: top, width: right - left, height: bottom - top };
}
