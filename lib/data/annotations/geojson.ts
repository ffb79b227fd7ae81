/**
 * Annotated objects in GeoJSON, as QuPath exports them: a collection or a list
 * of features, in px of the image, with the name of their class.
 *
 * Points, multipoints, polygons with holes and multipolygons are read; an
 * ellipse is exported as a polygon. Each point of a multipoint is an object, a
 * multipolygon is one. Lines are for measuring and are left out.
 *
 * Format: RFC 7946; https://qupath.readthedocs.io/en/stable/docs/advanced/exporting_annotations.html
 *
 * @module
 */
import { z } from "zod";
import {
  type Found,
  identityOf,
  parsePolygon,
} from "../../image/foreground/polygons.ts";
import { type AnnotatedObject, pointObject, polygonObject } from "./object.ts";

/** A geometry, its place in the file and the class of its feature. */
interface Drawn {
  place: string;
  geometry: unknown;
  type: string | undefined;
}

// A feature's geometry may be a collection; one of collections is not drawn.
const MAX_DEPTH = 4;

const LINES = ["LineString", "MultiLineString"];

/** True if a JSON value is a collection, a list of features, or a feature. */
export function isGeoJson(value: unknown): boolean {
  const item = Array.isArray(value) ? value[0] : value;
  const type = fieldsOf(item).type;
  return Array.isArray(value) && value.length === 0 ||
    type === "Feature" || type === "FeatureCollection";
}

/**
 * The objects of a GeoJSON value.
 *
 * @throws {Error} Naming the first fault by its place in the file.
 */
export function geoJsonObjects(value: unknown): AnnotatedObject[] {
  return featuresOf(value).flatMap(({ place, feature }) =>
    objectsOf(drawnBy(feature, place), 0)
  );
}

/** The features of a file, of its lists and collections. */
function featuresOf(value: unknown): { place: string; feature: unknown }[] {
  const listed = (list: readonly unknown[], name: string) =>
    list.map((feature, i) => ({ place: `${name}[${i}]`, feature }));
  if (Array.isArray(value)) return listed(value, "");
  const { type, features } = fieldsOf(value);
  if (type !== "FeatureCollection") return [{ place: "", feature: value }];
  if (Array.isArray(features)) return listed(features, "features");
  throw new Error("its features are no list: export the annotations again");
}

function drawnBy(feature: unknown, place: string): Drawn {
  const { type, geometry, properties } = fieldsOf(feature);
  if (type !== "Feature") {
    throw new Error(
      `${place} is no feature: its type is ${
        worded(type)
      }; export the annotations as features`,
    );
  }
  return {
    place: `${place}${identityOf(feature as object)}`,
    geometry,
    type: classOf(properties),
  };
}

/**
 * The class in a feature's properties: QuPath's classification has a name, or
 * the names of a class and its parts.
 */
function classOf(properties: unknown): string | undefined {
  const { classification } = fieldsOf(properties);
  const { name, names } = fieldsOf(classification);
  for (const found of [classification, name]) {
    if (typeof found === "string" && found !== "") return found;
  }
  const isNamed = Array.isArray(names) && names.length > 0 &&
    names.every((part) => typeof part === "string");
  return isNamed ? names.join(": ") : undefined;
}

function objectsOf(drawn: Drawn, depth: number): AnnotatedObject[] {
  const { place, geometry, type } = drawn;
  if (geometry === null || geometry === undefined) return []; // it has no place
  const { type: kind, coordinates, geometries } = fieldsOf(geometry);
  const at = (name: string) => place === "" ? name : `${place}.${name}`;
  const found = { place: at("coordinates"), rings: coordinates };
  switch (kind) {
    case "Point":
      return [pointObject(pointOf(coordinates, found.place), type)];
    case "MultiPoint":
      return listOf(coordinates, found.place).map((point, i) =>
        pointObject(pointOf(point, `${found.place}[${i}]`), type)
      );
    case "Polygon":
      return partsOf([found], type);
    case "MultiPolygon":
      return partsOf(
        listOf(coordinates, found.place)
          .map((rings, i) => ({ place: `${found.place}[${i}]`, rings })),
        type,
      );
    case "GeometryCollection":
      if (depth < MAX_DEPTH) {
        return listOf(geometries, at("geometries")).flatMap((geometry, i) =>
          objectsOf(
            { place: at(`geometries[${i}]`), geometry, type },
            depth + 1,
          )
        );
      }
      throw new Error(`${place} nests collections too deep: draw its parts`);
    default:
      if (LINES.includes(kind as string)) return [];
      throw new Error(
        `${place} has a geometry of type ${
          worded(kind)
        }: draw it as points or polygons, or remove it`,
      );
  }
}

/** One object of polygons; none if they have no ring, as of an empty shape. */
function partsOf(
  parts: readonly Found[],
  type: string | undefined,
): AnnotatedObject[] {
  const polygons = parts.map(parsePolygon).filter(({ length }) => length > 0);
  return polygons.length > 0 ? [polygonObject(polygons, type)] : [];
}

const positionSchema = z.tuple([z.number(), z.number()]).rest(z.unknown());

function pointOf(value: unknown, place: string): { x: number; y: number } {
  const { data } = positionSchema.safeParse(value);
  if (data) return { x: data[0], y: data[1] };
  throw new Error(`${place} is no position: write it as [x, y]`);
}

function listOf(value: unknown, place: string): unknown[] {
  if (Array.isArray(value)) return value;
  throw new Error(`${place} is no list: export the annotations again`);
}

/** The fields of an object; none of anything else. */
function fieldsOf(value: unknown): Partial<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? { ...value } : {};
}

// Characters of a stranger's word in a message.
const WORD_LENGTH = 40;

/** A value of a file for a message. */
function worded(value: unknown): string {
  return value === undefined
    ? "missing"
    : JSON.stringify(value).slice(0, WORD_LENGTH);
}
