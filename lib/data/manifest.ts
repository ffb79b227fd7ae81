/**
 * The manifest: a CSV table with one labelled image per line.
 *
 *     image,label[,split][,fold][,group][,site][,mpp][,rois]
 *
 * Columns may be in any order, and others are left alone; paths are relative to
 * the manifest's folder. A user's own tables may have other names for the columns
 * and the labels in a second table, of the patients: {@linkcode TableLayout}.
 *
 * @module
 */
import { basename, dirname, resolve } from "node:path";
import { shortened } from "../errors.ts";
import { spelled } from "../files.ts";
import { isPlausibleMpp, MPP_WORDS } from "../image/mpp.ts";
import { isUrl } from "../image/bytes/source.ts";
import type { Goal, TargetName } from "../target.ts";
import { isNumber, type LabelReader, labelReader } from "./goals.ts";
import {
  type LabelColumns,
  labelColumnsOf,
  labelledRows,
} from "./label_columns.ts";
import { inTurns } from "./in_turns.ts";
import { IMAGE_NAME, imageOfName } from "./image_names.ts";
import { listedFiles } from "./listed_files.ts";
import { joinPatients } from "./patients.ts";
import {
  type Columns,
  Faults,
  listed,
  readTable,
  type TableRow,
} from "./table.ts";

/** The side of a split that an image is on. */
export type Split = "train" | "validation" | "test";

/** An image that a table names. */
export interface TableImage {
  /** The path or URL as written in the manifest. */
  image: string;
  /** The absolute path, or the URL. */
  path: string;
  /** The label of the image, if it has one. */
  label?: string;
  /** The side of the split, if the manifest states it. */
  split?: Split;
  /** The fold for cross-validation, if the manifest states it. */
  fold?: number;
  /** Group of images that must stay together, such as those of one patient. */
  group?: string;
  /** Where the image comes from, such as a hospital. */
  site?: string;
  /** Micrometres per level-0 px. */
  mpp?: number;
  /** The absolute path of a CSV with the objects of the image. */
  rois?: string;
  /** The manifest that names the image. */
  manifest: string;
  /** Line of the image in `manifest`, from 1. */
  line: number;
}

/** A labelled image. */
export interface ManifestEntry extends TableImage {
  /** The label of the image. */
  label: string;
  /** Index of `label` in the manifest's classes; 0 if the target has none. */
  classIndex: number;
  /** What `label` says, of a target other than classes. */
  goal?: Goal;
  /** What splits and folds deal the image out by; `label` if omitted. */
  strata?: readonly string[];
}

/** Images to classify, labelled or not. */
export interface Cohort {
  /** In the order of the table. */
  entries: TableImage[];
  /** What was not used of its tables, a sentence each. */
  notes: readonly string[];
}

/** A manifest that has been read and checked. */
export interface Manifest {
  /** Path of the manifest. */
  path: string;
  /** Folder of the manifest, to which its paths are relative. */
  folder: string;
  /**
   * Sorted labels: numerically if all are numbers, else by code unit. Of a target
   * that is a number, the name of the one output.
   */
  classes: string[];
  /** What its labels say. */
  target: TargetName;
  /** The labelled images, in the order of the file. */
  entries: ManifestEntry[];
  /** What was not used of its tables, a sentence each. */
  notes: readonly string[];
}

/** How a user's own tables are laid out, CSV, TSV or XLSX. */
export interface TableLayout {
  /** Names of the columns. */
  columns?: {
    /** Default: `image`, or `FILENAME` as in STAMP's slide table. */
    image?: string | undefined;
    /** Default: `label`. */
    label?: string | undefined;
    /** Default: `group`, or `PATIENT` as in STAMP's tables. */
    group?: string | undefined;
    /** Default: `site`. */
    site?: string | undefined;
    /** Of the target `survival`; default: `time`. */
    time?: string | undefined;
    /** Of the target `survival`; default: `event`. */
    event?: string | undefined;
  };
  /** Table of the patients with their labels, joined by the column of the group. */
  clini?: string | undefined;
  /** Folder of the images, whose names may lack their extension; that of the table if omitted. */
  images?: string | undefined;
}

