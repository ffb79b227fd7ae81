/**
 * What TIFF files say of an image beside its pixels: micrometres per px,
 * magnification, the scanner. Its place on the Earth: tiff_georeference.ts.
 *
 * @module
 */
import type { ImageFacts } from "./pyramid.ts";
import { TAG, type TiffDirectory } from "./tiff_parser.ts";

/** How large what an image shows is. */
type Magnitude = Pick<ImageFacts, "mpp" | "magnification">;

/** Whether the file was written for Aperio's readers. */
export function isAperio(description: string): boolean {
  return description.startsWith("Aperio");
}

/** How large what the first page of a file shows is. */
export async function readMagnitude(
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
