/** Tiles of a deep zoom: their places, and the pixels that they are made of. */
import assert from "node:assert/strict";
import {
  zoomLevels,
  zoomLevelSize,
  zoomTile,
} from "../../lib/image/level_geometry.ts";
import { viewPixels } from "../../lib/image/view_pixels.ts";
import { noiseImage } from "../model/toy.ts";

const SIDE = 32;

Deno.test("levels halve, rounded up, down to one pixel", () => {
  const image = { width: 700, height: 130 };
  const sizes = Array.from(
    { length: zoomLevels(image) },
    (_, level) => zoomLevelSize(image, level),
  );
  assert.equal(sizes.length, 11);
  assert.deepEqual(sizes[0], { width: 1, height: 1 });
  assert.deepEqual(sizes[8], { width: 175, height: 33 });
  assert.deepEqual(sizes[10], image);
  for (const [i, { width, height }] of sizes.slice(1).entries()) {
    assert.equal(sizes[i]!.width, Math.ceil(width / 2));
    assert.equal(sizes[i]!.height, Math.ceil(height / 2));
  }
  assert.equal(zoomLevels({ width: 1, height: 1 }), 1);
  assert.equal(zoomLevels({ width: 512, height: 2 }), 10);
  assert.equal(zoomLevels({ width: 513, height: 2 }), 11);
});

Deno.test("the last tiles of a level are what remains, and there are no others", () => {
  const image = { width: 70, height: 33 };
  const last = zoomTile(image, { level: 7, column: 2, row: 1 }, SIDE)!;
  assert.deepEqual(last.output, { width: 6, height: 1 });
  assert.deepEqual(last.region, { x: 64, y: 32, width: 6, height: 1 });
  const coarse = zoomTile(image, { level: 6, column: 1, row: 0 }, SIDE)!;
  assert.deepEqual(coarse.output, { width: 3, height: 17 });
  assert.deepEqual(coarse.region, { x: 64, y: 0, width: 6, height: 34 });
  for (
    const [level, column, row] of [
      [8, 0, 0],
      [-1, 0, 0],
      [7, 3, 0],
      [7, 0, 2],
      [7, -1, 0],
      [0, 1, 0],
    ] as const
  ) {
    assert.equal(zoomTile(image, { level, column, row }, SIDE), undefined);
  }
});

Deno.test("a tile is the mean of its pixels, however few are read at a time", async () => {
  const image = noiseImage({ width: 70, height: 45 }, 3);
  const { data } = await image.read({ x: 0, y: 0, ...size(image) }, 0);
  for (const most of [50, 1000, 1e6]) {
    for (const level of [0, 3, 5, 6, 7]) {
      const times = 2 ** (zoomLevels(image) - 1 - level);
      const view = zoomTile(image, { level, column: 0, row: 0 }, SIDE)!;
      const cut = await viewPixels(image, view, { most });
      assert.deepEqual(size(cut), view.output);
      for (const [x, y] of [[0, 0], [cut.width - 1, cut.height - 1]] as const) {
        for (let c = 0; c < 3; c++) {
          const mean = meanOf(x * times, y * times, times, c);
          const value = cut.data[(y * cut.width + x) * 3 + c]!;
          assert.ok(
            Math.abs(value - mean) <= 0.51,
            `${level}, ${most}: ${value}, ${mean}`,
          );
        }
      }
    }
  }

  /** Mean over the pixels that the image has. */
  function meanOf(left: number, top: number, side: number, c: number): number {
    let sum = 0, count = 0;
    for (let y = top; y < Math.min(top + side, image.height); y++) {
      for (let x = left; x < Math.min(left + side, image.width); x++, count++) {
        sum += data[(y * image.width + x) * 4 + c]!;
      }
    }
    return sum / count;
  }
});

Deno.test("a view that is given up is not finished", async () => {
  const image = noiseImage({ width: 64, height: 64 }, 4);
  const view = zoomTile(image, { level: 6, column: 0, row: 0 }, 64)!;
  const signal = AbortSignal.abort(new Error("left"));
  await assert.rejects(viewPixels(image, view, { most: 100, signal }), /left/);
});

function size({ width, height }: { width: number; height: number }) {
  return { width, height };
}
