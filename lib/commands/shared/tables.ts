/**
 * Flags of commands that read a user's tables of images.
 *
 * @module
 */
import { checkLabels } from "../../data/labels.ts";
import {
  type Cohort,
  type Manifest,
  readCohort,
  readManifest,
  type TableLayout,
} from "../../data/manifest.ts";
import type { TargetName } from "../../target.ts";
import { type FlagValues, text, toggle } from "./flags.ts";

/** Flags that say how the tables are laid out. */
export const TABLE_FLAGS = {
  "image-column": text(
    "NAME",
    "column of the images (image, or FILENAME)",
  ),
  "label-column": text("NAME", "column of the labels (label)"),
  "group-column": text(
    "NAME",
    "column of the patients, whose images stay together (group, or PATIENT)",
  ),
  "time-column": text(
    "NAME",
    "target survival: column of the times, in any unit (time)",
  ),
  "event-column": text(
    "NAME",
    "target survival: column of 1 if the event was seen, 0 if not (event)",
  ),
  clini: text(
    "FILE",
    "table of patients that has the labels, joined with the images of --data by the column of the patients, such as STAMP's clini table",
    { paths: "files" },
  ),
  images: text(
    "DIR",
    "folder of the images, whose names may lack their extension (that of --data)",
    { paths: "folders" },
  ),
};

/** The flag that takes doubtful labels. */
export const LABEL_FLAGS = {
  "labels-as-they-are": toggle(
    "take labels that look like slips: 1 and 1.0, Neg and neg, NA, a space at the end",
  ),
};

/** The flag that names the column of the sites. */
export const SITE_FLAGS = {
  "site-column": text(
    "NAME",
    "column of the sites that images come from, such as hospitals, for --sites (site)",
  ),
};

/** Values of {@linkcode TABLE_FLAGS}. */
export type TableChoice = FlagValues<typeof TABLE_FLAGS>;

/** Values of the flags that say how tables are laid out. */
type Layout = TableChoice & Partial<FlagValues<typeof SITE_FLAGS>>;

/**
 * Reads the images of `--data`, and says what is not used of its tables.
 *
 * @param options those of {@linkcode readManifest}.
 * @throws {DataError} With every fault.
 */
export async function readImages(
  data: string,
  flags: Layout,
  options: {
    classes?: readonly string[];
    target?: TargetName;
    missing?: "kept";
  } = {},
): Promise<Manifest> {
  const manifest = await readManifest(data, {
    ...options,
    layout: layoutOf(flags),
  });
  for (const note of manifest.notes) console.error(note);
  return manifest;
}

/**
 * Reads the images of a table to classify, labelled or not.
 *
 * @throws {DataError} With every fault.
 */
export async function readImagesToClassify(
  data: string,
  flags: TableChoice,
): Promise<Cohort> {
  const cohort = await readCohort(data, layoutOf(flags));
  for (const note of cohort.notes) console.error(note);
  return cohort;
}

function layoutOf(flags: Layout): TableLayout {
  return {
    columns: {
      image: flags["image-column"],
      label: flags["label-column"],
      group: flags["group-column"],
      site: flags["site-column"],
      time: flags["time-column"],
      event: flags["event-column"],
    },
    clini: flags.clini,
    images: flags.images,
  };
}

/**
 * As {@linkcode readImages}, for images to learn from: their labels are clear,
 * and missing ones are found when all are opened.
 *
 * @throws {DataError} With every fault, or all doubtful labels.
 */
export async function readLabelled(
  data: string,
  flags: Layout & FlagValues<typeof LABEL_FLAGS>,
  target: TargetName,
): Promise<Manifest> {
  const manifest = await readImages(data, flags, { target, missing: "kept" });
  if (!flags["labels-as-they-are"]) {
    checkLabels(manifest, "add --labels-as-they-are");
  }
  return manifest;
}
