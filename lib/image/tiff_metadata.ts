/**
 * What TIFF files say of an image beside its pixels: micrometres per px,
 * magnification, the place on the Earth, the scanner.
 *
 * @module
 */
import type { Georeference, ImageFacts } from "./pyramid.ts";
import { TAG, type TiffDirectory } from "./tiff_parser.ts";

/** How large what an image shows is. */
type Magnitude = Pick<ImageFacts, "mpp" | "magnification">;

/** Whether the file was written for Aperio's readers. */
export function isAperio(description: string): boolean {
  return description.startsWith("Aperio");
}

/** All of it, from the first page of a file. */
export async function readFacts(directory: TiffDirectory): Promise<ImageFacts> {
  return {
    ...await readMagnitude(directory),
    georeference: await readGeoreference(directory),
  };
}

async function readMagnitude(
  directory: TiffDirectory,
): Promise<Magnitude> {
  const description = await directory.text(TAG.description);
  if (/<OME[\s>]/.test(description)) return omeMagnitude(description);
  // "...|AppMag = 20|MPP = 0.4990|...": Aperio, libvips and ourselves.
  const mpp = positive(/\|MPP\s*=\s*([\d.]+)/.exec(description)?.[1]);
  const magnification = positive(
    /\|AppMag\s*=\s*([\d.]+)/.exec(description)?.[1],
  );
  return { mpp: mpp ?? await resolutionMpp(directory), magnification };
}

const MICROMETRES: Record<string, number> = {
  nm: 1e-3,
  "µm": 1, // micro sign
  "μm": 1, // Greek mu
  um: 1,
  mm: 1e3,
  cm: 1e4,
};

/** Of the first image of OME-XML. */
function omeMagnitude(xml: string): Magnitude {
  const attribute = (name: string) =>
    new RegExp(`\\b${name}\\s*=\\s*"([^"]*)"`).exec(xml)?.[1];
  const unit = attribute("PhysicalSizeXUnit") ?? "µm";
  const size = positive(attribute("PhysicalSizeX"));
  const factor = MICROMETRES[unit.replace("&#181;", "µ")];
  return {
    mpp: size !== undefined && factor !== undefined ? size * factor : undefined,
    magnification: positive(attribute("NominalMagnification")),
  };
}

const MICROMETRES_PER_UNIT: Record<number, number> = { 2: 25_400, 3: 10_000 };

// Resolutions of 72 to 600 dpi are those of screens and printers (42 um and
// more), written where nothing is known.
const LARGEST_MPP = 30;

async function resolutionMpp(
  directory: TiffDirectory,
): Promise<number | undefined> {
  const unit = await directory.number(TAG.resolutionUnit, 1);
  const resolution = await directory.number(TAG.xResolution, 0);
  const mpp = (MICROMETRES_PER_UNIT[unit] ?? NaN) / resolution;
  return mpp > 0 && mpp <= LARGEST_MPP ? mpp : undefined;
}

function positive(text: string | undefined): number | undefined {
  const value = Number(text);
  return value > 0 && Number.isFinite(value) ? value : undefined;
}

/** GeoTIFF: the place on the Earth, where the file says it. */
async function readGeoreference(
  directory: TiffDirectory,
): Promise<Georeference | undefined> {
  const keys = await readGeoKeys(directory);
  const transform = await readTransform(directory);
  if (transform === undefined) return undefined;
  const [a, b, c, d, e, f] = transform;
  const code = [PROJECTED, GEOGRAPHIC].map((key) => keys.get(key))
    .find((code) => code !== undefined && code !== USER_DEFINED);
  // With "point" the numbers are those of a pixel's centre, not its corner.
  const half = keys.get(RASTER_TYPE) === PIXEL_IS_POINT ? 0.5 : 0;
  return {
    ...code !== undefined && { crs: `EPSG:${code}` },
    transform: [a, b, c - half * (a + b), d, e, f - half * (d + e)],
  };
}

// Keys and values of GeoTIFF 1.1, section 7 (OGC 19-008r4).
const RASTER_TYPE = 1024 + 1;
const PIXEL_IS_POINT = 2;
const GEOGRAPHIC = 2048;
const PROJECTED = 3072;
const USER_DEFINED = 32767;

/** The keys whose values stand in the directory of keys itself. */
async function readGeoKeys(
  directory: TiffDirectory,
): Promise<Map<number, number>> {
  const values = await directory.numbers(TAG.geoKeys);
  const keys = new Map<number, number>();
  for (let i = 4; i + 3 < values.length; i += 4) { // behind a header of four
    if (values[i + 1] === 0) keys.set(values[i]!, values[i + 3]!);
  }
  return keys;
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

/**
 * The scanner whose TIFF files have rules of their own, which OpenSlide knows:
 * overlapping or missing tiles, sizes that are padded, focal planes.
 */
export async function scannerOf(
  directory: TiffDirectory,
): Promise<string | undefined> {
  if (directory.has(TAG.hamamatsu)) return "Hamamatsu";
  const description = await directory.text(TAG.description);
  if (description.includes("http://www.leica-microsystems.com/scn")) {
    return "Leica";
  }
  const software = await directory.text(TAG.software);
  if (software.startsWith("MedScan")) return "Trestle";
  if (software.startsWith("Philips")) return "Philips";
  const xmp = new TextDecoder().decode(await directory.bytes(TAG.xmp));
  return xmp.includes("<iScan") ? "Ventana" : undefined;
}
