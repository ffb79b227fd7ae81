/**
 * Small files of every kind that was once read wrongly (shared/data/corners):
 * size, levels, micrometres per px and pixels as other decoders have them.
 */
import assert from "node:assert/strict";
import { openImage } from "../../lib/image/open.ts";
import { sharedData } from "../shared_data.ts";
import { pixelAt } from "./pictures.ts";

/** Results of other decoders. */
interface Expected {
  width: number;
  height: number;
  levels?: number;
  /** Micrometres per px; null if the file does not state them. */
  mpp?: number | null;
  tolerance: number;
  pixels: [
    level: number,
    x: number,
    y: number,
    r: number,
    g: number,
    b: number,
  ][];
}

// JPEG rings at the edges of squares: there one pixel in ten may be off.
const MAX_OFF = 0.1;

const folder = sharedData("corners");
const files: Record<string, Expected> = folder === undefined
  ? {}
  : JSON.parse(Deno.readTextFileSync(`${folder}/expected.json`));

Deno.test({
  name: "files of odd kinds are there",
  ignore: folder === undefined,
  fn: () => assert.ok(Object.keys(files).length >= 20),
});

for (const [name, expected] of Object.entries(files)) {
  Deno.test(`corners/${name} is the same as from other decoders`, async () => {
    const image = await openImage(`${folder}/${name}`);
    const { width, height, levels, mpp } = expected;
    assert.deepEqual([image.width, image.height], [width, height]);
    if (levels !== undefined) assert.equal(image.levels.length, levels);
    if (mpp === null) assert.equal(image.mpp, undefined);
    else if (mpp !== undefined) assert.ok(Math.abs(image.mpp! - mpp) < 1e-3);
    const wrong: number[][] = [];
    for (const [level, x, y, ...rgb] of expected.pixels) {
      const read = await image.read({ x, y, width: 1, height: 1 }, level);
      const found = pixelAt(read, 0, 0);
      const isOff = rgb.some((value, c) =>
        Math.abs(value - found[c]!) > expected.tolerance
      );
      if (isOff) wrong.push([level, x, y, ...found]);
    }
    image.close();
    const most = levels === undefined ? MAX_OFF * expected.pixels.length : 2;
    assert.ok(wrong.length <= most, JSON.stringify(wrong));
  });
}
