/**
 * `--boxes`: annotated objects to train on.
 *
 * @module
 */
import { resolve } from "node:path";
import type { Manifest } from "../../data/manifest.ts";
import { readRois, readRoisIn, readRoisOf } from "../../data/rois.ts";
import { DataError, UsageError } from "../../errors.ts";
import { STUDY_LAYOUTS } from "../../study/roi_layouts.ts";
import type { BoxOptions } from "../../train/boxes.ts";
import { type FlagValues, integer, text } from "./flags.ts";

/** The name of the manifest's own annotations. */
export const MANIFEST_ROIS = "rois";

/** `--boxes` and `--boxes-images`. */
export const BOX_FLAGS = {
  boxes: text(
    "rois|FILE|DIR",
    "train on annotated objects, too, of training images alone: those of the manifest's column rois, one file for all images (COCO, CSV), or a folder with a file for each, such as IMAGE.geojson of QuPath",
  ),
  "boxes-images": integer(
    "N",
    "use the annotations of only N training images, chosen by the seed (all)",
    { min: 1 },
  ),
};

/** Which annotations are trained on, as a run records it. */
export interface BoxChoice {
  /** "rois" or the absolute path of a file or folder. */
  name: string;
  /** Number of images; null for all. */
  limit: number | null;
}

/**
 * The choice that the flags make, if any.
 *
 * @throws {UsageError} If there is a number of images and no annotations.
 */
export function boxChoice(
  { boxes, "boxes-images": images }: FlagValues<typeof BOX_FLAGS>,
): BoxChoice | undefined {
  if (boxes !== undefined) {
    const name = boxes === MANIFEST_ROIS ? boxes : resolve(boxes);
    return { name, limit: images ?? null };
  }
  if (images === undefined) return undefined;
  throw new UsageError(
    "--boxes-images needs --boxes: add it, or leave out --boxes-images",
  );
}

/**
 * Reads what was chosen.
 *
 * @throws {DataError} If there are no annotations, or a file of many images has
 *   faults.
 */
export async function boxOptions(
  choice: BoxChoice | undefined,
  manifest: Manifest,
): Promise<BoxOptions | undefined> {
  if (choice === undefined) return undefined;
  const { name, limit } = choice;
  const source = name === MANIFEST_ROIS
    ? await readRois(manifest, STUDY_LAYOUTS)
    : await isFolder(name)
    ? await readRoisIn(name, manifest)
    : await readRoisOf(name, manifest);
  if (source) return { source, name, images: limit ?? undefined };
  throw new DataError(
    `Cannot train with --boxes rois: ${manifest.path} has no annotations; name a file for some images in a column "rois", or give --boxes a file`,
  );
}

async function isFolder(path: string): Promise<boolean> {
  return await Deno.stat(path)
    .then(({ isDirectory }) => isDirectory, () => false);
}

/** The flags of a choice, for messages. */
export function boxFlags(choice: BoxChoice | null | undefined): string {
  if (!choice) return "no --boxes";
  const { name, limit } = choice;
  return `--boxes ${name}${limit === null ? "" : ` --boxes-images ${limit}`}`;
}
