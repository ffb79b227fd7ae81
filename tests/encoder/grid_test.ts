/** Features of many places: whatever the memory bound and the order. */
import assert from "node:assert/strict";
import type { Encoder } from "../../lib/encoder/encoder.ts";
import { gridFeatures } from "../../lib/encoder/grid.ts";
import { openOnnxEncoder } from "../../lib/encoder/onnx.ts";
import { startEngine } from "../../lib/engine/select.ts";
import type { Point, Size } from "../../lib/image/geometry.ts";
import { Memory } from "../../lib/memory.ts";
import { maxError, testOnEngines, testOnWasm } from "../engines.ts";
import { SyntheticPyramid } from "../image/synthetic_pyramid.ts";
import { LITE0, LITE0_SETTINGS } from "./lite0.ts";
import { testEncoder } from "./runtime.ts";

const SIZE = { width: 210, height: 150 };

function image(size: Size = SIZE): SyntheticPyramid {
  return new SyntheticPyramid(size, [1], (x, y) => [
    128 + 127 * Math.sin(x / 5) * Math.cos(y / 9),
    (x * y / 7) % 256,
    128 + 127 * Math.sin((x + y) / 13),
  ]);
}

/** An encoder that is exactly local: mean and place of 5 x 5 px about a place. */
function boxes(changes: Partial<Encoder> = {}): Encoder & { sizes: Size[] } {
  const sizes: Size[] = [];
  return {
    key: "boxes",
    channels: 3,
    margin: 3,
    placesAtOnce: Infinity,
    step: 4,
    bytesPerPixel: 1,
    sizes,
    features({ data, count, height, width }, places) {
      sizes.push({ height, width });
      const rows = Array.from(
        { length: count },
        (_, i) =>
          places[i]!.flatMap(({ x, y }) => {
            const sums = [0, 0, 0];
            for (let row = Math.floor(y) - 2; row <= Math.floor(y) + 2; row++) {
              for (let at = Math.floor(x) - 2; at <= Math.floor(x) + 2; at++) {
                const isIn = row >= 0 && row < height && at >= 0 && at < width;
                for (let c = 0; c < 3 && isIn; c++) {
                  sums[c]! += data[((i * height + row) * width + at) * 3 + c]!;
                }
              }
            }
            return sums;
          }),
      );
      return Promise.resolve(Float32Array.from(rows.flat()));
    },
    dispose() {},
    ...changes,
  };
}

/** Memory of which `pixels` px of `boxes` are encoded at a time. */
function memoryOf(pixels: number): Memory {
  return new Memory(Math.ceil(pixels * 16 / 9) + 1);
}

const PLACES: Point[] = [
  { x: 0, y: 0 },
  { x: 209.5, y: 149.5 },
  { x: 210, y: 150 },
  { x: 0.5, y: 77 },
  ...Array.from({ length: 60 }, (_, i) => ({
    x: (i * 37.25) % 210,
    y: (i * 53.75) % 150,
  })),
];

testOnEngines("the grid is the same in one block as in many", async () => {
  const whole = boxes();
  const expected = await gridFeatures(whole, image(), PLACES);
  assert.equal(whole.sizes.length, 1);
  assert.ok(expected.some((value) => value > 1));
  for (const pixels of [1, 1000, 3000, 10_000]) {
    const cut = boxes();
    const found = await gridFeatures(cut, image(), PLACES, {
      memory: memoryOf(pixels),
    });
    assert.ok(maxError(found, expected) < 1e-6, `${pixels}`);
    assert.ok(cut.sizes.length > 3);
    for (const { width, height } of cut.sizes) {
      const least = (4 + 2 * (3 + 4)) ** 2; // a step, with what is around
      assert.ok(
        width * height <= Math.max(pixels, least),
        `${width} ${height}`,
      );
    }
  }
});

testOnWasm("an encoder bounds its blocks itself, if it says so", async () => {
  const expected = await gridFeatures(boxes(), image(), PLACES);
  const cut = boxes({ blockPixels: 10_000 });
  const found = await gridFeatures(cut, image(), PLACES);
  assert.ok(maxError(found, expected) < 1e-6);
  assert.ok(cut.sizes.length > 3);
  // A frame of 1600 x 900 px is more than blocks usually have.
  const one = boxes({ blockPixels: 2 ** 22 });
  await gridFeatures(one, image({ width: 1600, height: 900 }), PLACES);
  assert.deepEqual(one.sizes, [{ width: 1600, height: 900 }]);
});

