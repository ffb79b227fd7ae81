/**
 * Whether a page of a TIFF shows the same as a larger one: what tells a level
 * from another picture where the file does not.
 *
 * @module
 */
import { BlockCache } from "./block_cache.ts";
import type { Region } from "./geometry.ts";
import type { Pixels, Pyramid } from "./pyramid.ts";
import type { ByteSource } from "./source.ts";
import type { TiffPage } from "./tiff_page.ts";
import { tiffPyramid } from "./tiff_pyramid.ts";

// Patches that are compared, at these shares of each side.
const PLACES = [0.1, 0.5, 0.9];

// Sides of a patch, px: of the smaller page, and most of the larger one.
const PATCH = 16;
const LARGEST_PATCH = 1024;

// Levels of 256 by which means may differ: those of levels that were made by
// taking every n-th pixel, and compressed once more, differ by up to 5.
const TOLERANCE = 16;

/**
 * Whether patches of both pages have the same colours.
 *
 * @throws {ImageError} If one of them cannot be decoded.
 */
export async function showSame(
  source: ByteSource,
  larger: TiffPage,
  smaller: TiffPage,
): Promise<boolean> {
  const image = tiffPyramid(source, {
    levels: [larger, smaller],
    orientation: 1,
    facts: {},
    warnings: [],
    aperio: false,
  }, new BlockCache(2 ** 26)); // not closed: the source stays open
  let sum = 0;
  for (const place of patches(larger, smaller)) {
    const [wanted, found] = await Promise.all([
      meanOf(image, place.larger, 0),
      meanOf(image, place.smaller, 1),
    ]);
    for (const [c, value] of wanted.entries()) {
      sum += Math.abs(value - found[c]!);
    }
  }
  return sum / (3 * PLACES.length ** 2) <= TOLERANCE;
}

/** The same places of both pages, px of each. */
function patches(
  larger: TiffPage,
  smaller: TiffPage,
): { larger: Region; smaller: Region }[] {
  const factor = larger.width / smaller.width;
  const side = Math.max(1, Math.min(PATCH, Math.floor(LARGEST_PATCH / factor)));
  const axis = (share: number, extent: number, of: number) => {
    const length = Math.min(side, extent);
    const from = Math.floor(share * (extent - length));
    const start = Math.floor(from * of / extent);
    const end = Math.min(of, Math.ceil((from + length) * of / extent));
    return { from, length, start, size: end - start };
  };
  return PLACES.flatMap((row) =>
    PLACES.map((column) => {
      const x = axis(column, smaller.width, larger.width);
      const y = axis(row, smaller.height, larger.height);
      return {
        larger: { x: x.start, y: y.start, width: x.size, height: y.size },
        smaller: { x: x.from, y: y.from, width: x.length, height: y.length },
      };
    })
  );
}

async function meanOf(
  image: Pyramid,
  region: Region,
  level: number,
): Promise<number[]> {
  const { data }: Pixels = await image.read(region, level);
  const sums = [0, 0, 0];
  for (let i = 0; i < data.length; i += 4) {
    for (let c = 0; c < 3; c++) sums[c]! += data[i + c]!;
  }
  return sums.map((sum) => sum / (data.length / 4));
}
