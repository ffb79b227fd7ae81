/**
 * Names of the files in a job's folder.
 *
 * @module
 */
import { join } from "node:path";

/** The uploaded image of a job. */
export const IMAGE_FILE = "image";
/** The result: JSON, written last. */
export const RESULT_FILE = "result.json";
/** Results of a batch: one JSON line an image. */
export const RESULTS_FILE = "results.jsonl";
export const HEATMAP_FILE = "heatmap.png";
/** Folder of a batch's heat maps, if requested. */
export const HEATMAP_FOLDER = "heatmaps";

/** True if the uploaded image of a job still exists. */
export async function hasImage(folder: string): Promise<boolean> {
  return await Deno.stat(join(folder, IMAGE_FILE))
    .then(() => true, () => false);
}

/** Removes the uploaded image of a job, if it has one. */
export async function removeImage(folder: string): Promise<void> {
  await Deno.remove(join(folder, IMAGE_FILE)).catch(() => {}); // not uploaded
}
