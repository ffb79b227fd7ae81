import assert from "node:assert/strict";
import type { Region } from "../../../lib/image/geometry.ts";
import {
  ORIENTATIONS,
  storedPoint,
} from "../../../lib/image/pyramids/orientation.ts";
import { openImage } from "../../../lib/image/open.ts";
import { orient } from "../../../lib/image/pyramids/oriented.ts";
import {
  type Pixels,
  type Pyramid,
  WrappedPyramid,
} from "../../../lib/image/pyramid.ts";
import { RasterPyramid } from "../../../lib/image/pyramids/raster.ts";
import {
  asymmetricPicture,
  inverseOrientation,
  pixelAt,
  readAll,
  TemporaryFolder,
  toSharp,
} from "../pictures.ts";

function memoryImage(): Pyramid {
  const pixels = asymmetricPicture();
  return new RasterPyramid("memory", { pixels, warnings: [] });
}

Deno.test("orient moves every pixel where the geometry says", async () => {
  const image = memoryImage();
  const stored = await readAll(image);
  for (const orientation of ORIENTATIONS) {
    const turned = await readAll(orient(image, orientation));
    for (let y = 0; y < turned.height; y++) {
      for (let x = 0; x < turned.width; x++) {
        const from = storedPoint({ x, y }, image, orientation);
        assert.deepEqual(
          pixelAt(turned, x, y),
          pixelAt(stored, from.x, from.y),
          `orientation ${orientation} at ${x}, ${y}`,
        );
      }
    }
  }
});

Deno.test("orient shows the same as a viewer for each EXIF or TIFF tag", async () => {
  using folder = new TemporaryFolder();
  const picture = toSharp(asymmetricPicture(24, 16)).removeAlpha();
  const formats = {
    jpg: picture.clone().jpeg({ quality: 100, chromaSubsampling: "4:4:4" }),
    tiff: picture.clone().tiff({ compression: "none" }),
    png: picture.clone().png(),
    webp: picture.clone().webp({ lossless: true }),
  };
  for (const [format, encoder] of Object.entries(formats)) {
    const plain = await openImage(
      folder.write(`plain.${format}`, await encoder.toBuffer()),
    );
    for (const orientation of ORIENTATIONS) {
      const bytes = await encoder.clone().withMetadata({ orientation })
        .toBuffer();
      const tagged = await openImage(folder.write(`tagged.${format}`, bytes));
      assert.deepEqual(
        await readAll(tagged),
        await readAll(orient(plain, orientation)),
        `${format}, orientation ${orientation}`,
      );
      assert.equal(
        tagged.warnings.includes(`EXIF orientation ${orientation} applied`),
        orientation !== 1,
      );
    }
  }
});

Deno.test("orient is undone by the inverse orientation", async () => {
  const image = memoryImage();
  const region = { x: -1, y: 1, width: 4, height: 3 };
  const expected = await image.read(region, 0);
  for (const orientation of ORIENTATIONS) {
    const back = orient(
      orient(image, orientation),
      inverseOrientation(orientation),
    );
    assert.deepEqual(await back.read(region, 0), expected);
    assert.deepEqual(back.levels, image.levels);
  }
});

Deno.test("orient: a region is the same part of the whole, zero outside", async () => {
  for (const orientation of ORIENTATIONS) {
    const turned = orient(memoryImage(), orientation);
    const all = await readAll(turned);
    const part = await turned.read({ x: 1, y: -1, width: 3, height: 4 }, 0);
    for (let y = 0; y < 4; y++) {
      for (let x = 0; x < 3; x++) {
        const inside = y >= 1 && x + 1 < turned.width;
        assert.deepEqual(
          pixelAt(part, x, y),
          inside ? pixelAt(all, x + 1, y - 1) : [0, 0, 0, 0],
        );
      }
    }
  }
});

Deno.test("orient reads the regions that it announced", async () => {
  const told: Region[] = [], read: Region[] = [];
  class Listening extends WrappedPyramid {
    override prefetch(regions: readonly Region[]): void {
      told.push(...regions);
    }
    override read(region: Region, level: number): Promise<Pixels> {
      read.push(region);
      return super.read(region, level);
    }
  }
  for (const orientation of ORIENTATIONS) {
    const turned = orient(new Listening(memoryImage()), orientation);
    const region = { x: 1, y: 0, width: 2, height: 1 };
    turned.prefetch?.([region], 0);
    await turned.read(region, 0);
  }
  assert.deepEqual(told, read);
});

Deno.test("orient passes on levels, source, warnings and close", async () => {
  const image = memoryImage();
  const turned = orient(image, 6);
  assert.deepEqual(turned.levels, [{ width: 3, height: 5, downsample: 1 }]);
  assert.equal(turned.source, "memory");
  assert.equal(turned.mpp, undefined);
  assert.equal(orient(image, 1), image);
  await assert.rejects(
    turned.read({ x: 0, y: 0, width: 1, height: 1 }, 1),
    RangeError,
  );
  turned.close();
  await assert.rejects(readAll(image), /closed/);
});
