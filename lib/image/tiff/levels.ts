/**
 * Finds the directories of a TIFF file that are the levels of its image.
 *
 * A file declares them with NewSubfileType; but the first page may be a
 * thumbnail, and many writers omit it. OpenSlide takes tiled pages that are
 * marked as reduced, and every tiled page of Aperio's; other pages are levels
 * if they show the same content.
 *
 * @module
 */
import { ImageError, isOfContent } from "../../errors.ts";
import type { Orientation } from "../pyramids/orientation.ts";
import type { Backdrop } from "../pyramid.ts";
import { conversions } from "./decode/conversions.ts";
import { isAperio, readFacts } from "./metadata.ts";
import { readPage, type TiffPage } from "./page.ts";
import type { TiffDirectory, TiffFile } from "./parser.ts";
import { TAG } from "./tags.ts";
import type { TiffImage } from "./pyramid.ts";
import { pixelsToCompare, showSame } from "./resemblance.ts";
import {
  type Candidate,
  describeDirectory,
  describePages,
  isReducedOf,
  isSmaller,
  largestFirst,
} from "./candidates.ts";

/**
 * The image of a file with its levels: sub-images of its page, or other pages.
 *
 * @throws {ImageError} With the reason only, if its blocks cannot be decoded.
 */
export async function readTiffImage(
  file: TiffFile,
  pages: readonly TiffDirectory[],
  backdrop: Backdrop = "white",
): Promise<TiffImage> {
  const [first] = pages as [TiffDirectory];
  const aperio = isAperio(await first.text(TAG.description));
  const search = new LevelSearch(file, aperio);
  const { base, levels, left } = await search.find(pages);
  const { facts, warnings } = await readFacts({
    first,
    base: base.directory,
    page: base.page,
    size: base,
  });
  const orientation = await base.directory.number(TAG.orientation, 1);
  const isOriented = orientation > 1 && orientation <= 8;
  return {
    levels: levels.map((level) => ({ ...level, backdrop })),
    orientation: (isOriented ? orientation : 1) as Orientation,
    facts,
    warnings: [
      ...conversions({ ...levels[0]!, backdrop }),
      ...isOriented ? [`EXIF orientation ${orientation} applied`] : [],
      ...search.warnings,
      ...isFlat(levels)
        ? [
          'has no levels, so a view of the whole is slow: add them with "deno task pyramid IN OUT.tif"',
        ]
        : [],
      // Aperio's other pages are the label, the macro and the thumbnail.
      ...left > 0 && !aperio
        ? [
          `${base.page === 0 ? "first" : `number ${base.page + 1}`} of ${
            left + 1
          } pages read`,
        ]
        : [],
      ...warnings,
      ...isOriented && facts.georeference
        ? ["georeference ignored: it refers to the pixels as stored"]
        : [],
      ...file.warnings,
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

// Bounds on pages compared with others, and on pixels decoded for it, so that a
// file opens within seconds.
const MAX_LOOKS = 16;
const MAX_LOOK_PIXELS = 2 ** 26;

/** The search for the levels of one file, with its warnings. */
class LevelSearch {
  readonly #file: TiffFile;
  readonly #aperio: boolean;
  readonly warnings: string[] = [];
  #looks = 0;
  #lookPixels = 0;

  constructor(file: TiffFile, aperio: boolean) {
    this.#file = file;
    this.#aperio = aperio;
  }

  /** The image, its levels, and the number of other pages. */
  async find(directories: readonly TiffDirectory[]): Promise<{
    base: Candidate;
    levels: TiffPage[];
    left: number;
  }> {
    const all = await describePages(directories, this.warnings);
    const pages = all.filter(({ kind }) => kind !== "mask");
    const [first] = pages;
    if (first === undefined) {
      throw new ImageError("it has no picture, only transparency masks");
    }
    const inFirst = await this.#subImages(first);
    const base = await this.#base(first, [...inFirst, ...pages.slice(1)]);
    if (base !== first) await refuseUnread(base);
    const subImages = base === first || base.isSubImage
      ? inFirst
      : await this.#subImages(base);
    let levels = await this.#levels(
      base,
      base.isSubImage ? [...subImages, first] : subImages,
    );
    if (levels.length === 1) levels = await this.#levels(base, pages);
    if ([...all, ...subImages].some(({ kind }) => kind === "mask")) {
      this.warnings.push("transparency mask not applied");
    }
    const isRead = ({ directory }: Candidate) =>
      levels.some((level) => level.directory === directory);
    return { base, levels, left: pages.filter((page) => !isRead(page)).length };
  }

  async #subImages({ directory, page }: Candidate): Promise<Candidate[]> {
    const offsets = await directory.numbers(TAG.subDirectories);
    const found: Candidate[] = [];
    for (const offset of offsets.slice(0, MAX_SUB_IMAGES)) {
      const sub = await this.#tried("a sub-image", async () => {
        const { directory } = await this.#file.directory(offset);
        return await describeDirectory(directory, { page, isSubImage: true });
      });
      if (sub) found.push(sub);
    }
    return found;
  }

  /** The full image: `first` itself, or the page that it was reduced from. */
  async #base(first: Candidate, others: Candidate[]): Promise<Candidate> {
    if (this.#aperio) return first;
    const larger = largestFirst(others)
      .filter((other) => isSmaller(first, other) && other.kind !== "mask");
    const alike = larger.filter((other) => isReducedOf(first, other));
    const base = first.kind === "reduced"
      ? [...alike, ...larger].find(({ kind }) => kind === "full") ?? alike[0]
      : await this.#firstThatShows(first, alike);
    if (base !== undefined) {
      this.warnings.push(
        `its first page of ${first.width} x ${first.height} px is a reduced one: that of ${base.width} x ${base.height} px is read`,
      );
    } else if (first.kind === "reduced") {
      this.warnings.push(
        "its first page is marked as a reduced one, and there is no larger one",
      );
    } else if (larger.some(({ width }) => width >= 2 * first.width)) {
      this.warnings.push(
        `its first page of ${first.width} x ${first.height} px is read, though another has ${
          larger[0]!.width
        } x ${larger[0]!.height}`,
      );
    }
    return base ?? first;
  }

  async #firstThatShows(
    small: Candidate,
    larger: readonly Candidate[],
  ): Promise<Candidate | undefined> {
    for (const candidate of larger) {
      if (await this.#shows(candidate, small)) return candidate;
    }
  }

  /**
   * `base` and those of `candidates` that show the same content, in decreasing
   * size.
   */
  async #levels(
    base: Candidate,
    candidates: readonly Candidate[],
  ): Promise<TiffPage[]> {
    const levels = [await readPage(base.directory)];
    for (const candidate of largestFirst(candidates)) {
      if (!isSmaller(candidate, levels.at(-1)!)) continue;
      if (!isReducedOf(candidate, base)) continue;
      const claim = this.#claim(candidate, base);
      if (claim === "none") continue;
      if (belongsToOther(candidate, candidates, levels)) continue;
      if (claim === "weak" && !await this.#shows(base, candidate)) continue;
      const page = await this.#tried(
        `level of ${candidate.width} x ${candidate.height} px`,
        () => readPage(candidate.directory),
      );
      if (page) levels.push(page);
    }
    return levels;
  }

  /** Confidence, from the file's tags, that a page is a level of `base`. */
  #claim(
    { kind, tiled, isSubImage }: Candidate,
    base: Candidate,
  ): "sure" | "weak" | "none" {
    if (kind === "mask") return "none";
    if (this.#aperio && !isSubImage) return tiled ? "sure" : "none";
    if (kind === "document") return "none";
    if (kind === "full" && !isSubImage) {
      return tiled === base.tiled ? "weak" : "none";
    }
    return tiled === base.tiled ? "sure" : "weak";
  }

  /** The pixels of two pages show the same content. */
  async #shows(larger: Candidate, smaller: Candidate): Promise<boolean> {
    if (++this.#looks > MAX_LOOKS) return false;
    return await this.#tried(
      `level of ${smaller.width} x ${smaller.height} px`,
      async () => {
        const pages = {
          larger: await readPage(larger.directory),
          smaller: await readPage(smaller.directory),
        };
        this.#lookPixels += pixelsToCompare(pages);
        if (this.#lookPixels > MAX_LOOK_PIXELS) return false;
        return await showSame(this.#file.source, pages);
      },
    ) ?? false;
  }

  async #tried<T>(
    what: string,
    work: () => Promise<T>,
  ): Promise<T | undefined> {
    try {
      return await work();
    } catch (error) {
      if (!isOfContent(error)) throw error;
      this.warnings.push(`${what} skipped: ${error.message}`);
    }
  }
}

/** Refuses to show a thumbnail in the place of an unreadable image. */
async function refuseUnread(base: Candidate): Promise<void> {
  try {
    await readPage(base.directory);
  } catch (cause) {
    if (!isOfContent(cause)) throw cause;
    throw new ImageError(
      `its first page is a reduced one, and the image of ${base.width} x ${base.height} px is not read: ${cause.message}`,
      { cause },
    );
  }
}

/**
 * The page is marked as reduced but follows another image than the one whose
 * levels are sought; among images of one size, the first has the levels.
 */
function belongsToOther(
  candidate: Candidate,
  candidates: readonly Candidate[],
  levels: readonly TiffPage[],
): boolean {
  if (candidate.isSubImage || candidate.kind !== "reduced") return false;
  const before = candidates.slice(0, candidates.indexOf(candidate));
  const owner = before.findLast((other) =>
    other.kind === "full" && isReducedOf(candidate, other)
  );
  return owner !== undefined && owner.width !== levels[0]!.width &&
    levels.every(({ directory }) => directory !== owner.directory);
}
