/**
 * Symmetric positive-definite systems of linear equations, in main memory.
 *
 * Source: Golub & Van Loan, "Matrix Computations", sections 4.2 and 3.1.
 *
 * @module
 */

/**
 * The lower factor L of a symmetric positive-definite matrix L L'.
 *
 * @param matrix `[n, n]`; only its lower half is read.
 * @throws {RangeError} If it is not positive definite.
 */
export function cholesky(matrix: Float64Array, n: number): Float64Array {
  const lower = new Float64Array(n * n);
  for (let row = 0; row < n; row++) {
    for (let column = 0; column <= row; column++) {
      let sum = matrix[row * n + column]!;
      for (let k = 0; k < column; k++) {
        sum -= lower[row * n + k]! * lower[column * n + k]!;
      }
      if (row !== column) {
        lower[row * n + column] = sum / lower[column * n + column]!;
      } else if (sum > 0) lower[row * n + row] = Math.sqrt(sum);
      else throw new RangeError("The matrix is not positive definite");
    }
  }
  return lower;
}

/** x of L x = b, by a lower factor. */
export function solveLower(lower: Float64Array, b: Float64Array): Float64Array {
  const n = b.length;
  const x = Float64Array.from(b);
  for (let row = 0; row < n; row++) {
    for (let k = 0; k < row; k++) x[row]! -= lower[row * n + k]! * x[k]!;
    x[row]! /= lower[row * n + row]!;
  }
  return x;
}

/** x of L' x = b, by a lower factor. */
export function solveUpper(lower: Float64Array, b: Float64Array): Float64Array {
  const n = b.length;
  const x = Float64Array.from(b);
  for (let row = n - 1; row >= 0; row--) {
    for (let k = row + 1; k < n; k++) x[row]! -= lower[k * n + row]! * x[k]!;
    x[row]! /= lower[row * n + row]!;
  }
  return x;
}
