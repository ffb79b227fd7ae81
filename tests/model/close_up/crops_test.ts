/** Features of squares: where each cell lies, and what is beyond the image. */
import assert from "node:assert/strict";
import type { Encoder, Pictures } from "../../../lib/encoder/encoder.ts";
import { cropChannels, cropsOf } from "../../../lib/model/close_up/crops.ts";
import { maxError } from "../../engines.ts";
import { drawnImage } from "../toy.ts";

/** The colour at each place, and what was shown. */
function colours(shown: Pictures[]): Encoder {
  return {
    key: "colours",
    channels: 3,
    margin: 0,
    placesAtOnce: 1,
    features(pictures, [places]) {
      shown.push(pictures);
      const values = places!.flatMap(({ x, y }) => {
        const at = (Math.floor(y) * pictures.width + Math.floor(x)) * 3;
        return Array.from(pictures.data.subarray(at, at + 3));
      });
      return Promise.resolve(Float32Array.from(values));
    },
    dispose() {},
  };
}

const image = () => drawnImage({ width: 40, height: 30 }, (x, y) => [x, y, 7]);

Deno.test("a square of any size has the features of its cells, row by row", async () => {
  for (const side of [4, 17, 30]) {
    const shown: Pictures[] = [];
    const crops = cropsOf(colours(shown), image(), { inputSize: 16 });
    const found = await crops({ middle: { x: 20, y: 15 }, side });
    assert.equal(found.length, cropChannels({ inputSize: 16, channels: 3 }));
    const data = shown[0]!.data;
    const expected = [0.25, 0.75].flatMap((row) =>
      [0.25, 0.75].flatMap((column) => {
        const at = Math.floor(row * side) * side + Math.floor(column * side);
        return [...data.subarray(at * 3, at * 3 + 3)];
      })
    );
    assert.deepEqual([...found], expected);
    assert.ok(maxError(data, plainSquare(20, 15, side)) < 1e-5);
  }
});

/** What `image` shows in a square, at the contrast of what is about it. */
function plainSquare(x: number, y: number, side: number): number[] {
  const wide = Math.round(1.5 * side);
  const shown = pixelsAbout(x, y, side), about = pixelsAbout(x, y, wide);
  const stretched = [0, 1, 2].map((c) => {
    const values = about.map((one) => one[c]!);
    const mean = values.reduce((a, b) => a + b) / values.length;
    const variance = values.reduce((sum, v) => sum + (v - mean) ** 2, 0) /
      values.length;
    const scale = 0.2 / (Math.sqrt(variance) + 0.03);
    return shown.map((one) =>
      Math.min(1, Math.max(0, (one[c]! - mean) * scale + 0.43))
    );
  });
  return shown.flatMap((_, i) => stretched.map((values) => values[i]!));
}

/** RGB of a square of `image`, which is black beyond its border. */
function pixelsAbout(x: number, y: number, side: number): number[][] {
  const left = Math.round(x - side / 2), top = Math.round(y - side / 2);
  return Array.from({ length: side ** 2 }, (_, i) => {
    const at = { x: left + i % side, y: top + Math.floor(i / side) };
    const isInside = at.x >= 0 && at.x < 40 && at.y >= 0 && at.y < 30;
    return isInside ? [at.x / 255, at.y / 255, 7 / 255] : [0, 0, 0];
  });
}

Deno.test("darker and paler pictures of one thing are seen alike", async () => {
  const shown: Pictures[] = [];
  const seen = async (gain: number, offset: number) => {
    const level = (value: number) => gain * value + offset;
    const drawn = drawnImage(
      { width: 50, height: 50 },
      (x, y) => [level(4 * x), level(4 * y), level(2 * (x + y))],
    );
    await cropsOf(colours(shown), drawn, { inputSize: 16 })({
      middle: { x: 25, y: 25 },
      side: 24,
    });
    return shown.pop()!.data;
  };
  const usual = await seen(1, 0);
  assert.ok(maxError(await seen(0.5, 0), usual) > 0); // rounded to levels
  assert.ok(maxError(await seen(0.5, 0), usual) < 0.15);
  assert.ok(maxError(await seen(1, 40), usual) < 0.01);
});

Deno.test("beyond the image a square is black", async () => {
  const shown: Pictures[] = [];
  const crops = cropsOf(colours(shown), image(), { inputSize: 8 });
  await crops({ middle: { x: 39, y: 1 }, side: 6 });
  const [{ data, width, height }] = shown as [Pictures];
  assert.deepEqual([width, height], [6, 6]);
  const blue = (x: number, y: number) => data[(y * 6 + x) * 3 + 2]!;
  for (let y = 0; y < 6; y++) {
    for (let x = 0; x < 6; x++) {
      const isInside = 36 + x < 40 && y - 2 >= 0;
      assert.equal(
        blue(x, y),
        isInside ? blue(0, 5) : blue(5, 0),
        `${x}, ${y}`,
      );
    }
  }
  assert.ok(blue(5, 0) < blue(0, 5));
  await crops({ middle: { x: -90, y: 500 }, side: 6 });
  assert.equal(new Set(shown[1]!.data).size, 1);
});
