/**
 * The places of an image that lie on an annotated object, such as the locations
 * of a grid.
 *
 * @module
 */
import type { Polygon } from "../../image/foreground/polygons.ts";
import {
  holdsPoint,
  type Point,
  type Region,
  regionMiddle,
} from "../../image/geometry.ts";
import type { AnnotatedObject } from "./object.ts";

/**
 * Tells for each of `places` if it lies on an object: within `within` px of a
 * point, in a box (left and top edge included), in a polygon and none of its
 * holes. An object on which no place lies marks the nearest one, so that no
 * object is lost between the places.
 *
 * @param objects in the px of `places`.
 * @param within radius of a point, px.
 * @returns 1 or 0 for each place.
 * @throws {RangeError} If `within` is no number from 0.
 *
 * @example Two places, one of them on a box
 * ```ts
 * const box = { x: 10, y: 10, width: 8, height: 8 };
 * placesOn([box], [{ x: 12, y: 12 }, { x: 40, y: 12 }], { within: 0 }); // 1, 0
 * ```
 */
export function placesOn(
  objects: readonly AnnotatedObject[],
  places: readonly Point[],
  { within }: { within: number },
): Uint8Array {
  if (!(within >= 0 && within < Infinity)) {
    throw new RangeError(
      `Cannot mark places within ${within} px of a point: give a number from 0`,
    );
  }
  const on = new Uint8Array(places.length);
  if (places.length === 0) return on;
  const rows = rowsOf(places);
  for (const object of objects) {
    const found = placesIn(object, rows, within);
    if (found.length === 0) found.push(nearestPlace(object, rows));
    for (const index of found) on[index] = 1;
  }
  return on;
}

/** The places of one y, from left to right. */
interface Row {
  y: number;
  places: readonly Indexed[];
}

type Indexed = Point & { index: number };

/** The places by rows, from top to bottom: those of a grid share few rows. */
function rowsOf(places: readonly Point[]): Row[] {
  const indexed = places.map(({ x, y }, index) => ({ x, y, index }));
  const byY = Map.groupBy(indexed, ({ y }) => y);
  return [...byY].map(([y, places]) => ({
    y,
    places: places.sort((a, b) => a.x - b.x),
  })).sort((a, b) => a.y - b.y);
}

