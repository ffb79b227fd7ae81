/**
 * Polygons of a GeoJSON file, as slide viewers write them: in level-0 px, with
 * y downwards.
 *
 * Format: RFC 7946, https://www.rfc-editor.org/rfc/rfc7946
 *
 * @module
 */
import { z } from "zod";
import { ImageError } from "../errors.ts";
import type { Mask } from "./foreground.ts";
import {
  cellEdge,
  cellHolding,
  holdsPoint,
  type MapSize,
  type Point,
  type Size,
} from "./geometry.ts";

/** A closed line, level-0 px. */
type Ring = Point[];

/** An outline and the holes in it. */
export type Polygon = Ring[];

const ringSchema = z.array(
  z.tuple([z.number(), z.number()]).rest(z.number())
    .transform(([x, y]) => ({ x, y })),
).min(4); // the first position stands at the end again
const polygonSchema = z.array(ringSchema).min(1);
const multiPolygonSchema = z.array(polygonSchema);

/**
 * All polygons of the GeoJSON file at `path`; points and lines are passed over.
 *
 * @throws {ImageError} If it cannot be read, or holds no polygon.
 */
export async function readPolygons(path: string): Promise<Polygon[]> {
  try {
    const text = new TextDecoder().decode(await Deno.readFile(path)); // no BOM
    const polygons = polygonsOf(JSON.parse(text));
    if (polygons.length === 0) throw new Error("it holds no polygon");
    return polygons;
  } catch (cause) {
    throw new ImageError(
      `Cannot read ${path} as GeoJSON polygons: ${reasonOf(cause)}`,
      { cause },
    );
  }
}

function reasonOf(cause: unknown): string {
  if (cause instanceof Deno.errors.NotFound) return "no such file";
  if (cause instanceof z.ZodError) {
    const { path, message } = cause.issues[0]!;
    return `coordinates ${path.join(".")}: ${message}`;
  }
  return (cause as Error).message.replaceAll(/\s+/g, " "); // JSON is quoted
}

/** The polygons of a geometry, a feature, a collection, or a list of them. */
function polygonsOf(value: unknown): Polygon[] {
  if (Array.isArray(value)) return value.flatMap(polygonsOf);
  if (typeof value !== "object" || value === null) return [];
  const { type, features, geometry, geometries, coordinates } = value as Record<
    string,
    unknown
  >;
  switch (type) {
    case "FeatureCollection":
      return polygonsOf(features);
    case "Feature":
      return polygonsOf(geometry);
    case "GeometryCollection":
      return polygonsOf(geometries);
    case "Polygon":
      return [polygonSchema.parse(coordinates)];
    case "MultiPolygon":
      return multiPolygonSchema.parse(coordinates);
    default:
      return [];
  }
}

/**
 * The cells of an image whose middle lies in a polygon, and those that hold a
 * corner of an outline, so that no polygon is too small to be seen.
 */
export function fillPolygons(
  polygons: readonly Polygon[],
  { rows, columns }: MapSize,
  image: Size,
): Mask {
  const mask = { cells: new Uint8Array(rows * columns), rows, columns };
  const inside = { x: 0, y: 0, width: image.width, height: image.height };
  for (const polygon of polygons) {
    for (const [row, xs] of crossings(polygon, rows, image.height)) {
      fillRow(mask, row, { xs, width: image.width });
    }
    for (const point of polygon[0]!) {
      if (!holdsPoint(inside, point)) continue;
      const row = cellHolding(point.y, rows, image.height);
      const column = cellHolding(point.x, columns, image.width);
      mask.cells[row * columns + column] = 1;
    }
  }
  return mask;
}

/** Middle of cell `index`, px. */
function middle(index: number, count: number, extent: number): number {
  return cellEdge(index + 0.5, count, extent);
}

/** Where the middle lines of the rows cross a polygon, sorted, by row. */
function crossings(
  polygon: Polygon,
  rows: number,
  height: number,
): Map<number, number[]> {
  const found = new Map<number, number[]>();
  for (const ring of polygon) {
    for (const [i, to] of ring.entries()) {
      const from = ring[i - 1];
      if (from === undefined) continue;
      const [upper, lower] = from.y < to.y ? [from, to] : [to, from];
      const first = Math.max(0, cellHolding(upper.y, rows, height));
      const last = Math.min(rows - 1, cellHolding(lower.y, rows, height));
      for (let row = first; row <= last; row++) {
        const y = middle(row, rows, height);
        if (y < upper.y || y >= lower.y) continue;
        const share = (y - upper.y) / (lower.y - upper.y);
        const xs = found.get(row) ?? [];
        xs.push(upper.x + share * (lower.x - upper.x));
        found.set(row, xs);
      }
    }
  }
  for (const xs of found.values()) xs.sort((a, b) => a - b);
  return found;
}

/** Fills a row from each odd crossing to the next: holes stay empty. */
function fillRow(
  { cells, columns }: Mask,
  row: number,
  { xs, width }: { xs: readonly number[]; width: number },
): void {
  for (let i = 0; i + 1 < xs.length; i += 2) {
    const first = Math.max(0, cellHolding(xs[i]!, columns, width));
    const last = Math.min(columns - 1, cellHolding(xs[i + 1]!, columns, width));
    for (let column = first; column <= last; column++) {
      const x = middle(column, columns, width);
      if (x >= xs[i]! && x < xs[i + 1]!) cells[row * columns + column] = 1;
    }
  }
}
