import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import { viewSize } from "../../lib/image/geometry.ts";
import {
  levelFor,
  levelPart,
  placedPart,
  viewPieces,
  wholeRatio,
} from "../../lib/image/level_geometry.ts";
import type { Pyramid } from "../../lib/image/pyramid.ts";
import { Views } from "../../lib/image/views.ts";
import { Memory } from "../../lib/memory.ts";
import { maxError, testOnEngines } from "../engines.ts";
import { noiseImage } from "../model/toy.ts";
import { SyntheticPyramid } from "./synthetic_pyramid.ts";

// Reads 2^11 px at a time: every view of these tests is assembled from pieces.
const SMALL = new Memory(2 ** 18);

async function values(
  pyramid: Pyramid,
  take: (views: Views) => Promise<tf.Tensor4D>,
  memory = new Memory(),
): Promise<Float32Array> {
  const views = await Views.open(pyramid, { memory });
  const view = await take(views);
  const read = await view.data() as Float32Array;
  view.dispose();
  views.dispose();
  return read;
}

Deno.test("the coarsest level that is as fine as the view is read", () => {
  const image = { width: 4096, height: 3072 };
  const levels = [1, 2, 4, 8, 16].map((by) => ({
    width: image.width / by,
    height: image.height / by,
  }));
  const at = (scale: number) =>
    levelFor(image, levels, {
      region: { x: 0, y: 0, ...image },
      output: viewSize(image, scale),
    });
  assert.deepEqual(
    [1, 0.6, 0.5, 0.3, 0.25, 0.125, 0.1, 1 / 16, 0.01].map(at),
    [0, 0, 1, 1, 2, 3, 3, 4, 4],
  );
  // A pixel was lost on the way down: still the level of that scale.
  const odd = { width: 4101, height: 3077 };
  const floors = [1, 2, 4, 8, 16].map((by) => ({
    width: Math.floor(odd.width / by),
    height: Math.floor(odd.height / by),
  }));
  const view = { region: { x: 0, y: 0, ...odd }, output: viewSize(odd, 1 / 8) };
  assert.equal(levelFor(odd, floors, view), 3);
});

testOnEngines("pieces and parts of a view are the whole view", async () => {
  const size = { width: 301, height: 223 };
  const image = noiseImage(size, 3);
  const scale = 0.23;
  const { width, height } = viewSize(size, scale);
  const expected = await values(image, (views) => views.whole(scale));
  // A level of the same size prevents the image from being packed whole.
  const pyramid = twoLevels(image);
  const whole = await values(pyramid, (views) => views.whole(scale), SMALL);
  assert.ok(maxError(whole, expected) < 1e-6);
  const part = { x: 13, y: 7, width: 21, height: 30 };
  const piece = await values(
    pyramid,
    (views) => views.whole(scale, { part }),
    SMALL,
  );
  const cut = tf.tidy(() =>
    tf.slice(
      tf.tensor4d(expected, [1, height, width, 3]),
      [0, part.y, part.x, 0],
      [1, part.height, part.width, 3],
    )
  );
  assert.ok(maxError(piece, await cut.data() as Float32Array) < 1e-6);
  cut.dispose();
  const regions = [
    { x: -20, y: 100, width: 60, height: 50 },
    { x: 270, y: 190, width: 60, height: 50 },
    { x: 400, y: 0, width: 60, height: 50 },
  ];
  const output = { width: 17, height: 19 };
  const tiles = (views: Views) => views.regions(regions, output);
  const error = maxError(
    await values(pyramid, tiles, SMALL),
    await values(image, tiles),
  );
  assert.ok(error < 1e-6, `tiles: ${error}`);
});

/** `image` with a second level that no view is read from. */
function twoLevels(image: Pyramid): Pyramid {
  const tiny = { width: 1, height: 1, downsample: image.width };
  return {
    ...image,
    source: image.source,
    width: image.width,
    height: image.height,
    levels: [...image.levels, tiny],
    read: (...args) => image.read(...args),
    close: () => image.close(),
  };
}

// Colours that are linear in the position: their mean over any rectangle inside
// the image is the colour of its middle, on every level.
const WIDTH = 1237, HEIGHT = 1013;
const linear = (x: number, y: number) =>
  [x / WIDTH * 255, y / HEIGHT * 255, 100] as const;

