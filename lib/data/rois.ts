/**
 * Annotated objects of images, to measure where attention falls. Training never
 * uses them. They are read from the first of
 *
 * a column "rois" a CSV per image regions.csv written with our synthetic sets
 * signs.csv boxes of road signs (GTSDB) nuclei/NAME.csv points of nuclei
 * (CRCHistoPhenotypes)
 *
 * beside the manifest. If its images lie elsewhere, as in the splits that a run
 * keeps, the tables may be beside the images or their folder.
 *
 * An object is a box, `left,top,right,bottom`, or a point, `x,y`, in level-0
 * px, and may have a `type`. Tables of many images have a column `image`.
 *
 * @module
 */
import { dirname, join, parse, relative } from "node:path";
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
export interface RegionSource {
  /**
   * The objects of an image; empty if none are annotated.
   *
   * @throws {DataError} If its table has faults.
   */
  of(entry: ManifestEntry): Promise<AnnotatedObject[]>;
  /** The image has its label because of this object. */
  relevant(entry: ManifestEntry, object: AnnotatedObject): boolean;
}

type Relevance = RegionSource["relevant"];

const BOX = ["left", "top", "right", "bottom"] as const;
const POINT = ["x", "y"] as const;
const ALL_COLUMNS: Columns = {
  required: [],
  optional: ["image", ...BOX, ...POINT, "type", "objectId"],
};

// GTSDB numbers the kinds of signs; of our subset's labels, 0 is "none of
// these". Checked with signs.csv: each image of label 1 to 3 holds at least
// one sign of its kind, and no image holds a sign of another label's kind.
const SIGN_OF_LABEL: Record<string, string> = {
  1: "2", // 50 km/h
  2: "4", // 70 km/h
  3: "5", // 80 km/h
};

const isSignOfLabel: Relevance = ({ label }, { type }) =>
  type !== undefined && SIGN_OF_LABEL[label] === type;

// Label 1 means "at least one epithelial nucleus" (SOURCE.md of the set).
const isEpithelial: Relevance = (_, { type }) => type === "epithelial";

// All annotated objects count, except synthetic look-alikes.
const isNoLookalike: Relevance = (_, { type }) => type !== "lookalike";

/**
 * The annotations of a manifest, or undefined if it has none.
 *
 * @throws {DataError} If a table of many images has faults.
 */
export async function readRegions(
  { folder, entries }: Pick<Manifest, "folder" | "entries">,
): Promise<RegionSource | undefined> {
  if (entries.some(({ rois }) => rois !== undefined)) {
    return perImage(({ rois }) => rois, isNoLookalike);
  }
  for (const place of [folder, ...foldersElsewhere(folder, entries)]) {
    const found = await regionsIn(place);
    if (found) return found;
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

async function regionsIn(folder: string): Promise<RegionSource | undefined> {
  const here = (name: string) => join(folder, name);
  if (await exists(here("regions.csv"))) {
    return await perSet(here("regions.csv"), folder, isNoLookalike);
  }
  if (await exists(here("signs.csv"))) {
    return await perSet(here("signs.csv"), folder, isSignOfLabel);
  }
  if (await exists(here("nuclei"))) {
    return perImage(
      ({ path }) => here(join("nuclei", `${parse(path).name}.csv`)),
      isEpithelial,
    );
  }
  return undefined;
}

/** Annotations with one table per image, read on demand. */
function perImage(
  locate: (entry: ManifestEntry) => string | undefined,
  relevant: Relevance,
): RegionSource {
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
async function perSet(
  path: string,
  folder: string,
  relevant: Relevance,
): Promise<RegionSource> {
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