// As STAMP's slide table and clini table name them.
const FILENAME = "FILENAME", PATIENT = "PATIENT";

const ADVICE = {
  image: "name it in the header, or give --image-column NAME",
  label: "name it in the header, or give --label-column NAME",
  group: "name it in the header, or give --group-column NAME",
  site: "name it in the header, or give --site-column NAME",
};

/** The columns of a manifest, or of a slide table, whose labels are elsewhere. */
function columnsOf(
  layout: TableLayout | undefined,
  labels: LabelColumns,
): Columns {
  const { image, group, site } = layout?.columns ?? {};
  const isJoined = layout?.clini !== undefined;
  const label = labelColumnsOf(labels);
  return {
    required: ["image", ...(isJoined ? ["group"] : label.required)],
    optional: [
      ...(isJoined ? [] : label.optional),
      ...["split", "fold", "site", "mpp", "rois"],
      ...(isJoined ? [] : ["group"]),
    ],
    exact: ["site"], // "size" and "side" are columns of the user's own
    names: {
      ...label.names,
      image: image === undefined ? ["image", FILENAME] : [image],
      group: group === undefined ? ["group", PATIENT] : [group],
      site: [site ?? "site"],
    },
    ...(layout && { advice: ADVICE }),
  };
}

/** How a table names what makes its labels. */
function labelsOf(
  layout: TableLayout | undefined,
  target: TargetName,
): LabelColumns {
  const { label, time, event } = layout?.columns ?? {};
  return {
    target,
    names: {
      ...(label !== undefined && { label }),
      ...(time !== undefined && { time }),
      ...(event !== undefined && { event }),
    },
  };
}

/** The columns of a table of images to classify: those that the user names are required. */
function cohortColumns(layout: TableLayout): Columns {
  const { names, advice } = columnsOf(layout, labelsOf(layout, "classes"));
  const { label, group } = layout.columns ?? {};
  const isJoined = layout.clini !== undefined; // which has the labels
  const required = [
    "image",
    ...(isJoined || group !== undefined ? ["group"] : []),
    ...(!isJoined && label !== undefined ? ["label"] : []),
  ];
  const optional = ["group", ...isJoined ? [] : ["label"], "mpp"]
    .filter((column) => !required.includes(column));
  return {
    required,
    optional,
    ...(names && { names }),
    ...(advice && { advice }),
  };
}

/** Words for the three sides in published data sets. */
export const SPLITS: Readonly<Record<string, Split>> = {
  train: "train",
  validation: "validation",
  valid: "validation",
  val: "validation",
  test: "test",
};

/**
 * Reads a manifest and checks all of it.
 *
 * @example Count the images of each class
 * ```ts
 * const { classes, entries } = await readManifest("slides/manifest.csv");
 * for (const label of classes) {
 *   console.log(label, entries.filter((entry) => entry.label === label).length);
 * }
 * ```
 *
 * @param options.classes the classes of a checkpoint: other labels are faults,
 * and class indices are those of the checkpoint.
 * @param options.target what the labels say; one class of several if omitted.
 * @param options.isFile tells whether a file exists and may be read; if omitted,
 *   any file that exists may.
 * @param options.missing "kept" if images that are no files are found later.
 * @param options.layout of a user's own tables; others must be manifests in CSV.
 * @throws {DataError} With every fault, each by file and line.
 */