testOnEngines(
  "views lie where they should on every level, whatever its ratio",
  async () => {
    const image = { width: WIDTH, height: HEIGHT };
    const pyramids = {
      "whole ratios": [1, 2, 4, 8],
      "odd ratios": [1, 2.7, 7.3],
    };
    for (const [name, downsamples] of Object.entries(pyramids)) {
      const pyramid = new SyntheticPyramid(image, downsamples, linear);
      for (const scale of [1 / 8, 0.2, 0.37]) {
        const region = { x: 203, y: 119, width: 400, height: 320 };
        const output = viewSize(region, scale);
        const read = await values(
          pyramid,
          (views) => views.regions([region], output),
        );
        // The middle of each view pixel, within the rounding to 8 bits and a
        // tenth of a view pixel.
        for (let i = 0; i < output.height; i++) {
          for (let j = 0; j < output.width; j++) {
            const at = (i * output.width + j) * 3;
            const x = region.x + (j + 0.5) * region.width / output.width;
            const y = region.y + (i + 0.5) * region.height / output.height;
            const dx = read[at]! * WIDTH - x, dy = read[at + 1]! * HEIGHT - y;
            const most = 0.1 / scale + WIDTH / 255 / 2;
            assert.ok(
              Math.abs(dx) < most && Math.abs(dy) < most,
              `${name}, ${scale}: off by ${dx}, ${dy} px at ${x}, ${y}`,
            );
          }
        }
      }
    }
  },
);

testOnEngines(
  "a view as fine as its level begins where it is asked to, within a pixel",
  async () => {
    const noise = await noiseImage({ width: 30, height: 24 }, 5)
      .read({ x: 0, y: 0, width: 30, height: 24 }, 0);
    const of = (x: number, y: number) => { // px of level 1
      const at = (Math.floor(y) * 30 + Math.floor(x)) * 4;
      return [...noise.data.subarray(at, at + 3)] as [number, number, number];
    };
    const pyramid = new SyntheticPyramid(
      { width: 120, height: 96 },
      [1, 4],
      (x, y) => of(x / 4, y / 4),
    );
    for (const [x, y] of [[8, 12], [10, 12], [8, 13], [9, 15]] as const) {
      const region = { x, y, width: 40, height: 32 };
      const output = { width: 10, height: 8 };
      const read = await values(pyramid, (v) => v.regions([region], output));
      assert.equal(pyramid.reads.at(-1)!.level, 1);
      for (let i = 0, at = 0; i < 8; i++) {
        for (let j = 0; j < 10; j++) {
          for (let c = 0; c < 3; c++, at++) {
            // The mean over 4 x 4 px of level 0.
            let sum = 0;
            for (let k = 0; k < 16; k++) {
              const px = x + 4 * j + k % 4, py = y + 4 * i + (k >> 2);
              sum += of(px / 4, py / 4)[c]!;
            }
            const error = Math.abs(read[at]! - sum / 16 / 255);
            assert.ok(error < 1e-5, `${x}, ${y}: off by ${error}`);
          }
        }
      }
    }
  },
);

testOnEngines(
  "the last part of a pixel that a level lacks is no dark edge",
  async () => {
    const image = { width: 1005, height: 807 };
    const pyramid = new SyntheticPyramid(image, [1, 8], () => [200, 100, 50]);
    for (const level of pyramid.levels) { // rounded down, as some writers do
      Object.assign(level, {
        width: Math.floor(image.width / level.downsample),
        height: Math.floor(image.height / level.downsample),
      });
    }
    const read = await values(pyramid, (views) => views.whole(0.1));
    assert.ok(
      read.every((value, i) =>
        Math.abs(value - [200, 100, 50][i % 3]! / 255) < 1e-6
      ),
    );
    assert.ok(pyramid.reads.every(({ level }) => level === 1));

    // The whole content of a tile at the edge may lie in that part.
    const region = { x: 1000, y: 400, width: 16, height: 16 };
    const edge = (image: Pyramid) =>
      values(
        image,
        (views) => views.regions([region], { width: 2, height: 2 }),
      );
    const whole = new SyntheticPyramid(image, [1, 8], () => [200, 100, 50]);
    assert.deepEqual(await edge(pyramid), await edge(whole));
    // Of its first 8 px 5 are in the image, of the next 8 none.
    const colour = [200, 100, 50].map((value) => value / 255);
    const row = [...colour.map((value) => value * 5 / 8), 0, 0, 0];
    const found = await edge(pyramid);
    assert.ok(maxError(found, [...row, ...row]) < 1e-6, `${found}`);

    const below = { x: 400, y: 800, width: 16, height: 16 };
    const bottom = await values(
      pyramid,
      (views) => views.regions([below], { width: 2, height: 2 }),
    );
    const part = colour.map((value) => value * 7 / 8); // of 8 px 7
    const rows = [...part, ...part, 0, 0, 0, 0, 0, 0];
    assert.ok(maxError(bottom, rows) < 1e-6, `${bottom}`);
  },
);

