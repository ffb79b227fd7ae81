import assert from "node:assert/strict";
import {
  cutBlock,
  halve,
  halvedSize,
  type Rgb,
  toRgb,
} from "../../../lib/image/pyramids/rgb.ts";

/** A picture of one channel, shown in all three. */
function grey(width: number, ...values: number[]): Rgb {
  const data = Uint8Array.from(values.flatMap((v) => [v, v + 1, v + 2]));
  return { data, width, height: values.length / width };
}

Deno.test("toRgb drops alpha", () => {
  const data = Uint8Array.of(1, 2, 3, 255, 4, 5, 6, 255);
  assert.deepEqual(toRgb({ data, width: 2, height: 1 }), {
    data: Uint8Array.of(1, 2, 3, 4, 5, 6),
    width: 2,
    height: 1,
  });
});

Deno.test("halve takes rounded means of 2 x 2 px, each channel its own", () => {
  assert.deepEqual(halve(grey(4, 0, 4, 9, 9, 8, 5, 9, 8)), grey(2, 4, 9));
});

Deno.test("halve omits an odd last row and column", () => {
  const odd = grey(3, 1, 1, 200, 1, 1, 200, 200, 200, 200);
  assert.deepEqual(halve(odd), grey(1, 1));
});

Deno.test("halve keeps a single row or column", () => {
  assert.deepEqual(halve(grey(4, 10, 20, 30, 50)), grey(2, 15, 40));
  assert.deepEqual(halve(grey(1, 10, 20)), grey(1, 15));
  assert.deepEqual(halvedSize({ width: 1, height: 5 }), {
    width: 1,
    height: 2,
  });
});

Deno.test("cutBlock repeats the last pixels beyond the edge", () => {
  const picture = grey(3, 1, 2, 3, 4, 5, 6);
  assert.deepEqual(
    cutBlock(picture, { x: 1, y: 0, width: 4, height: 3 }),
    grey(4, 2, 3, 3, 3, 5, 6, 6, 6, 5, 6, 6, 6),
  );
});
