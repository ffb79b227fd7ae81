/**
 * Annotated objects of images, to measure where attention falls. Training never
 * uses them. They are read from a CSV per image, which the column `rois` of the
 * manifest names, or from `regions.csv` beside the manifest, with a column
 * `image`; data sets with a layout of their own bring a {@linkcode RoiLayout}. If
 * the images lie elsewhere, as in the splits that a run keeps, the tables may be
 * beside the images or their folder.
 *
 * An object is a box, `left,top,right,bottom`, or a point, `x,y`, in level-0 px,
 * and may have a `type`. All objects count, except those of type "lookalike".
 *
 * @module
 */
import { dirname, join, relative } from "node:path";
import { exists, spelled } from "../files.ts";
import type { Region } from "../image/geometry.ts";
import { isUrl } from "../image/bytes/source.ts";
import { locateImage, type Manifest, type ManifestEntry } from "./manifest.ts";
import { type Columns, Faults, readTable, type TableRow } from "./table.ts";

/** An annotated object; a point has no width and height. */
export interface AnnotatedObject extends Region {
  /** Kind of object, as its table names it. */
  type?: string;
}

/** The annotations of a data set. */
export interface RoiSource {
  /**
   * The objects of an image; empty if none are annotated.
   *
   * @throws {DataError} If its table has faults.
   */
  of(entry: ManifestEntry): Promise<AnnotatedObject[]>;
  /** The image has its label because of this object. */
  relevant(entry: ManifestEntry, object: AnnotatedObject): boolean;
}

/** Tells whether an image has its label because of an object. */
export type Relevance = RoiSource["relevant"];

/**
 * Finds the annotations of a data set with a layout of its own in `folder`;
 * undefined if that is not its layout.
 */
export type RoiLayout = (folder: string) => Promise<RoiSource | undefined>;

const BOX = ["left", "top", "right", "bottom"] as const;
const POINT = ["x", "y"] as const;
const ALL_COLUMNS: Columns = {
  required: [],
  optional: ["image", ...BOX, ...POINT, "type", "objectId"],
};

// All annotated objects count, except synthetic look-alikes.
const isNoLookalike: Relevance = (_, { type }) => type !== "lookalike";

/**
 * The annotations of a manifest, or undefined if it has none.
 *
 * @param layouts of data sets, tried after ours.
 * @throws {DataError} If a table of many images has faults.
 */
export async function readRois(
  { folder, entries }: Pick<Manifest, "folder" | "entries">,
  layouts: readonly RoiLayout[] = [],
): Promise<RoiSource | undefined> {
  if (entries.some(({ rois }) => rois !== undefined)) {
    return perImage(({ rois }) => rois, isNoLookalike);
  }
  for (const place of [folder, ...foldersElsewhere(folder, entries)]) {
    for (const layout of [inOneTable, ...layouts]) {
      const found = await layout(place);
      if (found) return found;
    }
  }
  return undefined;
}

/** The folder of images outside of `folder`, and its parent. */
function foldersElsewhere(
  folder: string,
  entries: readonly ManifestEntry[],
): string[] {
  const image = entries.find(({ path }) =>
    !isUrl(path) && relative(folder, path).startsWith("..")
  );
  if (!image) return [];
  const beside = dirname(image.path);
  return [beside, dirname(beside)];
}

async function inOneTable(folder: string): Promise<RoiSource | undefined> {
  const path = join(folder, "regions.csv");
  return await exists(path)
    ? await perSet(path, folder, isNoLookalike)
    : undefined;
}

/** Annotations with one table per image, read on demand. */
export function perImage(
  locate: (entry: ManifestEntry) => string | undefined,
  relevant: Relevance,
): RoiSource {
  return {
    async of(entry) {
      const located = locate(entry);
      if (located === undefined) return [];
      const path = await spelled(located);
      if (!await exists(path)) return [];
      return (await readObjects(path)).map(({ object }) => object);
    },
    relevant,
  };
}

/** Annotations with one table for all images. */
export async function perSet(
  path: string,
  folder: string,
  relevant: Relevance,
): Promise<RoiSource> {
  const objects = Map.groupBy(
    await readObjects(path, ["image"]),
    ({ image }) => locateImage(folder, image!).normalize(),
  );
  return {
    of: (entry) =>
      Promise.resolve(
        (objects.get(entry.path.normalize()) ?? []).map(({ object }) => object),
      ),
    relevant,
  };
}

async function readObjects(
  path: string,
  required: readonly string[] = [],
): Promise<{ image?: string; object: AnnotatedObject }[]> {
  const faults = new Faults(path);
  const { columns, rows } = await readTable(path, {
    required,
    optional: ALL_COLUMNS.optional,
  }, faults);
  const isBox = columns.includes("left");
  const needed = [...required, ...isBox ? BOX : POINT];
  for (const column of needed) {
    if (!columns.includes(column)) {
      faults.add(1, `missing column "${column}": name it in the header`);
    }
  }
  const objects = rows.map((row) => {
    for (const column of needed) {
      if (row.fields[column] === undefined) {
        faults.add(row.line, `empty ${column}: fill it in`);
      }
    }
    const { image, type = row.fields.objectId } = row.fields;
    return {
      ...(image !== undefined && { image }),
      object: {
        ...isBox ? parseBox(row, faults) : parsePoint(row, faults),
        ...(type !== undefined && { type }),
      },
    };
  });
  faults.throwIfAny();
  return objects;
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
