/**
 * Directories of a TIFF that may be its image or a level of it, according to
 * their tags.
 *
 * @module
 */
import { isOfContent } from "../../errors.ts";
import type { Size } from "../geometry.ts";
import { pageSize } from "./page.ts";
import type { TiffDirectory } from "./parser.ts";
import { TAG } from "./tags.ts";

/** A directory that may be the image or one of its levels. */
export interface Candidate extends Size {
  directory: TiffDirectory;
  /**
   * Index of the page in the file, from 0; of a sub-image, that of its parent
   * page.
   */
  page: number;
  isSubImage: boolean;
  tiled: boolean;
  kind: Kind;
}

/**
 * Declared kind of a directory: an image (the default), a smaller copy of one,
 * a page of a document, or a transparency mask.
 */
type Kind = "full" | "reduced" | "document" | "mask";

/**
 * The readable ones of `pages`; the others are skipped with a warning, except
 * the first.
 */
export async function describePages(
  pages: readonly TiffDirectory[],
  warnings: string[],
): Promise<Candidate[]> {
  const found: Candidate[] = [];
  for (const [page, directory] of pages.entries()) {
    try {
      found.push(
        await describeDirectory(directory, { page, isSubImage: false }),
      );
    } catch (error) {
      if (!isOfContent(error) || page === 0) throw error;
      warnings.push(`page ${page + 1} skipped: ${error.message}`);
    }
  }
  return found;
}

/** @throws {ImageError} With the reason only, if it has no size. */
export async function describeDirectory(
  directory: TiffDirectory,
  place: { page: number; isSubImage: boolean },
): Promise<Candidate> {
  return {
    ...await pageSize(directory),
    ...place,
    directory,
    tiled: directory.has(TAG.tileWidth),
    kind: await kindOf(directory),
  };
}

// Bits of NewSubfileType; bit 1 with others is still a smaller copy.
const IS_REDUCED = 1;
const IS_DOCUMENT = 2;
const IS_MASK = 4;

// Values of SubfileType, its predecessor.
const OLD_KINDS: Record<number, Kind> = { 2: "reduced", 3: "document" };

async function kindOf(directory: TiffDirectory): Promise<Kind> {
  if (!directory.has(TAG.newSubfileType)) {
    const old = await directory.number(TAG.oldSubfileType, 1);
    return OLD_KINDS[old] ?? "full";
  }
  const bits = await directory.number(TAG.newSubfileType, 0);
  if (bits & IS_MASK) return "mask";
  if (bits & IS_REDUCED) return "reduced";
  return bits & IS_DOCUMENT ? "document" : "full";
}

/** Sorted by size, the largest first; equal sizes in file order. */
export function largestFirst(candidates: readonly Candidate[]): Candidate[] {
  return candidates.toSorted((a, b) => b.width * b.height - a.width * a.height);
}

export function isSmaller(size: Size, than: Size): boolean {
  return size.width <= than.width && size.height <= than.height &&
    (size.width < than.width || size.height < than.height);
}

/** `size` is `base` shrunk, up to the rounding of each side. */
export function isReducedOf(size: Size, base: Size): boolean {
  const off = Math.abs(size.width * base.height - size.height * base.width);
  return isSmaller(size, base) &&
    off <= 1.5 * Math.max(base.width, base.height);
}
