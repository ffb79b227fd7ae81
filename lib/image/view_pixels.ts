/**
 * A view of an image as pixels, for pictures; views.ts makes the tensors that
 * the network sees of the same means.
 *
 * @module
 */
import { downsampleReference } from "../../kernels/resample/area_means.ts";
import { freeNow } from "../memory.ts";
import { turn } from "../turn.ts";
import { insideShares, type Region, type Size } from "./geometry.ts";
import { levelFor, type ViewPart, viewPieces } from "./level_geometry.ts";
import { readPart } from "./level_parts.ts";
import type { Pyramid } from "./pyramid.ts";

/** Pixels of a view, row by row: RGB, 8 bits a channel. */
export interface ViewPicture extends Size {
  data: Uint8Array<ArrayBuffer>;
}

/**
 * `view.part` of a view, from the coarsest level that is at least as fine, by the
 * area that its pixels share; black outside the image. A pixel in which the
 * image ends is the mean of its part inside, where that of a tensor is darker.
 *
 * @param options.most pixels of the level that are read at a time.
 * @throws {ImageError} If the image cannot be read.
 */
export async function viewPixels(
  pyramid: Pyramid,
  view: ViewPart,
  { most, signal }: { most: number; signal?: AbortSignal | undefined },
): Promise<ViewPicture> {
  const { x, y, width, height } = view.part;
  const picture = {
    data: new Uint8Array(width * height * 3),
    width,
    height,
  };
  const { region, output } = view;
  const inside = {
    columns: insideShares(
      { start: region.x, extent: region.width, count: output.width },
      pyramid.width,
    ),
    rows: insideShares(
      { start: region.y, extent: region.height, count: output.height },
      pyramid.height,
    ),
  };
  const index = levelFor(pyramid, pyramid.levels, view);
  const level = pyramid.levels[index]!;
  const rows = viewPieces(view, level, { image: pyramid, most });
  for (const part of rows.flat()) {
    const read = await readPart(pyramid, { ...view, part }, { index, signal });
    if (read === undefined) continue;
    const { shown, origin, at } = read;
    const means = downsampleReference(
      new Int32Array(
        shown.data.buffer,
        shown.data.byteOffset,
        shown.width * shown.height,
      ),
      shown,
      {
        origins: Int32Array.of(origin.x, origin.y),
        size: at.size,
        output: at.output,
        phase: at.phase,
        end: at.end,
        pixels: part,
      },
    );
    pyramid.release?.(read.pixels);
    brighten(means, part, inside);
    place(means, { ...part, x: part.x - x, y: part.y - y }, picture);
    freeNow(means);
    await turn(signal);
  }
  return picture;
}

/** Makes means over whole pixels means over what the image has of them. */
function brighten(
  means: Float32Array,
  { x, y, width, height }: Region,
  { columns, rows }: { columns: number[]; rows: number[] },
): void {
  for (let row = 0, at = 0; row < height; row++) {
    for (let column = 0; column < width; column++, at += 3) {
      const share = columns[x + column]! * rows[y + row]!;
      if (share === 1 || share === 0) continue;
      for (let c = 0; c < 3; c++) means[at + c]! /= share;
    }
  }
}

/** Writes means in [0, 1] as bytes at their place in a picture. */
function place(
  means: Float32Array,
  { x, y, width, height }: Region,
  picture: ViewPicture,
): void {
  for (let row = 0, from = 0; row < height; row++) {
    let to = ((y + row) * picture.width + x) * 3;
    for (let i = 0; i < width * 3; i++) {
      picture.data[to++] = Math.min(255, Math.round(means[from++]! * 255));
    }
  }
}