export async function readManifest(
  path: string,
  {
    classes,
    target = "classes",
    isFile,
    missing = "faults",
    layout,
  }: {
    classes?: readonly string[];
    target?: TargetName;
    isFile?: (path: string) => Promise<boolean>;
    missing?: "faults" | "kept";
    layout?: TableLayout | undefined;
  } = {},
): Promise<Manifest> {
  const faults = new Faults(path);
  const labels = labelsOf(layout, target);
  const columns = columnsOf(layout, labels);
  const { rows, has, notes } = await readRows(path, layout, {
    columns,
    labels,
    everyRow: true,
    faults,
  });
  checkNamed(layout, has, faults);
  const reader = labelReader(target);
  const folder = dirname(resolve(path));
  const images = imageFolder(path, layout);
  const entries = rows
    .map((row) => parseEntry(row, { path, folder, images, has, faults }))
    .filter((entry) => entry !== undefined);
  await spellPaths(entries);
  if (layout) await completeNames(entries, faults);
  checkDuplicates(entries, faults);
  await checkFiles(entries, faults, {
    isFile,
    missing: faults.count > 0 ? "faults" : missing, // all that is wrong at once
  });
  if (classes) checkLabels(entries, classes, { reader, faults });
  faults.throwIfAny();

  const names = classes ? [...classes] : namesOf(entries, reader);
  const indices = new Map(names.map((name, index) => [name, index]));
  for (const entry of entries) entry.classIndex = indices.get(entry.label) ?? 0;
  if (target !== "classes") addGoals(entries, names, reader);
  return { path, folder, classes: names, target, entries, notes };
}

/** Names of the outputs: fixed ones, or those that the labels use. */
function namesOf(
  entries: readonly ManifestEntry[],
  { fixed, namesIn }: LabelReader,
): string[] {
  return fixed
    ? [...fixed]
    : sortNames(entries.flatMap(({ label }) => namesIn(label)));
}

/** Adds what the labels say, and what images are dealt out by. */
function addGoals(
  entries: readonly ManifestEntry[],
  names: readonly string[],
  reader: LabelReader,
): void {
  const strataOf = reader.strata(entries.map(({ label }) => label));
  for (const entry of entries) {
    entry.goal = reader.goal(entry.label, names);
    entry.strata = strataOf(entry.label);
  }
}

/** What the label of an image says, as numbers. */
export function goalOf(
  { goal, classIndex }: Pick<ManifestEntry, "goal" | "classIndex">,
): Goal {
  return goal ?? [classIndex];
}

/**
 * Reads a table of images to classify. It may lack the column of the labels, or
 * some of them; images that are no files are found when they are opened.
 *
 * @throws {DataError} With every fault, each by file and line.
 */
export async function readCohort(
  path: string,
  layout: TableLayout = {},
): Promise<Cohort> {
  const faults = new Faults(path);
  const { rows, notes } = await readRows(path, layout, {
    columns: cohortColumns(layout),
    labels: labelsOf(layout, "classes"),
    everyRow: false,
    faults,
  });
  const images = imageFolder(path, layout);
  const entries: TableImage[] = [];
  for (const { line, fields: { image, label, group, ...fields } } of rows) {
    const mpp = parseMpp(fields.mpp, line, faults);
    if (image === undefined) {
      faults.add(line, "empty image: fill it in, or remove the line");
      continue;
    }
    entries.push({
      image,
      path: locateImage(images, image),
      ...(label !== undefined && { label }),
      ...(group !== undefined && { group }),
      ...(mpp !== undefined && { mpp }),
      manifest: path,
      line,
    });
  }
  await spellPaths(entries);
  await completeNames(entries, faults);
  checkDuplicates(entries, faults);
  faults.throwIfAny();
  return { entries, notes };
}

/** A column that the user names is meant to be there, though it is optional. */
function checkNamed(
  layout: TableLayout | undefined,
  has: ReadonlySet<string>,
  faults: Faults,
): void {
  for (const column of ["group", "site"] as const) {
    const name = layout?.columns?.[column];
    if (name === undefined || has.has(column)) continue;
    faults.add(1, `missing column "${name}": ${ADVICE[column]}`);
  }
}

/** Folder of the images of a table. */
function imageFolder(path: string, layout: TableLayout | undefined): string {
  return layout?.images === undefined
    ? dirname(resolve(path))
    : resolve(layout.images);
}

