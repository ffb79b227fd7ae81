/** Regressions by products of rows, against those on the features themselves. */
import assert from "node:assert/strict";
import { randomKey, RandomStream } from "../../../kernels/random.ts";
import { mapOf } from "../../../lib/model/close_up/affine.ts";
import {
  fitLogisticRegression,
  logProbabilities,
} from "../../../lib/train/regression/logistic_regression.ts";
import {
  fitClasses,
  fitRidge,
  wideRows,
} from "../../../lib/train/regression/wide_rows.ts";

const CHANNELS = 40;

/** Rows of features that have something in common, of different sizes. */
function someRows(count: number): Float32Array[] {
  const random = new RandomStream(randomKey(7));
  return Array.from({ length: count }, () => {
    const common = random.normal();
    return Float32Array.from(
      { length: CHANNELS },
      (_, c) => 3 * c + (common + random.normal()) * (1 + c % 5),
    );
  });
}

/** Rows as `wideRows` standardises them, written out. */
function standardised(rows: readonly Float32Array[]): Float64Array[] {
  const mean = rows[0]!.map((_, c) =>
    rows.reduce((sum, row) => sum + row[c]! / rows.length, 0)
  );
  const deviation = rows[0]!.map((_, c) =>
    Math.sqrt(
      rows.reduce((sum, row) => sum + (row[c]! - mean[c]!) ** 2, 0) /
        rows.length,
    )
  );
  return rows.map((row) =>
    Float64Array.from(
      row,
      (x, c) => (x - mean[c]!) / (deviation[c]! + 0.1) / Math.sqrt(CHANNELS),
    )
  );
}

Deno.test("a ridge regression leaves no gradient", () => {
  const rows = someRows(12), strength = 0.02;
  const targets = rows.map((_, i) => [Math.sin(i), Math.cos(3 * i)]);
  const { weight, bias } = fitRidge(wideRows(rows), targets, strength);
  const map = mapOf({ weight, bias });
  const errors = rows.map((row, i) =>
    Array.from(map(row), (y, output) => y - targets[i]![output]!)
  );
  const standard = standardised(rows);
  for (const output of [0, 1]) {
    const sum = errors.reduce((total, error) => total + error[output]!, 0);
    assert.ok(Math.abs(sum) < 1e-4, `bias ${output}: ${sum}`);
    // d/dw of the squares + strength |w|^2, in standardised features.
    for (let c = 0; c < CHANNELS; c++) {
      const scale = (rows[1]![c]! - rows[0]![c]!) /
        (standard[1]![c]! - standard[0]![c]!);
      const gradient = standard.reduce(
        (total, row, i) => total + row[c]! * errors[i]![output]!,
        strength * weight[c * 2 + output]! * scale,
      );
      assert.ok(Math.abs(gradient) < 1e-4, `${c}: ${gradient}`);
    }
  }
});

for (const classes of [2, 3]) {
  Deno.test(`a regression of ${classes} classes is that on the features`, () => {
    const rows = someRows(25);
    const labels = rows.map((_, i) => (i * 7) % classes);
    const weights = labels.map((label) => label + 1);
    const options = { classes, strength: 0.5 };
    const map = mapOf(
      fitClasses(wideRows(rows), labels, { ...options, weights }),
    );
    const standard = standardised(rows);
    const direct = fitLogisticRegression(
      { rows: standard, labels, weights },
      options,
    );
    rows.forEach((row, i) => {
      const logits = map(row);
      const sum = logits.reduce((total, z) => total + Math.exp(z), 0);
      logProbabilities(direct, standard[i]!).forEach((expected, c) => {
        const found = logits[c]! - Math.log(sum);
        assert.ok(Math.abs(found - expected) < 1e-3, `${found} ${expected}`);
      });
    });
  });
}

Deno.test("a weight counts as that many rows", () => {
  const rows = someRows(6), labels = [0, 1, 0, 1, 1, 0];
  const doubled = [...rows, rows[2]!], both = [...labels, 0];
  const wide = standardised(doubled);
  const options = { classes: 2, strength: 0.3 };
  const twice = fitLogisticRegression({ rows: wide, labels: both }, options);
  const weighted = fitLogisticRegression({
    rows: wide.slice(0, 6),
    labels,
    weights: [1, 1, 2, 1, 1, 1],
  }, options);
  weighted.weight.forEach((w, i) =>
    assert.ok(Math.abs(w - twice.weight[i]!) < 1e-6)
  );
});
