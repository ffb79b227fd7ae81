/**
 * GeoTIFF: the georeference of an image, and the entries to be copied to
 * another file of the same pixels.
 *
 * Format: OGC GeoTIFF 1.1, OGC 19-008r4; entry 42113 is GDAL's, 50844 that of
 * "RPCs in GeoTIFF".
 *
 * @module
 */
import { ImageError, isOfContent } from "../../errors.ts";
import type { Georeference, GeoTag, ImageFacts } from "../pyramid.ts";
import { TYPE, type ValueField } from "./directory.ts";
import type { TiffDirectory } from "./parser.ts";
import { TAG } from "./tags.ts";

/** Georeference of a file, with its entries and warnings. */
interface Place extends Pick<ImageFacts, "georeference" | "geoTags"> {
  warnings: string[];
}

/** The georeference of a page; a damaged entry is skipped with a warning. */
export async function readPlace(directory: TiffDirectory): Promise<Place> {
  try {
    const { crs, warnings } = await readSystem(directory);
    return {
      georeference: await readGeoreference(directory, crs),
      geoTags: await readGeoTags(directory),
      warnings,
    };
  } catch (error) {
    if (!isOfContent(error)) throw error;
    return { warnings: [`georeference ignored: ${error.message}`] };
  }
}

// Keys and values of section 7.
const MODEL_TYPE = 1024;
const RASTER_TYPE = 1025;
const GEOGRAPHIC = 2048;
const PROJECTED = 3072;
const PIXEL_IS_AREA = 1;
const PIXEL_IS_POINT = 2;

// The system, the projection, its method and its unit of length: a file without
// a model type is projected if it has one of them.
const PROJECTION_KEYS = [PROJECTED, 3074, 3075, 3076];

// Range of EPSG codes; above it are "user-defined" and private ones.
const MIN_EPSG = 1024;
const MAX_EPSG = 32766;

/** The key that names the coordinate system, by the type of the model. */
const KEY_OF_MODEL: Record<number, number> = { 1: PROJECTED, 2: GEOGRAPHIC };

/**
 * The coordinate system of the world coordinates. A user-defined projection
 * also names a geographic system, but its coordinates are metres, not degrees.
 */
async function readSystem(
  directory: TiffDirectory,
): Promise<{ crs?: string; warnings: string[] }> {
  const keys = await readKeys(directory);
  if (keys.size === 0) return { warnings: [] };
  const isProjected = PROJECTION_KEYS.some((key) => keys.has(key));
  const model = keys.get(MODEL_TYPE) ?? (isProjected ? 1 : 2);
  const code = keys.get(KEY_OF_MODEL[model] ?? NaN) ?? NaN;
  if (code >= MIN_EPSG && code <= MAX_EPSG) {
    return { crs: `EPSG:${code}`, warnings: [] };
  }
  return {
    warnings: [
      "its coordinate system has no EPSG number: world coordinates are given without a crs",
    ],
  };
}

/** The keys whose values are in the key directory itself. */
async function readKeys(
  directory: TiffDirectory,
): Promise<Map<number, number>> {
  const values = await directory.numbers(TAG.geoKeys);
  const keys = new Map<number, number>();
  for (let i = 4; i + 3 < values.length; i += 4) { // behind a header of four
    if (values[i + 1] === 0) keys.set(values[i]!, values[i + 3]!);
  }
  return keys;
}

async function readGeoreference(
  directory: TiffDirectory,
  crs: string | undefined,
): Promise<Georeference | undefined> {
  const transform = await readTransform(directory);
  if (transform === undefined) return undefined;
  const [a, b, c, d, e, f] = transform;
  if (!transform.every(Number.isFinite) || a * e === b * d) {
    throw new ImageError(
      `its transformation [${transform.join(", ")}] maps no pixels to places`,
    );
  }
  const keys = await readKeys(directory);
  // With "point" coordinates refer to a pixel's centre, not its corner.
  const half = keys.get(RASTER_TYPE) === PIXEL_IS_POINT ? 0.5 : 0;
  return {
    ...crs !== undefined && { crs },
    transform: [a, b, c - half * (a + b), d, e, f - half * (d + e)],
  };
}

