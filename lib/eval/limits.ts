/**
 * What may be asked of a classification, on the command line and over HTTP.
 *
 * @module
 */

/** Sub-tiles an image, at most. */
export const MAX_SAMPLES = 4096;

/** Micrometres per px: from electron microscopes to satellites. */
export const MPP_RANGE = { least: 1e-4, most: 1e9 } as const;
