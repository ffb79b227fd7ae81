/**
 * What TIFF files say of an image beside its pixels: micrometres per px,
 * magnification, the scanner. Its place on the Earth: georeference.ts.
 *
 * @module
 */
import { isOfContent } from "../../errors.ts";
import type { Size } from "../geometry.ts";
import {
  micrometres,
  notFollowed,
  type PixelSize,
  plausibleMpp,
} from "../mpp.ts";
import { isOme, type OmeFacts, readOme } from "./ome.ts";
import type { ImageFacts } from "../pyramid.ts";
import { readPlace } from "./georeference.ts";
import { pageSize } from "./page.ts";
import { TAG, type TiffDirectory, type TiffFile } from "./parser.ts";

/** The page that is read, and where what is said of it stands. */
export interface DescribedPage {
  /** The first page, which describes the whole file. */
  first: TiffDirectory;
  /** The page that is read. */
  base: TiffDirectory;
  /** Its place in the file, from 0. */
  page: number;
  size: Size;
}

/** Whether the file was written for Aperio's readers. */
export function isAperio(description: string): boolean {
  return description.startsWith("Aperio");
}

/** All of it, and what of it is not followed. */
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
 * All of the first page of a file that is decoded elsewhere, with what the
 * decoder does not say of itself.
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

// Of PhotometricInterpretation.
const PALETTE = 3;

function readOmeOf(xml: string, described: DescribedPage): OmeFacts {
  try {
    return readOme(xml, described);
  } catch (error) {
    if (!isOfContent(error)) throw error;
    const warning = `its OME-XML is not followed: ${error.message}`;
    return { pixelSize: {}, warnings: [warning] };
  }
}

/** "...|AppMag = 20|MPP = 0.4990|...": Aperio, libvips and ourselves. */
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
// more); one px per mm or less stands for nothing known, as libvips writes it.
const MAX_OF_TAGS = 30;
const NOTHING_KNOWN = 1000;

/** um per px by XResolution and YResolution; a warning of a printer's. */
async function resolutionTags(
  base: TiffDirectory,
  description: string,
  warnings: string[],
): Promise<PixelSize> {
  const number = await base.number(TAG.resolutionUnit, 2);
  const own = imageJUnit(description); // stored as no unit
  const unit = UNITS[number] ?? own ?? NaN;
  const size = async (tag: number) => {
    const mpp = unit / await base.number(tag, 0);
    return mpp > 0 && mpp < Infinity ? mpp : undefined;
  };
  const x = await size(TAG.xResolution), y = await size(TAG.yResolution);
  if (own || !x || x <= MAX_OF_TAGS) return { x, y };
  if (x < NOTHING_KNOWN) {
    const why = "as those of screens and printers";
    warnings.push(notFollowed(x, "resolution tags", why));
  }
  return {};
}

/** Micrometres of the unit that ImageJ's resolutions are in. */
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
