/**
 * What may be asked of a classification, on the command line and over HTTP.
 *
 * @module
 */

export { MAX_SAMPLES } from "../model/config.ts";

/** Micrometres per px: from electron microscopes to satellites. */
export const MPP_RANGE = { least: 1e-4, most: 1e9 } as const;
