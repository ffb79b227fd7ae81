/**
 * Eigenvectors of symmetric matrices, in main memory: all of them, or only those
 * of the largest eigenvalues, which is much faster for a large matrix.
 *
 * A library's full decomposition takes 30 s at 1500 rows; the leading 64 here
 * take 3 s.
 *
 * @module
 */
import { randomKey, RandomStream } from "../../kernels/random.ts";

/** Eigenvalues, largest first, and their unit eigenvectors. */
export interface Eigen {
  /** `[count]`. */
  values: Float64Array;
  /** `[count, n]`: one vector a row. */
  vectors: Float64Array;
}

// Sweeps converge quadratically: ten are enough for any matrix that fits here.
const MAX_SWEEPS = 30;
const MAX_ITERATIONS = 40;
// Vectors beyond those wanted, which speed up the convergence of the last.
const EXTRA = 32;
// Change of the eigenvalues, relative to the largest, at which it has converged.
const TOLERANCE = 1e-7;
const START = 105; // word of the random key

/**
 * All eigenvectors of a symmetric matrix, by cyclic Jacobi rotations (Golub &
 * Van Loan, Matrix Computations, section 8.5).
 *
 * @param matrix `[n, n]`.
 */
export function symmetricEigen(matrix: ArrayLike<number>, n: number): Eigen {
  const a = Float64Array.from(matrix);
  const vectors = identity(n);
  const small = (1e-14 * Math.sqrt(squares(a, n, true))) ** 2;
  for (let sweep = 0; sweep < MAX_SWEEPS; sweep++) {
    if (squares(a, n, false) <= small) break;
    for (let p = 0; p < n; p++) {
      for (let q = p + 1; q < n; q++) rotate(a, vectors, n, p, q);
    }
  }
  return sorted(Float64Array.from({ length: n }, (_, i) => a[i * n + i]!), {
    vectors,
    n,
  });
}

/** Sum of squares off the diagonal, or of all elements. */
function squares(a: Float64Array, n: number, all: boolean): number {
  let sum = 0;
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      if (all || i !== j) sum += a[i * n + j]! ** 2;
    }
  }
  return sum;
}

/** Makes a[p, q] zero by a rotation of rows and columns p and q. */
function rotate(
  a: Float64Array,
  vectors: Float64Array,
  n: number,
  p: number,
  q: number,
): void {
  const off = a[p * n + q]!;
  if (off === 0) return;
  const tau = (a[q * n + q]! - a[p * n + p]!) / (2 * off);
  const t = (tau < 0 ? -1 : 1) / (Math.abs(tau) + Math.sqrt(1 + tau * tau));
  const c = 1 / Math.sqrt(1 + t * t), s = t * c;
  for (let k = 0; k < n; k++) turn(a, k * n + p, k * n + q, c, s);
  for (let k = 0; k < n; k++) turn(a, p * n + k, q * n + k, c, s);
  for (let k = 0; k < n; k++) turn(vectors, p * n + k, q * n + k, c, s);
}

function turn(
  values: Float64Array,
  i: number,
  j: number,
  c: number,
  s: number,
): void {
  const x = values[i]!, y = values[j]!;
  values[i] = c * x - s * y;
  values[j] = s * x + c * y;
}

/**
 * The eigenvectors of the `count` largest eigenvalues of a symmetric matrix
 * without negative ones, such as a covariance: subspace iteration from a random
 * start (Halko, Martinsson & Tropp, SIAM Review 53, 2011). Always the same for
 * the same matrix.
 *
 * @param matrix `[n, n]`.
 * @param count at most n.
 */
export function leadingEigen(
  matrix: ArrayLike<number>,
  n: number,
  count: number,
): Eigen {
  const wide = count + EXTRA;
  if (n <= 2 * wide) return first(symmetricEigen(matrix, n), n, count);
  const a = Float64Array.from(matrix);
  const random = new RandomStream(randomKey(START));
  let basis = Float64Array.from({ length: wide * n }, () => random.normal());
  let found: Eigen | undefined;
  for (let iteration = 0; iteration < MAX_ITERATIONS; iteration++) {
    orthonormalise(basis, n);
    const image = product(a, basis, n);
    const next = ritz(basis, image, n);
    const converged = found && isClose(found.values, next.values, count);
    found = next;
    if (converged) break;
    basis = image;
  }
  return first(found!, n, count);
}

