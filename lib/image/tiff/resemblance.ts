/**
 * Compares a page of a TIFF with a larger one, to tell a level from another
 * picture if the file does not.
 *
 * @module
 */
import { BlockCache } from "../pyramids/block_cache.ts";
import type { Region } from "../geometry.ts";
import type { Pixels, Pyramid } from "../pyramid.ts";
import type { ByteSource } from "../bytes/source.ts";
import type { TiffPage } from "./page.ts";
import { tiffPyramid } from "./pyramid.ts";

// Centres of the compared patches, as shares of each side: not 1/2, where
// blocks meet.
const PLACES = [0.1, 0.45, 0.9];

// Side of a patch, px: on the smaller page, and at most on the larger one.
const PATCH = 16;
const MAX_PATCH = 1024;

// Maximum difference of the means, in grey levels. For a slide, a satellite
// image and a drawing, subsampled JPEG levels differed by up to 6.4, and the
// mirrored image by 7.5 and more.
const TOLERANCE = 7;

/** Two pages that may show the same. */
export interface Pair {
  larger: TiffPage;
  smaller: TiffPage;
}

/**
 * Pixels to decode for a comparison of two pages, if each patch is in one
 * block.
 */
export function pixelsToCompare({ larger, smaller }: Pair): number {
  return decodedPixels(larger) + decodedPixels(smaller);
}

function decodedPixels({ grid, block }: TiffPage): number {
  const blocks = Math.min(PLACES.length ** 2, grid.rows * grid.columns);
  return blocks * block.width * block.height;
}

/**
 * Compares the colours of patches of both pages; true if they agree.
 *
 * @throws {ImageError} If one of them cannot be decoded.
 */
export async function showSame(
  source: ByteSource,
  { larger, smaller }: Pair,
): Promise<boolean> {
  const image = tiffPyramid(source, {
    levels: [larger, smaller],
    orientation: 1,
    facts: {},
    warnings: [],
    aperio: false,
  }, new BlockCache(2 ** 26)); // not closed: the source stays open
  const places = patches({ larger, smaller });
  const wanted: number[] = [], found: number[] = [];
  // One page after the other, so that fewer blocks are decoded twice.
  for (const place of places) {
    wanted.push(...await meanOf(image, place.larger, 0));
  }
  for (const place of places) {
    found.push(...await meanOf(image, place.smaller, 1));
  }
  const off = wanted.map((value, i) => Math.abs(value - found[i]!));
  return off.reduce((sum, value) => sum + value) / off.length <= TOLERANCE;
}

/** Corresponding regions of both pages, px of each. */
function patches(
  { larger, smaller }: Pair,
): { larger: Region; smaller: Region }[] {
  const factor = larger.width / smaller.width;
  const side = Math.max(1, Math.min(PATCH, Math.floor(MAX_PATCH / factor)));
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
