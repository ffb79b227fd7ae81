/**
 * Hand-made TIFF files compared with the picture that they hold.
 *
 * @module
 */
import assert from "node:assert/strict";
import { openImage } from "../../../lib/image/open.ts";
import { pixelAt, readAll, TemporaryFolder } from "../pictures.ts";
import { shortField, tiffFile, type TiffRecipe } from "./tiff_files.ts";

export type Rgb = [red: number, green: number, blue: number];

export const SIZE = { width: 41, height: 37 };

/** A sample of the picture, 0 to 255, other in each channel. */
export function sampleAt(x: number, y: number, sample: number): number {
  return (x * (3 + sample) + y * (5 - sample) + sample * 40) % 256;
}

export function rgbAt(x: number, y: number): Rgb {
  return [sampleAt(x, y, 0), sampleAt(x, y, 1), sampleAt(x, y, 2)];
}

export function greyAt(x: number, y: number): Rgb {
  const value = sampleAt(x, y, 0);
  return [value, value, value];
}

/** Over white, by an opacity of 0 to 255. */
export function over(rgb: Rgb, opacity: number): Rgb {
  return rgb.map((value) =>
    Math.round(value * opacity / 255) + 255 - opacity
  ) as Rgb;
}

/** Compares every pixel of a file with `colour`; returns the warnings. */
export async function shows(
  recipe: TiffRecipe,
  colour: (x: number, y: number) => Rgb,
  tolerance = 0,
): Promise<readonly string[]> {
  using folder = new TemporaryFolder();
  const image = await openImage(folder.write("a.tif", tiffFile(recipe)));
  const pixels = await readAll(image);
  image.close();
  for (let y = 0; y < recipe.height; y++) {
    for (let x = 0; x < recipe.width; x++) {
      const found = pixelAt(pixels, x, y);
      const isNear = [...colour(x, y), 255].every((value, c) =>
        Math.abs(value - found[c]!) <= tolerance
      );
      assert.ok(isNear, `${x}, ${y}: ${found}, not ${colour(x, y)}`);
    }
  }
  return image.warnings;
}

export async function refuses(
  recipe: TiffRecipe,
  reason: RegExp,
): Promise<void> {
  using folder = new TemporaryFolder();
  const path = folder.write("a.tif", tiffFile(recipe));
  await assert.rejects(openImage(path), reason);
}

/** The same file in strips, in tiles, and with separate planes. */
export function layouts(recipe: TiffRecipe): TiffRecipe[] {
  return [{ rowsPerStrip: 8 }, { tile: 16 }].flatMap((layout) => [
    { ...recipe, ...layout },
    { ...recipe, ...layout, planar: true },
  ]);
}

/** Colours of a palette of 256. */
export const PALETTE = Array.from({ length: 256 }, (_, i): Rgb => [
  255 - i,
  i * 3 % 256,
  i * 7 % 256,
]);
export const PALETTE_FIELD = shortField(
  320,
  ...[0, 1, 2].flatMap((c) => PALETTE.map((rgb) => rgb[c]! * 257)),
);

/** Changes slowly, so that JPEG keeps it. */
export function softAt(x: number, y: number, sample: number): number {
  return 60 + 2 * x + sample * 20 - (sample % 2) * 3 * y + y;
}
export const softRgb = (x: number, y: number): Rgb => [
  softAt(x, y, 0),
  softAt(x, y, 1),
  softAt(x, y, 2),
];
