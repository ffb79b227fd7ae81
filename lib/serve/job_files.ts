/**
 * What a job leaves in its folder.
 *
 * @module
 */

/** The image of a job that came with one. */
export const IMAGE_FILE = "image";
/** What it came to: JSON, written last. */
export const RESULT_FILE = "result.json";
/** One line an image of a batch. */
export const RESULTS_FILE = "results.jsonl";
export const HEATMAP_FILE = "heatmap.png";
/** Those of a batch, if they were asked for. */
export const HEATMAP_FOLDER = "heatmaps";
