/** Products against plain loops, bit by bit, on odd sizes. */
import assert from "node:assert/strict";
import {
  addProduct,
  type ProductSize,
} from "../../../kernels/product/product.ts";
import { randomKey, RandomStream } from "../../../kernels/random.ts";

function plain(
  a: Float32Array,
  b: Float64Array,
  c: Float64Array,
  { rows, inner, columns, transposed = false }: ProductSize,
): Float64Array {
  return c.map((start, at) => {
    const row = Math.floor(at / columns), column = at % columns;
    let sum = start;
    for (let k = 0; k < inner; k++) {
      sum += a[transposed ? k * rows + row : row * inner + k]! *
        b[k * columns + column]!;
    }
    return sum;
  });
}

Deno.test("products have the bits of plain loops", () => {
  const random = new RandomStream(randomKey(7));
  const sizes = [
    [0, 3, 8],
    [1, 1, 1],
    [2, 0, 8],
    [2, 5, 8],
    [3, 7, 9],
    [64, 120, 32],
    [5, 64, 31],
    [2049, 3, 16], // more than are done at a time
  ] as const;
  for (const [rows, inner, columns] of sizes) {
    for (const transposed of [false, true]) {
      const size = { rows, inner, columns, transposed };
      const a = Float32Array.from(
        { length: rows * inner },
        () => random.uniform() < 0.25 ? 0 : random.normal(),
      );
      const b = Float64Array.from(
        { length: inner * columns },
        () => random.normal(),
      );
      const c = Float64Array.from(
        { length: rows * columns },
        () => random.normal(),
      );
      const expected = plain(a, b, c, size);
      addProduct(a, b, c, size);
      assert.deepEqual(c, expected, JSON.stringify(size));
    }
  }
});

Deno.test("a value that is no number is not lost", () => {
  const c = new Float64Array(16);
  const b = new Float64Array(8).fill(1);
  addProduct(Float32Array.of(NaN, 1), b, c, { rows: 2, inner: 1, columns: 8 });
  assert.ok(c.subarray(0, 8).every(Number.isNaN));
  assert.ok(c.subarray(8).every((value) => value === 1));
});