/** The rows of a table, joined with that of the patients if there is one. */
async function readRows(
  path: string,
  layout: TableLayout | undefined,
  { columns, labels, everyRow, faults }: {
    columns: Columns;
    labels: LabelColumns;
    /** Every row must have a label; else labels are left as they are. */
    everyRow: boolean;
    faults: Faults;
  },
): Promise<{ rows: TableRow[]; has: Set<string>; notes: string[] }> {
  const table = await readTable(path, columns, faults, {
    xlsx: layout !== undefined,
  });
  if (table.rows.length === 0 && faults.count === 0) {
    faults.add(1, "no rows: add one line per image");
  }
  const notes = table.ignored.length > 0
    ? [`${path}: columns that are not read: ${listed(table.ignored)}`]
    : [];
  const has = new Set(table.columns);
  if (layout?.clini === undefined) {
    const rows = everyRow
      ? labelledRows(table, labels, { faults, everyRow })
      : table.rows;
    return { rows, has, notes };
  }
  const joined = await joinPatients(table, layout.clini, {
    columns,
    labels,
    faults,
  });
  for (const column of joined.columns) has.add(column);
  return { rows: joined.rows, has, notes: [...notes, ...joined.notes] };
}

/** Finds the images whose names lack their extension, as in STAMP's tables. */
async function completeNames(
  entries: readonly TableImage[],
  faults: Faults,
): Promise<void> {
  const names = imageOfName();
  for (const entry of entries) {
    if (IMAGE_NAME.test(entry.path) || isUrl(entry.path)) continue;
    const found = await names(entry.path);
    entry.path = found[0] ?? entry.path;
    if (found.length < 2) continue;
    faults.add(
      entry.line,
      `image "${shortened(entry.image)}" may be ${
        listed(found.map((file) => basename(file)))
      }: write its extension`,
    );
  }
}

function parseEntry(
  { line, fields }: TableRow,
  { path, folder, images, has, faults }: {
    path: string;
    folder: string;
    images: string;
    has: ReadonlySet<string>;
    faults: Faults;
  },
): ManifestEntry | undefined {
  const { image, label, group, site } = fields;
  for (const column of ["image", "split", "fold"]) {
    if (has.has(column) && fields[column] === undefined) {
      faults.add(line, `empty ${column}: fill it in, or remove the line`);
    }
  }
  const split = parseSplit(fields.split, line, faults);
  const fold = parseFold(fields.fold, line, faults);
  const mpp = parseMpp(fields.mpp, line, faults);
  const rois = parseRois(fields.rois, { folder, line, faults });
  if (image === undefined || label === undefined) return undefined;

  return {
    image,
    path: locateImage(images, image),
    label,
    classIndex: -1, // set once all labels are known
    ...(split !== undefined && { split }),
    ...(fold !== undefined && { fold }),
    ...(group !== undefined && { group }),
    ...(site !== undefined && { site }),
    ...(mpp !== undefined && { mpp }),
    ...(rois !== undefined && { rois }),
    manifest: path,
    line,
  };
}

/** Replaces the paths of entries by their spelling on the disk. */
async function spellPaths(entries: readonly TableImage[]): Promise<void> {
  // ASCII has one spelling, and 100,000 promises take half a second.
  const isAscii = (path = "") => /^[ -~]*$/.test(path);
  const doubtful = entries.filter(({ path, rois }) =>
    !isAscii(path) || !isAscii(rois)
  );
  await inTurns(doubtful, async (entry) => {
    if (!isUrl(entry.path)) entry.path = await spelled(entry.path);
    if (entry.rois !== undefined) entry.rois = await spelled(entry.rois);
  });
}

/** The absolute path of an image that a table in `folder` names, or its URL. */
export function locateImage(folder: string, image: string): string {
  return isUrl(image) ? image : resolve(folder, image);
}