Deno.test("an image of one level is held where it is small, else read in parts", async () => {
  const open = async (width: number, height: number) => {
    const image = new SyntheticPyramid({ width, height }, [1], () => [1, 2, 3]);
    (await Views.open(image, { memory: new Memory() })).dispose();
    return image.reads.length;
  };
  assert.equal(await open(64, 64), 1);
  assert.equal(await open(4097, 4096), 0);
});

Deno.test("a view is cut in as few pieces as the bound on its level allows", () => {
  const image = { width: 4096, height: 4096 };
  const output = { width: 1024, height: 1024 };
  const view = {
    region: { x: 0, y: 0, ...image },
    output,
    part: { x: 0, y: 0, ...output },
  };
  const cut = (level: number, most: number) =>
    viewPieces(view, { width: level, height: level }, { image, most })
      .map((row) => row.length);
  assert.deepEqual(cut(1024, 1024 ** 2), [1]);
  assert.deepEqual(cut(1024, 512 ** 2), [2, 2]);
  assert.deepEqual(cut(4096, 1024 ** 2), [4, 4, 4, 4]);
  const part = { x: 100, y: 200, width: 300, height: 200 };
  const pieces = viewPieces({ ...view, part }, output, {
    image,
    most: 150 ** 2,
  });
  assert.deepEqual(pieces.flat(), [
    { x: 100, y: 200, width: 150, height: 150 },
    { x: 250, y: 200, width: 150, height: 150 },
    { x: 100, y: 350, width: 150, height: 50 },
    { x: 250, y: 350, width: 150, height: 50 },
  ]);
});

Deno.test("a view lies where it should on a level of any size, to 1/1000 px", () => {
  // Whole numbers of these would not fit in 32 bits: they are rounded.
  const image = { width: 200_003, height: 150_001 };
  for (const level of [{ width: 70_001, height: 52_501 }, image]) {
    const region = { x: 12_345, y: 6_789, width: 99_991, height: 80_021 };
    const output = { width: 9_973, height: 7_919 };
    const part = { x: 4_001, y: 3_003, width: 500, height: 400 };
    const at = levelPart({ region, output, part }, image, level);
    const exact = (region.x + part.x * region.width / output.width) *
      level.width / image.width;
    const exactY = (region.y + part.y * region.height / output.height) *
      level.height / image.height;
    const near = (actual: number, expected: number) =>
      assert.ok(Math.abs(actual - expected) < 1e-3, `${actual}, ${expected}`);
    near(at.region.x + at.phase.x / at.output.width, exact);
    near(at.region.y + at.phase.y / at.output.height, exactY);
    near(
      at.size.width / at.output.width,
      region.width / output.width * level.width / image.width,
    );
  }
});

Deno.test("a level of a whole ratio may be rounded by less than a pixel", () => {
  const ratio = (level: number) =>
    wholeRatio({ width: 1001, height: 1001 }, { width: level, height: level });
  assert.deepEqual([249, 250, 251, 252].map(ratio), [
    ...[undefined, 4, 4, undefined],
  ]);
});

Deno.test("a placed grid begins within its first cell, on whole px of its levels", () => {
  const image = { width: 640, height: 800 };
  const of = (...ratios: number[]) => ({
    ...image,
    levels: ratios.map((ratio) => ({
      width: image.width / ratio,
      height: image.height / ratio,
      downsample: ratio,
    })),
  });
  const grid = { scale: 1 / 8, stride: 32 };
  const placed = (share: number, ...ratios: number[]) =>
    placedPart(of(...ratios), grid, { x: share, y: share });
  // Every offset leaves equally much of the image.
  for (const [share, start] of [[0, 0], [0.5, 16], [0.999, 32]] as const) {
    assert.deepEqual(placed(share, 1), {
      x: start,
      y: start,
      width: 608,
      height: 768,
    });
  }
  // Steps are whole px of all levels that stage I may read: of 4 and 5, 20.
  assert.deepEqual(placed(0.999, 1, 4, 5), {
    x: 20,
    y: 20,
    width: 620,
    height: 780,
  });
  assert.equal(placed(0.999, 1, 2, 4).x, 32);
  assert.equal(placed(0.999, 1, 16).x, 32); // too coarse to be read
});

testOnEngines("no read is larger than the bound", async () => {
  const image = { width: 2000, height: 1500 };
  const pyramid = new SyntheticPyramid(image, [1, 1000], linear);
  await values(pyramid, (views) => views.whole(1 / 40), SMALL);
  const most = Math.max(
    ...pyramid.reads.map(({ region }) => region.width * region.height),
  );
  // A piece extends a pixel beyond the area that it covers.
  assert.ok(most < 1.1 * SMALL.readPixels, `${most} px at a time`);
});
