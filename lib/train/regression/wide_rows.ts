/**
 * Regressions on rows of far more features than rows. The weights that fit best,
 * with an L2 penalty, are sums of the rows; so all is computed from the products
 * of rows with each other.
 *
 * @module
 */
import type { AffineValues } from "../../model/close_up/affine.ts";
import { cholesky, solveLower, solveUpper } from "./linear_system.ts";
import { fitLogisticRegression } from "./logistic_regression.ts";

/** Rows with standardised features, and their products. */
export interface WideRows {
  rows: readonly Float32Array[];
  /** Of each feature. */
  mean: Float64Array;
  /** What each feature is multiplied by, after its mean is taken off. */
  factor: Float64Array;
  /** `[n, n]`: products of standardised rows, divided by the number of features. */
  products: Float64Array;
}

// Added to a deviation: a feature that hardly varies should not be blown up.
const LEAST_DEVIATION = 0.1;
// Of the mean diagonal: equal rows make products singular.
const JITTER = 1e-9;

/** Standardises rows; they are not changed. */
export function wideRows(rows: readonly Float32Array[]): WideRows {
  const { mean, deviation } = moments(rows);
  const channels = mean.length;
  const factor = deviation.map((d) =>
    1 / ((d + LEAST_DEVIATION) * Math.sqrt(channels))
  );
  const standard = rows.map((row) =>
    Float32Array.from(row, (x, c) => (x - mean[c]!) * factor[c]!)
  );
  const n = rows.length;
  const products = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      const product = dot(standard[i]!, standard[j]!);
      products[i * n + j] = product;
      products[j * n + i] = product;
    }
  }
  return { rows: standard, mean, factor, products };
}

/**
 * Ridge regression: the least sum of squares + `strength` |weights|^2, the bias
 * without penalty.
 *
 * @param targets of each row.
 */
export function fitRidge(
  wide: WideRows,
  targets: readonly (readonly number[])[],
  strength: number,
): AffineValues {
  const n = wide.rows.length;
  const matrix = withDiagonal(wide.products, n, strength);
  const lower = cholesky(matrix, n);
  return lifted(
    wide,
    targets[0]!.map((_, output) => {
      const own = targets.map((target) => target[output]!);
      const bias = own.reduce((sum, t) => sum + t, 0) / n;
      const centred = Float64Array.from(own, (t) => t - bias);
      return { shares: solveUpper(lower, solveLower(lower, centred)), bias };
    }),
  );
}

/**
 * Logistic regression of `classes` classes, which share its logits evenly; see
 * `logistic_regression.ts`.
 */
export function fitClasses(
  wide: WideRows,
  labels: readonly number[],
  { classes, strength, weights }: {
    classes: number;
    strength: number;
    weights: readonly number[];
  },
): AffineValues {
  const n = wide.rows.length;
  const trace = wide.products.reduce(
    (sum, product, i) => i % (n + 1) === 0 ? sum + product : sum,
    0,
  );
  const lower = cholesky(
    withDiagonal(wide.products, n, JITTER * trace / n),
    n,
  );
  // Rows of the factor have the same products as the rows themselves.
  const rows = wide.rows.map((_, i) => lower.subarray(i * n, (i + 1) * n));
  const { weight, bias } = fitLogisticRegression(
    { rows, labels, weights },
    { classes, strength },
  );
  const outputs = Array.from(bias, (value, output) => ({
    shares: solveUpper(lower, weight.slice(output * n, (output + 1) * n)),
    bias: value,
  }));
  const reference = { shares: new Float64Array(n), bias: 0 };
  return lifted(wide, classes === 2 ? [reference, ...outputs] : outputs);
}

/** The map whose weights are sums of rows, by their shares, for raw features. */
function lifted(
  { rows, mean, factor }: WideRows,
  outputs: readonly { shares: Float64Array; bias: number }[],
): AffineValues {
  const channels = mean.length, count = outputs.length;
  const weight = new Float32Array(channels * count);
  const biases = outputs.map(({ shares, bias }, output) => {
    const sums = new Float64Array(channels);
    rows.forEach((row, i) => {
      const share = shares[i]!;
      for (let c = 0; c < channels; c++) sums[c]! += share * row[c]!;
    });
    let constant = bias;
    for (let c = 0; c < channels; c++) {
      const w = Math.fround(sums[c]! * factor[c]!);
      weight[c * count + output] = w;
      constant -= w * mean[c]!;
    }
    return constant;
  });
  return { weight, bias: Float32Array.from(biases) };
}

function moments(rows: readonly Float32Array[]) {
  const channels = rows[0]!.length, n = rows.length;
  const mean = new Float64Array(channels), squares = new Float64Array(channels);
  for (const row of rows) row.forEach((x, c) => mean[c]! += x / n);
  for (const row of rows) {
    row.forEach((x, c) => squares[c]! += (x - mean[c]!) ** 2 / n);
  }
  return { mean, deviation: squares.map(Math.sqrt) };
}

function withDiagonal(
  matrix: Float64Array,
  n: number,
  value: number,
): Float64Array {
  const changed = Float64Array.from(matrix);
  for (let i = 0; i < n; i++) changed[i * n + i]! += value;
  return changed;
}

function dot(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}
