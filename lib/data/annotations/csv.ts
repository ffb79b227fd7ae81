/**
 * Annotated objects in a CSV table: a box, `left,top,right,bottom`, or a point,
 * `x,y`, a line. A column `image` makes it a table of many images.
 *
 * @module
 */
import type { Region } from "../../image/geometry.ts";
import { type Columns, Faults, readTable, type TableRow } from "../table.ts";
import { type AnnotatedObject, type Annotations, boxObject } from "./object.ts";

const BOX = ["left", "top", "right", "bottom"] as const;
const POINT = ["x", "y"] as const;
const COLUMNS: Columns = {
  required: [],
  optional: ["image", ...BOX, ...POINT, "type", "objectId"],
};

/**
 * The objects of the table at `path`.
 *
 * @throws {DataError} With every fault, each by its line.
 */
export async function readCsv(path: string): Promise<Annotations> {
  const faults = new Faults(path);
  const { columns, rows } = await readTable(path, COLUMNS, faults);
  const isOfMany = columns.includes("image");
  const isBox = columns.includes("left");
  const needed = [...isOfMany ? ["image"] : [], ...isBox ? BOX : POINT];
  for (const column of needed) {
    if (!columns.includes(column)) {
      faults.add(1, `missing column "${column}": name it in the header`);
    }
  }
  const found = rows.map((row) => {
    for (const column of needed) {
      if (row.fields[column] === undefined) {
        faults.add(row.line, `empty ${column}: fill it in`);
      }
    }
    return { image: row.fields.image, object: objectOf(row, isBox, faults) };
  });
  faults.throwIfAny();
  if (!isOfMany) return { objects: found.map(({ object }) => object) };
  const images = Map.groupBy(found, ({ image }) => image!);
  return {
    images: [...images].map(([image, found]) => ({
      image,
      objects: found.map(({ object }) => object),
    })),
  };
}

function objectOf(
  row: TableRow,
  isBox: boolean,
  faults: Faults,
): AnnotatedObject {
  const { type = row.fields.objectId } = row.fields;
  const region = isBox ? parseBox(row, faults) : parsePoint(row, faults);
  return boxObject(region, type);
}

function parseBox(row: TableRow, faults: Faults): Region {
  const [left, top, right, bottom] = BOX.map((c) =>
    parsePx(row, c, faults)
  ) as [number, number, number, number];
  if (right < left || bottom < top) {
    faults.add(row.line, "right and bottom lie before left and top");
  }
  return { x: left, y: top, width: right - left, height: bottom - top };
}

function parsePoint(row: TableRow, faults: Faults): Region {
  const [x, y] = POINT.map((c) => parsePx(row, c, faults)) as [number, number];
  return { x, y, width: 0, height: 0 };
}

function parsePx(
  { line, fields }: TableRow,
  column: string,
  faults: Faults,
): number {
  const value = Number(fields[column] ?? 0); // an empty one is already a fault
  if (!Number.isFinite(value)) {
    faults.add(line, `${column} is "${fields[column]}": write a number of px`);
  }
  return value;
}
