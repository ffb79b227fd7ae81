/**
 * Which directories of a TIFF file are the levels of its image.
 *
 * @module
 */
import { ImageError } from "../errors.ts";
import type { Size } from "./geometry.ts";
import type { Orientation } from "./orientation.ts";
import { isAperio, readFacts } from "./tiff_metadata.ts";
import { pageSize, readPage, type TiffPage } from "./tiff_page.ts";
import { TAG, type TiffDirectory, type TiffFile } from "./tiff_parser.ts";
import { conversions, type TiffImage } from "./tiff_pyramid.ts";

/**
 * The image on the first page of a file, with its levels: sub-images of the
 * page, or pages behind it.
 *
 * @throws {ImageError} With the reason only, if its blocks cannot be decoded.
 */
export async function readTiffImage(
  file: TiffFile,
  pages: readonly TiffDirectory[],
): Promise<TiffImage> {
  const [first] = pages;
  const base = await readPage(first!);
  const aperio = isAperio(await first!.text(TAG.description));
  const subImages = await readSubImages(file, first!);
  const found = await findLevels(base, subImages ?? pages.slice(1));
  const left = pages.length - (subImages ? 1 : found.levels.length);
  const orientation = await first!.number(TAG.orientation, 1);
  const isOriented = orientation > 1 && orientation <= 8;
  return {
    levels: found.levels,
    orientation: (isOriented ? orientation : 1) as Orientation,
    facts: await readFacts(first!),
    warnings: [
      ...conversions(base),
      ...isOriented ? [`EXIF orientation ${orientation} applied`] : [],
      ...found.warnings,
      ...isFlat(found.levels)
        ? [
          'has no levels, so that a view of the whole is slow: "deno task pyramid IN OUT.tif" makes them',
        ]
        : [],
      // The others of Aperio are the label, the macro and the thumbnail.
      ...left > found.masks && !aperio
        ? [`first of ${left - found.masks + 1} pages read`]
        : [],
    ],
    aperio,
  };
}

// Smaller images are read whole within a second.
const LARGE_PIXELS = 2 ** 26;

function isFlat(levels: readonly TiffPage[]): boolean {
  const { width, height } = levels[0]!;
  return levels.length === 1 && width * height > LARGE_PIXELS;
}

// Levels halve, so even these are more than any size needs.
const MAX_SUB_IMAGES = 64;

async function readSubImages(
  file: TiffFile,
  page: TiffDirectory,
): Promise<TiffDirectory[] | undefined> {
  const offsets = await page.numbers(TAG.subDirectories);
  if (offsets.length === 0) return undefined;
  const found: TiffDirectory[] = [];
  for (const offset of offsets.slice(0, MAX_SUB_IMAGES)) {
    found.push((await file.directory(offset)).directory);
  }
  return found;
}

// Bits of NewSubfileType.
const IS_MASK = 4;

/** Those of `candidates` that show the same as `base`, ever smaller. */
async function findLevels(
  base: TiffPage,
  candidates: readonly TiffDirectory[],
): Promise<{ levels: TiffPage[]; masks: number; warnings: string[] }> {
  const levels = [base];
  const warnings: string[] = [];
  let masks = 0;
  for (const candidate of candidates) {
    if (await candidate.number(TAG.newSubfileType, 0) & IS_MASK) {
      masks++;
      continue;
    }
    const size = await pageSize(candidate);
    const tiled = candidate.has(TAG.tileWidth);
    if (tiled !== base.tiled || !isSmaller(size, levels.at(-1)!)) continue;
    if (!isSameShape(size, base)) continue;
    try {
      levels.push(await readPage(candidate));
    } catch (error) {
      if (!(error instanceof ImageError)) throw error;
      warnings.push(
        `level of ${size.width} x ${size.height} px left out: ${error.message}`,
      );
    }
  }
  if (masks > 0) warnings.push("transparency mask not applied");
  return { levels, masks, warnings };
}

function isSmaller(size: Size, than: Size): boolean {
  return size.width <= than.width && size.height <= than.height &&
    (size.width < than.width || size.height < than.height);
}

/** Whether one is the other shrunk, up to the rounding of each side. */
function isSameShape(size: Size, base: Size): boolean {
  const off = Math.abs(size.width * base.height - size.height * base.width);
  return off <= 1.5 * Math.max(base.width, base.height);
}
