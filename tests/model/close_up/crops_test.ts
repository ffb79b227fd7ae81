/** Features of squares: where each cell lies, and what is beyond the image. */
import assert from "node:assert/strict";
import type { Encoder, Pictures } from "../../../lib/encoder/encoder.ts";
import { cropChannels, cropsOf } from "../../../lib/model/close_up/crops.ts";
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
    const crops = cropsOf(colours([]), image(), { inputSize: 16 });
    const found = await crops({ middle: { x: 20, y: 15 }, side });
    assert.equal(found.length, cropChannels({ inputSize: 16, channels: 3 }));
    const left = Math.round(20 - side / 2), top = Math.round(15 - side / 2);
    const expected = [0.25, 0.75].flatMap((row) =>
      [0.25, 0.75].flatMap((column) => [
        Math.floor(left + column * side) / 255,
        Math.floor(top + row * side) / 255,
        7 / 255,
      ])
    );
    assert.deepEqual(found, Float32Array.from(expected));
  }
});

Deno.test("beyond the image a square is black", async () => {
  const shown: Pictures[] = [];
  const crops = cropsOf(colours(shown), image(), { inputSize: 8 });
  await crops({ middle: { x: 39, y: 1 }, side: 6 });
  const [{ data, width, height }] = shown as [Pictures];
  assert.deepEqual([width, height], [6, 6]);
  for (let y = 0; y < 6; y++) {
    for (let x = 0; x < 6; x++) {
      const isInside = 36 + x < 40 && y - 2 >= 0;
      const blue = data[(y * 6 + x) * 3 + 2];
      assert.equal(blue, isInside ? Math.fround(7 / 255) : 0, `${x}, ${y}`);
    }
  }
  await crops({ middle: { x: -90, y: 500 }, side: 6 });
  assert.ok(shown[1]!.data.every((value) => value === 0));
});
