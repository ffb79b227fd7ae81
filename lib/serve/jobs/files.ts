/**
 * What a job leaves in its folder.
 *
 * @module
 */
import { join } from "node:path";

/** The image of a job that came with one. */
export const IMAGE_FILE = "image";
/** What it came to: JSON, written last. */
export const RESULT_FILE = "result.json";
/** One line an image of a batch. */
export const RESULTS_FILE = "results.jsonl";
export const HEATMAP_FILE = "heatmap.png";
/** Those of a batch, if they were asked for. */
export const HEATMAP_FOLDER = "heatmaps";

/** Whether the image that came with a job is still there. */
export async function hasImage(folder: string): Promise<boolean> {
  return await Deno.stat(join(folder, IMAGE_FILE))
    .then(() => true, () => false);
}

/** Frees the image that came with a job, if one did. */
export async function removeImage(folder: string): Promise<void> {
  await Deno.remove(join(folder, IMAGE_FILE)).catch(() => {}); // named, not sent
}
