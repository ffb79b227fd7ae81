/**
 * Metadata of TIFF files: micrometres per px, magnification, the scanner. For
 * the georeference see georeference.ts.
 *
 * @module
 */
import { isOfContent } from "../../errors.ts";
import type { Size } from "../geometry.ts";
import {
  ignoredMpp,
  micrometres,
  type PixelSize,
  plausibleMpp,
} from "../mpp.ts";
import { isOme, type OmeFacts, readOme } from "./ome.ts";
import type { ImageFacts } from "../pyramid.ts";
import { readPlace } from "./georeference.ts";
import { pageSize } from "./page.ts";
import type { TiffDirectory, TiffFile } from "./parser.ts";
import { TAG } from "./tags.ts";

/** The page that is read, and the page that describes it. */
export interface DescribedPage {
  /** The first page, which describes the whole file. */
  first: TiffDirectory;
  /** The page that is read. */
  base: TiffDirectory;
  /** Index of the page in the file, from 0. */
  page: number;
  size: Size;
}

/** The description is Aperio's. */
export function isAperio(description: string): boolean {
  return description.startsWith("Aperio");
}

/** Reads all metadata; values that are ignored give warnings. */
export async function readFacts(
  described: DescribedPage,
): Promise<{ facts: ImageFacts; warnings: string[] }> {
  const { first, base } = described;
  const texts = [
    await base.text(TAG.description),
    await first.text(TAG.description),
  ];
  const description = texts.find(isOme) ?? texts.find(Boolean) ?? "";
  const said = isOme(description)
    ? readOmeOf(description, described)
    : readText(description);
  const warnings = [...said.warnings];
  const mpp = plausibleMpp("description", said.pixelSize, warnings) ??
    plausibleMpp(
      "resolution tags",
      await resolutionTags(base, description, warnings),
      warnings,
    );
  const { warnings: ofPlace, ...place } = await readPlace(base);
  return {
    facts: { mpp, magnification: said.magnification, ...place },
    warnings: [...warnings, ...ofPlace],
  };
}

/**
 * Metadata of the first page of a file that libvips decodes whole, with
 * warnings that the decoder omits.
 */
export async function readPictureFacts(
  file: TiffFile,
  first: TiffDirectory,
): Promise<{ facts: ImageFacts; warnings: string[] }> {
  const size = await pageSize(first);
  const { facts, warnings } = await readFacts({
    first,
    base: first,
    page: 0,
    size,
  });
  const isPalette = await first.number(TAG.photometric, 1) === PALETTE;
  return {
    facts,
    warnings: [
      ...isPalette ? ["palette expanded to RGB"] : [],
      ...warnings,
      ...file.warnings,
    ],
  };
}

// Value of PhotometricInterpretation.
const PALETTE = 3;

function readOmeOf(xml: string, described: DescribedPage): OmeFacts {
  try {
    return readOme(xml, described);
  } catch (error) {
    if (!isOfContent(error)) throw error;
    const warning = `its OME-XML is ignored: ${error.message}`;
    return { pixelSize: {}, warnings: [warning] };
  }
}

/**
 * "...|AppMag = 20|MPP = 0.4990|...": written by Aperio, libvips and this
 * project.
 */
function readText(description: string): OmeFacts {
  const value = (name: string) => {
    const match = new RegExp(`\\|${name}\\s*=\\s*([\\d.,eE+-]+)`)
      .exec(description);
    return positive(match?.[1]?.replace(",", "."));
  };
  return {
    pixelSize: { x: value("MPP") },
    magnification: value("AppMag"),
    warnings: [],
  };
}

// Micrometres of ResolutionUnit; 4 and 5 are extensions that tifffile writes.
const UNITS: Record<number, number> = {
  2: 25_400,
  3: 10_000,
  4: 1000,
  5: 1,
};

// Resolutions of 72 to 600 dpi are those of screens and printers (42 um and
// more); libvips writes one px per mm if it knows none.
const MAX_OF_TAGS = 30;
const NOTHING_KNOWN = 1000;

/** um per px from XResolution and YResolution; a printer's gives a warning. */
async function resolutionTags(
  base: TiffDirectory,
  description: string,
  warnings: string[],
): Promise<PixelSize> {
  const number = await base.number(TAG.resolutionUnit, 2);
  const own = imageJUnit(description); // stored without a unit
  const unit = UNITS[number] ?? own ?? NaN;
  const size = async (tag: number) => {
    const mpp = unit / await base.number(tag, 0);
    return mpp > 0 && mpp < Infinity ? mpp : undefined;
  };
  const x = await size(TAG.xResolution), y = await size(TAG.yResolution);
  if (own || !x || x <= MAX_OF_TAGS) return { x, y };
  if (x < NOTHING_KNOWN) {
    const why = "typical of screens and printers";
    warnings.push(ignoredMpp(x, "resolution tags", why));
  }
  return {};
}

/** Micrometres of the unit of ImageJ's resolutions. */
function imageJUnit(description: string): number | undefined {
  if (!description.startsWith("ImageJ=")) return undefined;
  const unit = /^unit=(.*)$/m.exec(description)?.[1];
  return unit === undefined
    ? undefined
    : micrometres(unit.replace("\\u00B5", "µ"));
}

function positive(text: string | undefined): number | undefined {
  const value = Number(text);
  return value > 0 && Number.isFinite(value) ? value : undefined;
}

/**
 * The scanner whose TIFF files need OpenSlide's special rules: overlapping or
 * missing tiles, padded sizes, focal planes.
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
