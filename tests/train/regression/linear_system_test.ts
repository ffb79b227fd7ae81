/** Systems of linear equations against products of their solutions. */
import assert from "node:assert/strict";
import { randomKey, RandomStream } from "../../../kernels/random.ts";
import {
  cholesky,
  solveLower,
  solveUpper,
} from "../../../lib/train/regression/linear_system.ts";

/** A random matrix times its transpose, and a little of the identity. */
function positiveDefinite(n: number): Float64Array {
  const random = new RandomStream(randomKey(n));
  const half = Float64Array.from({ length: n * n }, () => random.normal());
  return Float64Array.from({ length: n * n }, (_, at) => {
    const [i, j] = [Math.floor(at / n), at % n];
    let sum = i === j ? 0.1 : 0;
    for (let k = 0; k < n; k++) sum += half[i * n + k]! * half[j * n + k]!;
    return sum;
  });
}

Deno.test("a factor and its two solutions solve the system", () => {
  for (const n of [1, 2, 7, 30]) {
    const matrix = positiveDefinite(n);
    const lower = cholesky(matrix, n);
    const b = Float64Array.from({ length: n }, (_, i) => Math.sin(i + 1));
    const x = solveUpper(lower, solveLower(lower, b));
    for (let i = 0; i < n; i++) {
      let sum = 0;
      for (let k = 0; k < n; k++) sum += matrix[i * n + k]! * x[k]!;
      assert.ok(Math.abs(sum - b[i]!) < 1e-9, `row ${i} of ${n}`);
    }
  }
});

Deno.test("a matrix that is not positive definite is refused", () => {
  for (const matrix of [[0], [1, 2, 2, 1], [NaN]]) {
    assert.throws(
      () => cholesky(Float64Array.from(matrix), Math.sqrt(matrix.length)),
      RangeError,
    );
  }
});
