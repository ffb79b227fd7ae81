/**
 * How a training job and the Workers that share it open images.
 *
 * @module
 */
import type { OpenOptions } from "../../image/open.ts";
import { guardedFetch } from "./guarded_fetch.ts";

/** What a job may open, as plain data. */
export interface AllowedImages {
  /** Hosts that images may be fetched from. */
  allowedHosts: readonly string[];
  /** Most pixels of an image that must be decoded whole. */
  maxPixels: number;
}

/** Options of opening images that are allowed. */
export function guardedOpening(
  { allowedHosts, maxPixels }: AllowedImages,
): Pick<OpenOptions, "fetch" | "maxPixels"> {
  return { fetch: guardedFetch(allowedHosts), maxPixels };
}
