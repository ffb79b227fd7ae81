/**
 * The drawn tiles and sub-tiles as GeoJSON, which QuPath opens over the slide,
 * and a map program over a georeferenced image.
 *
 * Tiles of stage I are objects of type "tile", the sub-tiles that were read are
 * detections; their measurement "attention" is the share they had. Coordinates
 * are level-0 px, as QuPath has them, or those of the image's coordinate
 * system.
 *
 * Source: RFC 7946; its member "crs" is that of GeoJSON 2008, which QGIS and
 * GDAL read; QuPath 0.5 documentation, "Exporting annotations", GeoJSON.
 *
 * @module
 */
import { createHash } from "node:crypto";
import {
  type Point,
  type Region,
  transformedPoint,
} from "../image/geometry.ts";
import type { Classification } from "./classification.ts";

/**
 * Origins of the coordinates: `level0` the first pixel; `bounds` the corner of
 * the part of a slide that was scanned, to which QuPath crops; `world` that of
 * the image's coordinate system.
 */
export const ORIGINS = ["level0", "bounds", "world"] as const;

/** Name of an origin. */
export type Origin = (typeof ORIGINS)[number];

/** A collection of regions, as RFC 7946 writes it. */
export interface RegionCollection {
  type: "FeatureCollection";
  /** The coordinate system, if `origin` is `world`. */
  crs?: { type: "name"; properties: { name: string } };
  features: RegionFeature[];
}

/** A region. */
export interface RegionFeature {
  type: "Feature";
  /**
   * A UUID, unique in its collection, and the same each time that the regions of
   * an image are exported.
   */
  id: string;
  geometry: { type: "Polygon"; coordinates: [number, number][][] };
  properties: {
    objectType: "tile" | "detection" | "annotation";
    classification: { name: string; color: [number, number, number] };
    measurements: Record<string, number>;
  };
}

/** The parts of a classification that are exported. */
export type ClassifiedRegions = Pick<
  Classification,
  "label" | "probabilities" | "image" | "tiles" | "subTiles" | "object"
>;

// One a class, in the order of the model's classes: Okabe and Ito, 2008.
const COLOURS: readonly [number, number, number][] = [
  [0, 114, 178],
  [213, 94, 0],
  [0, 158, 115],
  [204, 121, 167],
  [230, 159, 0],
  [86, 180, 233],
  [240, 228, 66],
];

/**
 * The tiles and sub-tiles of a classified image, and the object that a close-up
 * placed.
 *
 * @throws {RangeError} If the image has no such origin.
 *
 * @example
 * ```ts
 * import { classifyImage, readCheckpoint } from "@zoomin/zoomin";
 *
 * const { model } = await readCheckpoint("run"); // after startEngine
 * const { classification } = await classifyImage("a.svs", model, { seed: 0 });
 * const regions = regionsGeoJson(classification, { origin: "bounds" });
 * await Deno.writeTextFile("a.geojson", JSON.stringify(regions));
 * ```
 */
export function regionsGeoJson(
  classified: ClassifiedRegions,
  { origin = "level0" }: { origin?: Origin | undefined } = {},
): RegionCollection {
  const { label, probabilities, image, tiles, subTiles, object } = classified;
  const place = placing(classified, origin);
  const index = Object.keys(probabilities).indexOf(label);
  const colour = COLOURS[index % COLOURS.length]!;
  const told = new Map<string, number>();
  /** Tiles that overlap may hold the same sub-tile. */
  const idOf = (...what: readonly unknown[]) => {
    const key = JSON.stringify([image.width, image.height, label, ...what]);
    const before = told.get(key) ?? 0;
    told.set(key, before + 1);
    return uuidOf([key, before]);
  };
  const feature = (
    objectType: RegionFeature["properties"]["objectType"],
    region: Region,
    measurements: Record<string, number>,
  ): RegionFeature => ({
    type: "Feature",
    id: idOf(objectType, region),
    geometry: {
      type: "Polygon",
      coordinates: [
        ring(region).map((corner) => {
          const { x, y } = place(corner);
          return [x, y];
        }),
      ],
    },
    properties: {
      objectType,
      classification: { name: label, color: colour },
      measurements,
    },
  });
  const crs = origin === "world" ? image.georeference?.crs : undefined;
  return {
    type: "FeatureCollection",
    ...(crs && {
      crs: { type: "name" as const, properties: { name: urnOf(crs) } },
    }),
    features: [
      ...tiles.map(({ count, ...region }) =>
        feature("tile", region, { draws: count })
      ),
      ...subTiles.map(({ weight, ...region }) =>
        feature("detection", region, { attention: weight })
      ),
      ...(object ? [feature("annotation", object, {})] : []),
    ],
  };
}

/** The coordinates of a corner. */
function placing(
  { image: { bounds, georeference } }: ClassifiedRegions,
  origin: Origin,
): (corner: Point) => Point {
  switch (origin) {
    case "level0":
      return (corner) => corner;
    case "bounds":
      // A file that names none was scanned from its first pixel on.
      return ({ x, y }) => ({
        x: x - (bounds?.x ?? 0),
        y: y - (bounds?.y ?? 0),
      });
    case "world":
      if (georeference) {
        return (corner) => transformedPoint(corner, georeference.transform);
      }
      throw new RangeError(
        'Cannot take "world" as the origin: the image is not georeferenced; take level0 or bounds',
      );
    default:
      return origin satisfies never;
  }
}

/** The corners of a region, the first one twice. */
function ring({ x, y, width, height }: Region): Point[] {
  return [
    { x, y },
    { x: x + width, y },
    { x: x + width, y: y + height },
    { x, y: y + height },
    { x, y },
  ];
}

/** "EPSG:32633" as an OGC URN. */
function urnOf(crs: string): string {
  const [, code] = /^EPSG:(\d+)$/.exec(crs) ?? [];
  return code ? `urn:ogc:def:crs:EPSG::${code}` : crs;
}

/** A UUID by content (RFC 9562, version 8). */
function uuidOf(content: unknown): string {
  const bytes = createHash("sha256").update(JSON.stringify(content)).digest();
  bytes[6] = (bytes[6]! & 0x0f) | 0x80;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = bytes.toString("hex");
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    hex.slice(12, 16),
    hex.slice(16, 20),
    hex.slice(20, 32),
  ].join("-");
}