async function readTransform(
  directory: TiffDirectory,
): Promise<Georeference["transform"] | undefined> {
  const matrix = await directory.numbers(TAG.modelTransformation);
  if (matrix.length === 16) {
    const [a, b, , c, d, e, , f] = matrix as [number, ...number[]];
    return [a, b!, c!, d!, e!, f!];
  }
  const [scaleX, scaleY] = await directory.numbers(TAG.modelPixelScale);
  const tie = await directory.numbers(TAG.modelTiepoint);
  if (scaleX === undefined || scaleY === undefined || tie.length < 6) {
    return undefined;
  }
  const [x, y, , worldX, worldY] = tie as [number, ...number[]];
  return [
    scaleX,
    0,
    worldX! - x * scaleX,
    0,
    -scaleY,
    worldY! + y! * scaleY,
  ];
}

/** Types of the entries that are copied to another file of the same pixels. */
const KEPT: Record<number, number> = {
  [TAG.modelPixelScale]: TYPE.double,
  [TAG.modelTiepoint]: TYPE.double,
  [TAG.modelTransformation]: TYPE.double,
  [TAG.geoKeys]: TYPE.short,
  [TAG.geoDoubles]: TYPE.double,
  [TAG.geoTexts]: TYPE.ascii,
  [TAG.rationalPolynomials]: TYPE.double,
  [TAG.noData]: TYPE.ascii,
};

async function readGeoTags(directory: TiffDirectory): Promise<GeoTag[]> {
  const tags: GeoTag[] = [];
  for (const tag of Object.keys(KEPT).map(Number)) {
    if (tag === TAG.noData && !await isNoDataKept(directory)) continue;
    const values = await directory.numbers(tag);
    if (values.length > 0) tags.push({ tag, values });
  }
  return tags;
}

/** The nodata value belongs to 8-bit samples, which are not rescaled. */
async function isNoDataKept(directory: TiffDirectory): Promise<boolean> {
  const bits = await directory.number(TAG.bitsPerSample, 1);
  const text = (await directory.text(TAG.noData)).trim();
  return bits === 8 && /^\d{1,3}(\.0*)?$/.test(text) && Number(text) < 256;
}

// Entries of the coordinate system alone, without the places of pixels.
const SYSTEM_TAGS: readonly number[] = [
  TAG.geoKeys,
  TAG.geoDoubles,
  TAG.geoTexts,
];

/**
 * Entries for a raster of another resolution over the same image, pixel corner
 * on pixel corner; none if the image has no georeference.
 *
 * @param scale level-0 px per px of the raster, across and down.
 */
export function scaledGeoTags(
  { georeference, geoTags = [] }: Pick<ImageFacts, "georeference" | "geoTags">,
  scale: readonly [across: number, down: number],
): GeoTag[] {
  if (!georeference) return [];
  const [a, b, c, d, e, f] = georeference.transform;
  const [across, down] = scale;
  const rows = [
    [a * across, b * down, 0, c],
    [d * across, e * down, 0, f],
    [0, 0, 0, 0],
    [0, 0, 0, 1],
  ];
  const system = geoTags.filter(({ tag }) => SYSTEM_TAGS.includes(tag));
  return [
    { tag: TAG.modelTransformation, values: rows.flat() },
    ...system.map(({ tag, values }) => ({
      tag,
      values: tag === TAG.geoKeys ? ofCorners(values) : values,
    })),
  ];
}

/** Geo keys whose coordinates are those of pixels' corners, as we give them. */
function ofCorners(keys: readonly number[]): number[] {
  const changed = [...keys];
  for (let i = 4; i + 3 < changed.length; i += 4) {
    if (changed[i] === RASTER_TYPE) changed[i + 3] = PIXEL_IS_AREA;
  }
  return changed;
}

/** The entries as a directory holds them. */
export function geoFields(tags: readonly GeoTag[]): ValueField[] {
  return tags.map(({ tag, values }) => ({ tag, type: KEPT[tag]!, values }));
}