/** Index of the first of `sorted` that is at least `value` by `key`. */
function firstFrom<T>(
  sorted: readonly T[],
  value: number,
  key: (item: T) => number,
): number {
  let low = 0, high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (key(sorted[middle]!) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

const yOf = ({ y }: { y: number }) => y;
const xOf = ({ x }: { x: number }) => x;

/** Indices of the places on an object; a place may be named twice. */
function placesIn(
  object: AnnotatedObject,
  rows: readonly Row[],
  within: number,
): number[] {
  const { polygons, width, height } = object;
  if (polygons) {
    return polygons.flatMap((polygon) =>
      placesInPolygon(polygon, object, rows)
    );
  }
  if (width > 0 || height > 0) {
    return placesNear(object, rows, 0)
      .filter((place) => holdsPoint(object, place)).map(({ index }) => index);
  }
  return placesNear(object, rows, within)
    .filter(({ x, y }) => Math.hypot(x - object.x, y - object.y) <= within)
    .map(({ index }) => index);
}

/** The places in a box and up to `margin` px around it, all edges included. */
function placesNear(
  { x, y, width, height }: Region,
  rows: readonly Row[],
  margin: number,
): Indexed[] {
  const found: Indexed[] = [];
  for (
    let row = firstFrom(rows, y - margin, yOf);
    row < rows.length && rows[row]!.y <= y + height + margin;
    row++
  ) {
    const { places } = rows[row]!;
    for (
      let i = firstFrom(places, x - margin, xOf);
      i < places.length && places[i]!.x <= x + width + margin;
      i++
    ) {
      found.push(places[i]!);
    }
  }
  return found;
}

/** The places in a polygon: one pass over its edges a row. */
function placesInPolygon(
  polygon: Polygon,
  { y, height }: Region,
  rows: readonly Row[],
): number[] {
  const found: number[] = [];
  for (
    let row = firstFrom(rows, y, yOf);
    row < rows.length && rows[row]!.y <= y + height;
    row++
  ) {
    const { y, places } = rows[row]!;
    const crossings = crossingsAt(polygon, y);
    for (let pair = 0; pair + 1 < crossings.length; pair += 2) {
      const end = crossings[pair + 1]!;
      for (
        let i = firstFrom(places, crossings[pair]!, xOf);
        i < places.length && places[i]!.x < end;
        i++
      ) {
        found.push(places[i]!.index);
      }
    }
  }
  return found;
}

/**
 * Where the line at `y` crosses the edges of a polygon, from left to right.
 * Between the first and the second it is inside, and so on: the even-odd rule.
 */
function crossingsAt(polygon: Polygon, y: number): number[] {
  const xs: number[] = [];
  for (const ring of polygon) {
    for (let i = 1; i < ring.length; i++) {
      const from = ring[i - 1]!, to = ring[i]!;
      if (from.y <= y === to.y <= y) continue; // a corner counts once
      const share = (y - from.y) / (to.y - from.y);
      xs.push(from.x + share * (to.x - from.x));
    }
  }
  return xs.sort((a, b) => a - b);
}

/** A place and its distances to the outline and to the middle of an object. */
interface Candidate {
  index: number;
  distance: number;
  toMiddle: number;
}

/** Index of the place nearest to an object; of several, to its middle. */
function nearestPlace(object: AnnotatedObject, rows: readonly Row[]): number {
  const middle = regionMiddle(object);
  let best: Candidate = { index: -1, distance: Infinity, toMiddle: Infinity };
  const start = firstFrom(rows, middle.y, yOf);
  // Rows upwards and downwards, until one is farther away than the best place.
  for (const step of [1, -1]) {
    for (let row = step > 0 ? start : start - 1; rows[row]; row += step) {
      const { y, places } = rows[row]!;
      if (rowDistance(y, object) > best.distance) break;
      best = nearestOfRow(object, places, { middle, best });
    }
  }
  return best.index;
}

/** Px between a row and a box. */
function rowDistance(y: number, box: Region): number {
  return Math.max(0, box.y - y, y - box.y - box.height);
}

function nearestOfRow(
  object: AnnotatedObject,
  places: readonly Indexed[],
  { middle, best }: { middle: Point; best: Candidate },
): Candidate {
  const start = firstFrom(places, middle.x, xOf);
  for (const step of [1, -1]) {
    for (let i = step > 0 ? start : start - 1; places[i]; i += step) {
      const place = places[i]!;
      if (boxDistance(place, object) > best.distance) break;
      const candidate = {
        index: place.index,
        distance: outlineDistance(place, object),
        toMiddle: Math.hypot(place.x - middle.x, place.y - middle.y),
      };
      if (isNearer(candidate, best)) best = candidate;
    }
  }
  return best;
}

function isNearer(a: Candidate, b: Candidate): boolean {
  return (a.distance - b.distance || a.toMiddle - b.toMiddle ||
    a.index - b.index) < 0;
}

/** Px between a place and a box; 0 inside. */
function boxDistance({ x, y }: Point, box: Region): number {
  const dx = Math.max(0, box.x - x, x - box.x - box.width);
  return Math.hypot(dx, rowDistance(y, box));
}

/** Px between a place outside of an object and the object. */
function outlineDistance(place: Point, object: AnnotatedObject): number {
  if (!object.polygons) return boxDistance(place, object);
  let least = Infinity;
  for (const ring of object.polygons.flat()) {
    for (let i = 1; i < ring.length; i++) {
      least = Math.min(least, edgeDistance(place, ring[i - 1]!, ring[i]!));
    }
  }
  return least;
}

/** Px between a place and the line from one corner to another. */
function edgeDistance({ x, y }: Point, from: Point, to: Point): number {
  const dx = to.x - from.x, dy = to.y - from.y;
  const square = dx * dx + dy * dy;
  const along = square === 0
    ? 0
    : ((x - from.x) * dx + (y - from.y) * dy) / square;
  const share = Math.min(1, Math.max(0, along));
  return Math.hypot(x - from.x - share * dx, y - from.y - share * dy);
}
