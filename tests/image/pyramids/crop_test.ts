import assert from "node:assert/strict";
import { crop } from "../../../lib/image/pyramids/crop.ts";
import { Foreground } from "../../../lib/image/foreground/foreground.ts";
import { type Region } from "../../../lib/image/geometry.ts";
import { placedPart } from "../../../lib/image/level_geometry.ts";
import { type Pixels, WrappedPyramid } from "../../../lib/image/pyramid.ts";
import { SyntheticPyramid } from "../synthetic_pyramid.ts";

const IMAGE = { width: 8003, height: 6001 };
const paint = (x: number, y: number) => [x / 32, y / 24, 9] as const;

Deno.test("a part of an image shows the same pixels on each level", async () => {
  const whole = new SyntheticPyramid(IMAGE, [1, 4, 16], paint);
  const part = crop(whole, { x: 160, y: 320, width: 7000, height: 9999 });
  assert.deepEqual([part.width, part.height], [7000, 6001 - 320]);
  assert.deepEqual(
    part.levels.map(({ width, height, downsample }) => [
      width,
      height,
      downsample,
    ]),
    [[7000, 5681, 1], [1750, 1421, 4], [438, 356, 16]],
  );
  for (const [level, ratio] of [1, 4, 16].entries()) {
    const region = { x: 3, y: 5, width: 20, height: 30 };
    const expected = await whole.read({
      ...region,
      x: 3 + 160 / ratio,
      y: 5 + 320 / ratio,
    }, level);
    assert.deepEqual(await part.read(region, level), expected);
  }
  const odd = crop(whole, { x: 8, y: 4, width: 100, height: 100 });
  assert.deepEqual(odd.levels.map(({ downsample }) => downsample), [1, 4]);
  await assert.rejects(
    odd.read({ x: 0, y: 0, width: 1, height: 1 }, 2),
    RangeError,
  );
});

Deno.test("a part has no more of a level than the image", () => {
  const whole = new SyntheticPyramid(IMAGE, [1, 4], paint);
  const levels = [whole.levels[0]!, {
    width: 2000,
    height: 1500,
    downsample: 4,
  }];
  class Floored extends WrappedPyramid {
    override get levels() {
      return levels;
    }
  }
  const size = (x: number) =>
    crop(new Floored(whole), { ...IMAGE, x, y: 400 }).levels.slice(1)
      .map(({ width, height }) => [width, height]);
  assert.deepEqual(size(160), [[1960, 1400]]);
  assert.deepEqual(size(8000), []); // of the last 3 px it has nothing
});

Deno.test("a part announces its reads", async () => {
  const told: unknown[] = [], read: unknown[] = [];
  class Listening extends WrappedPyramid {
    override prefetch(regions: readonly Region[], level: number): void {
      told.push([...regions, level]);
    }
    override read(region: Region, level: number): Promise<Pixels> {
      read.push([region, level]);
      return super.read(region, level);
    }
  }
  const whole = new SyntheticPyramid(IMAGE, [1, 2.7, 4], paint);
  const part = crop(new Listening(whole), { ...IMAGE, x: 160, y: 320 });
  assert.equal(part.levels.length, 2); // not that of 2.7
  for (const level of [0, 1]) {
    const region = { x: 3, y: 5, width: 20, height: 30 };
    part.prefetch?.([region], level);
    await part.read(region, level);
  }
  assert.deepEqual(told, read);
});

Deno.test("a grid begins anywhere in its first cell, on whole pixels", () => {
  const grid = { scale: 1 / 16, stride: 320 };
  const image = new SyntheticPyramid(IMAGE, [1, 4, 16, 64], paint);
  const starts = new Set<number>();
  for (let i = 0; i < 200; i++) {
    const share = { x: i / 200, y: 1 - (i + 1) / 200 };
    const { x, y, width, height } = placedPart(image, grid, share);
    assert.deepEqual([width, height], [IMAGE.width - 320, IMAGE.height - 320]);
    assert.ok(x % 16 === 0 && y % 16 === 0 && x <= 320 && y <= 320);
    starts.add(x);
  }
  assert.equal(starts.size, 21); // 0, 16, ... 320
  const still = { x: 0, y: 0, ...IMAGE };
  const odd = new SyntheticPyramid(IMAGE, [1, 2.7], paint);
  assert.deepEqual(placedPart(odd, grid, { x: 0.9, y: 0.9 }), still);
});

Deno.test("a foreground is that of the part", () => {
  const cells = Uint8Array.of(1, 0, 0, 1);
  const whole = new Foreground({ cells, rows: 2, columns: 2 }, {
    width: 20,
    height: 10,
  });
  const part = whole.cropped({ x: 4, y: 3, width: 10, height: 7 });
  for (const [x, y] of [[0, 0], [5, 1], [6, 2], [9, 6], [0, 6], [9, 0]]) {
    const point = { x: x!, y: y! };
    assert.equal(part.at(point), whole.at({ x: x! + 4, y: y! + 3 }));
  }
  const turned = part.oriented(6); // turned clockwise
  assert.equal(turned.at({ x: 6, y: 0 }), part.at({ x: 0, y: 0 }));
  assert.equal(turned.at({ x: 0, y: 9 }), part.at({ x: 9, y: 6 }));
});
