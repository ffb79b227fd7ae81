import assert from "node:assert/strict";
import {
  type Eigen,
  leadingEigen,
  symmetricEigen,
} from "../../lib/encoder/eigen.ts";
import { normals } from "../finite_differences.ts";

/** A matrix with these eigenvalues, and its eigenvectors as rows. */
function matrixOf(values: readonly number[]) {
  const n = values.length;
  const vectors = orthonormal(n);
  const matrix = new Float64Array(n * n);
  values.forEach((value, v) => {
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < n; j++) {
        matrix[i * n + j]! += value * vectors[v * n + i]! * vectors[v * n + j]!;
      }
    }
  });
  return { matrix, vectors, n };
}

/** Rows of unit length at right angles: a product of Householder reflections. */
function orthonormal(n: number): Float64Array {
  const rows = new Float64Array(n * n);
  for (let i = 0; i < n; i++) rows[i * n + i] = 1;
  for (let turn = 0; turn < 3; turn++) {
    const axis = normals(n, turn + 1);
    const length = axis.reduce((sum, x) => sum + x * x, 0);
    for (let row = 0; row < n; row++) {
      let along = 0;
      for (let k = 0; k < n; k++) along += rows[row * n + k]! * axis[k]!;
      for (let k = 0; k < n; k++) {
        rows[row * n + k]! -= 2 * along * axis[k]! / length;
      }
    }
  }
  return rows;
}

function assertPairs(
  { values, vectors }: Eigen,
  wanted: readonly number[],
  known: { vectors: Float64Array; n: number },
  tolerance: number,
) {
  wanted.forEach((value, v) => {
    assert.ok(Math.abs(values[v]! - value) < tolerance, `value ${v}`);
    let along = 0;
    for (let k = 0; k < known.n; k++) {
      along += vectors[v * known.n + k]! * known.vectors[v * known.n + k]!;
    }
    assert.ok(Math.abs(Math.abs(along) - 1) < tolerance, `vector ${v}`);
  });
}

Deno.test("symmetricEigen of 2 x 2 is that of the textbook", () => {
  const { values, vectors } = symmetricEigen([2, 1, 1, 2], 2);
  assert.deepEqual([...values].map((x) => Math.round(x * 1e12) / 1e12), [3, 1]);
  const half = Math.SQRT1_2;
  const [a, b, c, d] = vectors;
  assert.ok(Math.abs(a! * half + b! * half) > 1 - 1e-12);
  assert.ok(Math.abs(c! * half - d! * half) > 1 - 1e-12);
});

Deno.test("symmetricEigen finds the pairs of a known matrix, largest first", () => {
  const wanted = [9, 5, 2.5, 1, 0, -3, -4];
  const known = matrixOf(wanted);
  assertPairs(symmetricEigen(known.matrix, known.n), wanted, known, 1e-9);
});

Deno.test("symmetricEigen of a diagonal, a zero and a 1 x 1 matrix", () => {
  assert.deepEqual([...symmetricEigen([1, 0, 0, 4], 2).values], [4, 1]);
  assert.deepEqual([...symmetricEigen(new Float64Array(9), 3).values], [
    0,
    0,
    0,
  ]);
  assert.deepEqual([...symmetricEigen([7], 1).vectors], [1]);
});

Deno.test("leadingEigen finds the first pairs of a large matrix", () => {
  // As eigenvalues of features fall: a few large ones, then a long tail.
  const wanted = Array.from({ length: 150 }, (_, i) => 100 / (1 + i) ** 1.5);
  const known = matrixOf(wanted);
  const found = leadingEigen(known.matrix, known.n, 8);
  assert.equal(found.values.length, 8);
  assertPairs(found, wanted.slice(0, 8), known, 1e-4);
});

Deno.test("leadingEigen of a small matrix is exact", () => {
  const wanted = [6, 4, 1];
  const known = matrixOf(wanted);
  assertPairs(
    leadingEigen(known.matrix, 3, 2),
    wanted.slice(0, 2),
    known,
    1e-9,
  );
});

Deno.test("leadingEigen of a matrix of low rank has zeros, no NaN", () => {
  const known = matrixOf([5, 3, ...new Array<number>(118).fill(0)]);
  const { values, vectors } = leadingEigen(known.matrix, known.n, 4);
  assert.ok(Math.abs(values[1]! - 3) < 1e-9 && Math.abs(values[3]!) < 1e-9);
  assert.ok(vectors.every(Number.isFinite));
});