testOnWasm("the order of the places is that of the features", async () => {
  const expected = await gridFeatures(boxes(), image(), PLACES);
  const order = PLACES.map((_, i) => (i * 29) % PLACES.length);
  assert.equal(new Set(order).size, PLACES.length);
  const found = await gridFeatures(
    boxes({ placesAtOnce: 7 }),
    image(),
    order.map((i) => PLACES[i]!),
    { memory: memoryOf(3000) },
  );
  for (const [at, i] of order.entries()) {
    const row = found.subarray(3 * at, 3 * at + 3);
    assert.ok(maxError(row, expected.subarray(3 * i, 3 * i + 3)) < 1e-6);
  }
});

testOnWasm("windows about places have black outside the image", async () => {
  const encoder = boxes({ placesAtOnce: 1, margin: 5 });
  const found = await gridFeatures(encoder, image(), PLACES, {
    memory: memoryOf(700),
  });
  assert.deepEqual(encoder.sizes[0], { width: 10, height: 10 });
  assert.equal(encoder.sizes.length, Math.ceil(PLACES.length / 7));
  const expected = await gridFeatures(boxes(), image(), PLACES);
  assert.ok(maxError(found, expected) < 1e-6);
  const wide = boxes({ placesAtOnce: 1 });
  await gridFeatures(wide, image(), PLACES.slice(0, 2), { windowSize: 15 });
  assert.deepEqual(wide.sizes, [{ width: 15, height: 15 }]);
});

testOnWasm("pixels are recoloured before they are encoded", async () => {
  const plain = await gridFeatures(boxes(), image(), PLACES);
  const dark = await gridFeatures(boxes(), image(), PLACES, {
    memory: memoryOf(3000),
    recolour: (pixels) => {
      for (let i = 0; i < pixels.length; i++) pixels[i]! /= 2;
    },
  });
  assert.ok(maxError(dark, plain.map((value) => value / 2)) < 1e-6);
});

testOnWasm("no places, and a stop", async () => {
  assert.equal((await gridFeatures(boxes(), image(), [])).length, 0);
  const signal = AbortSignal.abort(new Error("enough"));
  await assert.rejects(
    gridFeatures(boxes(), image(), PLACES, { signal }),
    /enough/,
  );
});

testOnWasm(
  "an image that is hardly larger than the bound is cut in few blocks",
  async () => {
    const encoder = boxes();
    const places = Array.from({ length: 400 }, (_, i) => ({
      x: 20 * (i % 20) + 10,
      y: 5 * Math.floor(i / 20) + 2,
    }));
    await gridFeatures(encoder, image({ width: 400, height: 100 }), places, {
      memory: memoryOf(30_000),
    });
    assert.equal(encoder.sizes.length, 2);
  },
);

testEncoder(
  "EfficientNet-Lite0's grid in blocks is nearly that of the whole",
  async () => {
    await startEngine("wasm");
    const encoder = await openOnnxEncoder(LITE0_SETTINGS, { engine: "wasm" });
    const picture = image({ width: 480, height: 320 });
    const places = Array.from({ length: 24 }, (_, i) => ({
      x: 80 * (i % 6) + 40,
      y: 80 * Math.floor(i / 6) + 40,
    }));
    try {
      const grid = (pixels: number) =>
        gridFeatures(encoder, picture, places, {
          memory: new Memory(pixels * encoder.bytesPerPixel! * 16 / 9),
        });
      const whole = await grid(480 * 320 + 1);
      const blocks = await grid(480 * 320 - 1);
      let off = 0, all = 0;
      for (const [i, value] of whole.entries()) {
        off += (value - blocks[i]!) ** 2;
        all += value ** 2;
      }
      assert.ok(off > 0, "it was cut");
      assert.ok(Math.sqrt(off / all) < 0.03, `${Math.sqrt(off / all)}`);
    } finally {
      await encoder.dispose();
    }
  },
  { ignore: LITE0 === undefined },
);
