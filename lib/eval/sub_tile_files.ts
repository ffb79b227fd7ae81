/**
 * The sub-tiles of a classified image as files: pictures, and a table of their
 * weights.
 *
 * @module
 */
import { join } from "node:path";
import { formatTable } from "../data/table.ts";
import { writeFileAtomically } from "../files.ts";
import { encodePng } from "../image/formats/png.ts";
import type { Region } from "../image/geometry.ts";
import type { Pyramid } from "../image/pyramid.ts";
import type { PredictedSubTile } from "./predict.ts";

/** The table, in the folder of an image. */
export const SUB_TILE_TABLE = "tiles.csv";

/**
 * Writes the sub-tiles into `folder` at full resolution, the heaviest first:
 * 001.png and so on, and a table `file,x,y,width,height,weight` of level-0 px.
 * What lies outside of the image is black.
 *
 * @param image as it lies in its file.
 * @throws {ImageError} If it cannot be read.
 */
export async function writeSubTiles(
  folder: string,
  image: Pyramid,
  subTiles: readonly PredictedSubTile[],
  signal?: AbortSignal,
): Promise<void> {
  await Deno.mkdir(folder, { recursive: true });
  const sorted = subTiles.toSorted((a, b) => b.weight - a.weight);
  const digits = Math.max(3, String(sorted.length).length);
  const rows: (string | number)[][] = [];
  for (const [i, { weight, ...region }] of sorted.entries()) {
    const file = `${String(i + 1).padStart(digits, "0")}.png`;
    const pixels = await image.read(wholePixels(region), 0, signal);
    await writeFileAtomically(join(folder, file), await encodePng(pixels));
    image.release?.(pixels);
    const { x, y, width, height } = region;
    rows.push([file, x, y, width, height, weight]);
  }
  const columns = ["file", "x", "y", "width", "height", "weight"];
  await writeFileAtomically(
    join(folder, SUB_TILE_TABLE),
    formatTable(columns, rows),
  );
}

/** The nearest region of whole pixels. */
export function wholePixels({ x, y, width, height }: Region): Region {
  return {
    x: Math.round(x),
    y: Math.round(y),
    width: Math.max(1, Math.round(width)),
    height: Math.max(1, Math.round(height)),
  };
}
