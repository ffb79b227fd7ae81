/**
 * Polygons of a GeoJSON file, as slide viewers write them: in level-0 px, with
 * y downwards.
 *
 * Format: RFC 7946, https://www.rfc-editor.org/rfc/rfc7946
 *
 * @module
 */
import { z } from "zod";
import { ImageError } from "../../errors.ts";
import { spelled } from "../../files.ts";
import type { Mask } from "./foreground.ts";
import {
  cellEdge,
  cellHolding,
  holdsPoint,
  type MapSize,
  type Point,
  type Size,
} from "../geometry.ts";

/** A closed line, level-0 px. */
type Ring = Point[];

/** An outline and the holes in it, each a closed line. */
export type Polygon = Point[][];

const positionSchema = z.tuple([z.number(), z.number()]).rest(z.number());
const ringSchema = z.array(positionSchema);

/** A geometry of a file, with its name for messages. */
export interface Found {
  /** Path in the file, such as `features[3] (id "7f")`. */
  place: string;
  rings: unknown;
}

/**
 * All polygons of the GeoJSON file at `path`; points and lines are ignored. An
 * open ring is closed.
 *
 * @throws {ImageError} If it cannot be read, or holds no polygon; the message
 *   names the first faulty ring.
 */
export async function readPolygons(path: string): Promise<Polygon[]> {
  try {
    const text = new TextDecoder().decode(
      await Deno.readFile(await spelled(path)),
    ); // no BOM
    const polygons = polygonsIn(JSON.parse(text), "")
      .map(parsePolygon).filter((rings) => rings.length > 0);
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
  return (cause as Error).message.replaceAll(/\s+/g, " "); // JSON is quoted
}

/** The polygons of a geometry, a feature, a collection, or a list of them. */
function polygonsIn(value: unknown, place: string): Found[] {
  if (Array.isArray(value)) {
    return value.flatMap((item, i) => polygonsIn(item, `${place}[${i}]`));
  }
  if (typeof value !== "object" || value === null) return [];
  const { type, features, geometry, geometries, coordinates } = value as Record<
    string,
    unknown
  >;
  const below = (name: string) => place === "" ? name : `${place}.${name}`;
  switch (type) {
    case "FeatureCollection":
      return polygonsIn(features, below("features"));
    case "Feature":
      return polygonsIn(geometry, `${place}${identityOf(value)}`);
    case "GeometryCollection":
      return polygonsIn(geometries, below("geometries"));
    case "Polygon":
      return [{ place: below("coordinates"), rings: coordinates }];
    case "MultiPolygon":
      return listOf(coordinates, below("coordinates"))
        .map((rings, i) => ({ place: `${below("coordinates")}[${i}]`, rings }));
    default:
      return [];
  }
}

/** The id and name of a feature, as a viewer shows them. */
export function identityOf(feature: object): string {
  const { id, properties } = feature as Record<string, unknown>;
  const name = (properties as { name?: unknown } | null | undefined)?.name;
  const told = Object.entries({ id, name })
    .filter(([, value]) => ["string", "number"].includes(typeof value))
    .map(([key, value]) => `${key} ${JSON.stringify(value)}`);
  return told.length > 0 ? ` (${told.join(", ")})` : "";
}

/**
 * The rings of a polygon's coordinates, each closed.
 *
 * @throws {Error} Naming the first faulty ring or number by its place.
 */
export function parsePolygon({ place, rings }: Found): Polygon {
  return listOf(rings, place)
    .map((ring, i) => parseRing(ring, `${place}[${i}]`));
}

function listOf(value: unknown, place: string): unknown[] {
  if (Array.isArray(value)) return value;
  throw new Error(`${place} is not a list: write the positions of its rings`);
}

// A triangle.
const MIN_CORNERS = 3;

function parseRing(value: unknown, place: string): Ring {
  const { data, error } = ringSchema.safeParse(value);
  if (error) {
    const at = error.issues[0]!.path.map((step) => `[${String(step)}]`);
    throw new Error(
      `${place}${at.join("")} is no ${
        ["ring", "position", "number"][at.length] ?? "number"
      }: write positions as [x, y]`,
    );
  }
  const ring = closed(data.map(([x, y]) => ({ x, y })));
  if (ring.length > MIN_CORNERS) return ring;
  throw new Error(
    `${place} is not a ring: it has fewer than ${MIN_CORNERS} corners; draw it again, or remove it`,
  );
}

/** The ring with its first corner repeated at the end, as the format requires. */
function closed(ring: Ring): Ring {
  const first = ring[0], last = ring.at(-1);
  if (!first || !last) return ring;
  return first.x === last.x && first.y === last.y ? ring : [...ring, first];
}

/**
 * Marks the cells whose middle lies in a polygon, and those that hold a corner
 * of an outline, so that even tiny polygons are marked.
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

/** Crossings of each row's middle line with a polygon, sorted, by row. */
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

/** Fills a row by the even-odd rule: holes stay empty. */
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
