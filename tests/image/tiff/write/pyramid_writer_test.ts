import assert from "node:assert/strict";
import { join } from "node:path";
import type { Pyramid } from "../../../../lib/image/pyramid.ts";
import {
  levelSizes,
  writePyramid,
} from "../../../../lib/image/tiff/write/pyramid_writer.ts";
import { RasterPyramid } from "../../../../lib/image/pyramids/raster.ts";
import { halve, type Rgb, toRgb } from "../../../../lib/image/pyramids/rgb.ts";
import { withFolder } from "../../../data/folder.ts";
import { asymmetricPicture, readAll } from "../../pictures.ts";
import { pageMetadata, readPage } from "../../tiff_pages.ts";

/** An open picture of a size. */
function picture(width: number, height: number): Pyramid {
  const pixels = asymmetricPicture(width, height);
  return new RasterPyramid("picture", { pixels, warnings: [] });
}

const LOSSLESS = { compression: { kind: "deflate" }, blockSize: 16 } as const;

Deno.test("levels halve until both sides are below 1024 px", () => {
  assert.deepEqual(levelSizes({ width: 1023, height: 7 }), [
    { width: 1023, height: 7 },
  ]);
  assert.deepEqual(levelSizes({ width: 4099, height: 5 }), [
    { width: 4099, height: 5 },
    { width: 2049, height: 2 },
    { width: 1024, height: 1 },
    { width: 512, height: 1 },
  ]);
});

// Odd sides, rows of blocks that end anywhere, lines, more levels than a block
// has halves, and widths that are read in parts.
for (
  const [width, height, blockSize] of [
    [1500, 1100, 256],
    [33, 4097, 16],
    [2047, 1, 16],
    [1, 1025, 16],
    [32_800, 40, 16],
    [16_387, 19, 256],
    [1101, 2099, 1024],
  ] as const
) {
  Deno.test(`a picture of ${width} x ${height} px: each level is the mean of the one before`, async () => {
    await withFolder(async (folder) => {
      const path = join(folder, "out.tif");
      const source = picture(width, height);
      const options = { ...LOSSLESS, blockSize };
      const levels = await writePyramid(path, source, options);
      assert.equal((await pageMetadata(path, 0)).pages, levels.length);
      let expected: Rgb = toRgb(await readAll(source));
      for (const level of levels.keys()) {
        const found = await readPage(path, level);
        assert.deepEqual(
          [found.width, found.height],
          [expected.width, expected.height],
        );
        assert.ok(
          found.data.every((value, i) => value === expected.data[i]),
          `level ${level}`,
        );
        expected = halve(expected);
      }
    });
  });
}

Deno.test("JPEG keeps the picture, and mpp is kept", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "out.tif");
    const data = Uint8Array.from(
      { length: 1100 * 700 * 4 },
      (_, i) => i % 4 === 3 ? 255 : Math.floor(i / 4400) % 256,
    );
    const pixels = { data, width: 1100, height: 700 };
    const source: Pyramid = Object.assign(
      new RasterPyramid("slope", { pixels, warnings: [] }),
      { mpp: 0.5 },
    );
    await writePyramid(path, source, {
      compression: { kind: "jpeg", quality: 90 },
      blockSize: 256,
    });
    assert.equal((await pageMetadata(path, 0)).density, 50_800);
    const found = await readPage(path, 1);
    const expected = halve(toRgb(pixels));
    assert.deepEqual([found.width, found.height], [550, 350]);
    let worst = 0;
    for (const [i, value] of found.data.entries()) {
      worst = Math.max(worst, Math.abs(value - expected.data[i]!));
    }
    assert.ok(worst <= 8, `off by ${worst}`);
  });
});

Deno.test("a signal stops the writing and leaves nothing", async () => {
  await withFolder(async (folder) => {
    const stop = new AbortController();
    const writing = writePyramid(join(folder, "out.tif"), picture(100, 200), {
      ...LOSSLESS,
      signal: stop.signal,
      onProgress: (done) => {
        if (done > 50) stop.abort(new Error("stopped"));
      },
    });
    await assert.rejects(writing, /stopped/);
    assert.deepEqual([...Deno.readDirSync(folder)], []);
  });
});
