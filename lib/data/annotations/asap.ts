/**
 * Annotated objects in ASAP's XML, as of the CAMELYON sets. The type of an
 * object is its group. Dots and each point of a point set are points; the
 * corners of polygons, rectangles and splines are joined by straight lines.
 * Measurements are left out.
 *
 * Program: https://computationalpathologygroup.github.io/ASAP
 *
 * @module
 */
import { SaxesParser } from "saxes";
import type { Point } from "../../image/geometry.ts";
import { type AnnotatedObject, pointObject, polygonObject } from "./object.ts";

/** An annotation that is being read. */
interface Open {
  kind: string;
  /** Its name and line, for messages. */
  place: string;
  line: number;
  type: string | undefined;
  corners: (Point & { order: number })[];
}

/** A fault with its line. */
export class LineError extends Error {
  constructor(readonly line: number, message: string) {
    super(message);
  }
}

// Nesting of elements; ASAP writes four.
const MAX_DEPTH = 20;
// Characters of a stranger's word in a message.
const WORD_LENGTH = 40;
const ROOT = "ASAP_Annotations";
const POINTS = ["Dot", "PointSet"];
const OUTLINES = ["Polygon", "Spline", "Rectangle"];
const NO_OBJECTS = ["Measurement", "None"];
const MIN_CORNERS = 3;

/**
 * The objects of ASAP's XML. Only XML's predefined entities are expanded.
 *
 * @throws {LineError} With the line of the first fault.
 */
export function asapObjects(xml: string): AnnotatedObject[] {
  const objects: AnnotatedObject[] = [];
  const parser = new SaxesParser();
  let depth = 0;
  let open: Open | undefined;
  const fail = (message: string): never => {
    throw new LineError(parser.line, message);
  };
  parser.on("opentag", ({ name, attributes }) => {
    if (depth++ === 0 && name !== ROOT) {
      fail(
        `its root is <${
          name.slice(0, WORD_LENGTH)
        }>, not <${ROOT}>: save the annotations with ASAP, or as GeoJSON`,
      );
    }
    if (depth > MAX_DEPTH) fail("its elements nest too deep");
    if (name === "Annotation") open = opened(attributes, parser.line);
    if (name === "Coordinate") {
      open?.corners.push(cornerOf(attributes, parser.line, open));
    }
  });
  parser.on("closetag", ({ name }) => {
    depth--;
    if (name !== "Annotation" || open === undefined) return;
    for (const object of closed(open)) objects.push(object);
    open = undefined;
  });
  parser.on("error", ({ message }) => {
    const why = message.replace(/^\d+:\d+: /, "") // line and column
      .replace("undefined entity", "an entity that is not XML's own")
      .replace(/\.$/, "");
    fail(`it is no well-formed XML: ${why}; save it again`);
  });
  parser.write(xml).close();
  return objects;
}

function opened(
  { Name, Type = "", PartOfGroup }: Record<string, string>,
  line: number,
): Open {
  const name = Name ? ` "${Name.slice(0, WORD_LENGTH)}"` : "";
  return {
    kind: Type,
    place: `the annotation${name}`,
    line,
    type: PartOfGroup === "None" || PartOfGroup === ""
      ? undefined
      : PartOfGroup,
    corners: [],
  };
}

function cornerOf(
  attributes: Record<string, string>,
  line: number,
  { place, corners }: Open,
): Open["corners"][number] {
  const [x, y] = (["X", "Y"] as const).map((name) => {
    const text = attributes[name] ?? "";
    const value = Number(text);
    if (text.trim() !== "" && Number.isFinite(value)) return value;
    throw new LineError(
      line,
      `${name} of ${place} is "${
        text.slice(0, WORD_LENGTH)
      }": write a number of px`,
    );
  }) as [number, number];
  const order = Number(attributes.Order ?? corners.length);
  return { x, y, order: Number.isFinite(order) ? order : corners.length };
}

function closed({ kind, place, line, type, corners }: Open): AnnotatedObject[] {
  if (NO_OBJECTS.includes(kind)) return [];
  const ordered = corners.sort((a, b) => a.order - b.order)
    .map(({ x, y }) => ({ x, y }));
  if (POINTS.includes(kind)) {
    return ordered.map((point) => pointObject(point, type));
  }
  if (!OUTLINES.includes(kind)) {
    throw new LineError(
      line,
      `${place} has the type "${kind.slice(0, WORD_LENGTH)}": it must be ${
        [...POINTS, ...OUTLINES].join(", ")
      }`,
    );
  }
  if (ordered.length < MIN_CORNERS) {
    throw new LineError(
      line,
      `${place} has ${ordered.length} corners: draw it with ${MIN_CORNERS} or more, or remove it`,
    );
  }
  return [polygonObject([[[...ordered, ordered[0]!]]], type)];
}
