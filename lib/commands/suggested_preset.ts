/**
 * The preset whose images and objects are most like those of a table.
 *
 * @module
 */
import { UsageError } from "../errors.ts";
import { preset } from "../model/presets.ts";
import type { ImagesSummary } from "./images_summary.ts";

/** Size of an object as the user states it. */
export interface ObjectSize {
  value: number;
  unit: "px" | "um";
}

/** Size of an object, px, at each scale of a preset. */
export interface ObjectLook {
  /** At level 0. */
  px: number;
  /** In the view of the whole image, from whose sight the tiles are drawn. */
  viewPx: number;
  /** In a tile, from whose sight the sub-tiles are drawn. */
  tilePx: number;
  /** Side of a sub-tile, which shows it at level 0. */
  subTilePx: number;
  /** It leaves a trace in the view, and a sub-tile holds it. */
  fits: boolean;
}

// Longer side of the images that each was made for, px.
const SIDES: Readonly<Record<string, number>> = {
  "colon": 500,
  "needle": 1000,
  "traffic-signs": 1360,
  "fmow": 2500,
  "camelyon16": 100_000,
};

/** Size of an object at level 0, px. @throws {UsageError} If that is unknown. */
export function objectPixels(
  { value, unit }: ObjectSize,
  summary: ImagesSummary | null,
): number {
  if (unit === "px") return value;
  const mpp = summary?.mpp?.median;
  if (mpp !== undefined) return value / mpp;
  throw new UsageError(
    `--object ${value}${unit} needs images that state their um per px: give it in px, or write a column mpp`,
  );
}

/** How an object of `px` looks with a preset. */
export function looksOf(px: number, name: string): ObjectLook {
  const { view } = preset(name);
  const viewPx = px * view.scale1, subTilePx = view.subTileSize;
  return {
    px,
    viewPx,
    tilePx: px * view.scale2,
    subTilePx,
    fits: viewPx >= 1 && px <= subTilePx,
  };
}

/** The preset of the most similar images, whose sub-tiles hold the object. */
export function suggestedPreset(
  summary: ImagesSummary | null,
  objectPx: number | undefined,
): string | null {
  if (summary === null) return null;
  const side = summary.longSide.median;
  const names = Object.keys(SIDES)
    .filter((name) => objectPx === undefined || looksOf(objectPx, name).fits)
    .sort((a, b) => distance(SIDES[a]!, side) - distance(SIDES[b]!, side));
  return names[0] ?? null;
}

function distance(a: number, b: number): number {
  return Math.abs(Math.log(a / b));
}