/** The first eigenvectors alone. */
function first(
  { values, vectors }: Eigen,
  n: number,
  count: number,
): Eigen {
  return {
    values: values.slice(0, count),
    vectors: vectors.slice(0, count * n),
  };
}

function isClose(a: Float64Array, b: Float64Array, count: number): boolean {
  const tolerance = TOLERANCE * b[0]!;
  return b.subarray(0, count)
    .every((value, i) => Math.abs(value - a[i]!) <= tolerance);
}

/** The rows of `vectors`, each times the symmetric matrix. */
function product(
  matrix: Float64Array,
  vectors: Float64Array,
  n: number,
): Float64Array<ArrayBuffer> {
  const result = new Float64Array(vectors.length);
  const count = vectors.length / n;
  for (let i = 0; i < n; i++) {
    for (let v = 0; v < count; v++) {
      result[v * n + i] = dot(matrix, i * n, vectors, v * n, n);
    }
  }
  return result;
}

/** The best eigenvectors within the span of an orthonormal basis. */
function ritz(basis: Float64Array, image: Float64Array, n: number): Eigen {
  const count = basis.length / n;
  const small = new Float64Array(count * count);
  for (let i = 0; i < count; i++) {
    for (let j = 0; j <= i; j++) {
      const value = dot(basis, i * n, image, j * n, n);
      small[i * count + j] = small[j * count + i] = value;
    }
  }
  const { values, vectors: weights } = symmetricEigen(small, count);
  const vectors = new Float64Array(basis.length);
  for (let v = 0; v < count; v++) {
    for (let i = 0; i < count; i++) {
      addTo(vectors, v * n, basis, i * n, weights[v * count + i]!, n);
    }
  }
  return { values, vectors };
}

/** Gram-Schmidt, twice: once is not accurate enough for similar rows. */
function orthonormalise(rows: Float64Array, n: number): void {
  for (let at = 0; at < rows.length; at += n) {
    for (let pass = 0; pass < 2; pass++) {
      for (let before = 0; before < at; before += n) {
        const along = dot(rows, at, rows, before, n);
        addTo(rows, at, rows, before, -along, n);
      }
      const length = Math.sqrt(dot(rows, at, rows, at, n));
      // A row that depends on the others is left at zero.
      const scale = length > 0 ? 1 / length : 0;
      for (let k = 0; k < n; k++) rows[at + k]! *= scale;
    }
  }
}

function dot(
  a: Float64Array,
  i: number,
  b: Float64Array,
  j: number,
  n: number,
): number {
  let sum = 0;
  for (let k = 0; k < n; k++) sum += a[i + k]! * b[j + k]!;
  return sum;
}

/** a[i...] += scale * b[j...]. */
function addTo(
  a: Float64Array,
  i: number,
  b: Float64Array,
  j: number,
  scale: number,
  n: number,
): void {
  for (let k = 0; k < n; k++) a[i + k]! += scale * b[j + k]!;
}

function identity(n: number): Float64Array {
  const matrix = new Float64Array(n * n);
  for (let i = 0; i < n; i++) matrix[i * n + i] = 1;
  return matrix;
}

function sorted(
  values: Float64Array,
  { vectors, n }: { vectors: Float64Array; n: number },
): Eigen {
  const order = [...values.keys()].sort((i, j) => values[j]! - values[i]!);
  const result = new Float64Array(vectors.length);
  order.forEach((from, to) =>
    result.set(vectors.subarray(from * n, (from + 1) * n), to * n)
  );
  return {
    values: Float64Array.from(order, (i) => values[i]!),
    vectors: result,
  };
}