/** Tables of objects are read from files only: a URL is a fault. */
function parseRois(
  file: string | undefined,
  { folder, line, faults }: { folder: string; line: number; faults: Faults },
): string | undefined {
  if (file === undefined) return undefined;
  if (!isUrl(file)) return resolve(folder, file);
  faults.add(
    line,
    `rois is "${shortened(file)}": fetch it, and write the path of the file`,
  );
  return undefined;
}

function parseSplit(
  word: string | undefined,
  line: number,
  faults: Faults,
): Split | undefined {
  if (word === undefined) return undefined;
  const split = Object.hasOwn(SPLITS, word) ? SPLITS[word] : undefined;
  if (!split) {
    faults.add(
      line,
      `split is "${shortened(word)}": write train, validation or test`,
    );
  }
  return split;
}

function parseFold(
  word: string | undefined,
  line: number,
  faults: Faults,
): number | undefined {
  if (word === undefined) return undefined;
  if (/^\d{1,9}$/.test(word)) return Number(word);
  faults.add(line, `fold is "${shortened(word)}": write an integer from 0`);
  return undefined;
}

function parseMpp(
  word: string | undefined,
  line: number,
  faults: Faults,
): number | undefined {
  if (word === undefined) return undefined;
  const mpp = Number(word);
  if (isPlausibleMpp(mpp)) return mpp;
  faults.add(line, `mpp is "${shortened(word)}": write a number ${MPP_WORDS}`);
  return undefined;
}

function checkDuplicates(entries: readonly TableImage[], faults: Faults): void {
  const first = new Map<string, number>();
  for (const { path, image, line } of entries) {
    const earlier = first.get(path);
    if (earlier === undefined) first.set(path, line);
    else {
      faults.add(
        line,
        `image "${shortened(image)}" is on line ${earlier} too: remove one`,
      );
    }
  }
}

async function checkFiles(
  entries: readonly ManifestEntry[],
  faults: Faults,
  { isFile: given, missing }: {
    isFile: ((path: string) => Promise<boolean>) | undefined;
    missing: "faults" | "kept";
  },
): Promise<void> {
  // The target of a URL is unknown until it is opened.
  const named = ({ path }: ManifestEntry) =>
    missing === "kept" || isUrl(path) ? [] : [path];
  const all = entries.flatMap((
    entry,
  ) => [...named(entry), ...(entry.rois === undefined ? [] : [entry.rois])]);
  const listed = given ? new Set<string>() : listedFiles(all);
  const isFile = given ?? isFileHere;
  const isUnknown = (path: string) => !listed.has(path);
  const unknown = entries.filter((entry) =>
    named(entry).some(isUnknown) ||
    (entry.rois !== undefined && isUnknown(entry.rois))
  );
  await inTurns(unknown, async (entry) => {
    const { image, rois, line } = entry;
    for (const path of named(entry)) {
      if (await isFile(path)) continue;
      faults.add(
        line,
        `image "${
          shortened(image)
        }" is not a file: paths are relative to the manifest's folder`,
      );
    }
    if (rois !== undefined && !await isFile(rois)) {
      faults.add(
        line,
        `the rois of image "${shortened(image)}" are not a file`,
      );
    }
  });
}

async function isFileHere(path: string): Promise<boolean> {
  try {
    const { isFile, isDirectory } = await Deno.stat(path);
    return isFile || isDirectory && /\.zarr\/?$/i.test(path); // a folder
  } catch {
    return false;
  }
}

function checkLabels(
  entries: ManifestEntry[],
  classes: readonly string[],
  { reader, faults }: { reader: LabelReader; faults: Faults },
): void {
  const known = new Set(classes);
  for (const { label, line } of entries) {
    for (const name of reader.namesIn(label)) {
      if (known.has(name)) continue;
      faults.add(
        line,
        `label "${shortened(name)}" is not a class of the checkpoint: ` +
          `its classes are ${classes.join(", ")}`,
      );
    }
  }
}

function sortNames(labels: readonly string[]): string[] {
  const names = [...new Set(labels)].sort();
  return names.every(isNumber)
    ? names.sort((a, b) => Number(a) - Number(b))
    : names;
}
