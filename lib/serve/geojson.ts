/**
 * Regions of a result as GeoJSON, from the origin that a request names.
 *
 * @module
 */
import {
  type ClassifiedRegions,
  type Origin,
  type RegionCollection,
  regionsGeoJson,
} from "../eval/geojson.ts";
import { InputError } from "./errors.ts";

export { type Origin, ORIGINS } from "../eval/geojson.ts";

/**
 * As `regionsGeoJson`.
 *
 * @throws {InputError} If the image has no such origin.
 */
export function regionsOf(
  result: ClassifiedRegions,
  origin: Origin = "level0",
): RegionCollection {
  try {
    return regionsGeoJson(result, { origin });
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw new InputError("origin", cause.message, { cause });
  }
}
