import assert from "node:assert/strict";
import {
  fitLogisticRegression,
  logProbabilities,
} from "../../../lib/train/regression/logistic_regression.ts";

/** What fixtures/logistic/reference.py writes. */
interface Golden {
  rows: number;
  channels: number;
  cases: {
    classes: number;
    strength: number;
    weight: number[][];
    bias: number[];
    probabilities: number[][];
  }[];
}

const golden: Golden = JSON.parse(
  await Deno.readTextFile(
    new URL("../../../fixtures/logistic/regressions.json", import.meta.url),
  ),
);

// Weights of up to 6.
const TOLERANCE = 1e-4;

const rows = Array.from(
  { length: golden.rows },
  (_, i) =>
    Float64Array.from(
      { length: golden.channels },
      (_, j) => Math.sin(0.7 * i * (j + 1)) + 0.05 * j,
    ),
);

function assertClose(
  actual: Iterable<number>,
  expected: readonly number[],
): void {
  [...actual].forEach((value, i) =>
    assert.ok(
      Math.abs(value - expected[i]!) <= TOLERANCE,
      `${value} is not ${expected[i]}`,
    )
  );
}

for (const { classes, strength, ...expected } of golden.cases) {
  Deno.test(`logistic regression is scikit-learn's: ${classes} classes, strength ${strength}`, () => {
    const labels = rows.map((_, i) =>
      (i + Math.floor(2 * Math.sin(0.7 * i) + 2)) % classes
    );
    const regression = fitLogisticRegression({ rows, labels }, {
      classes,
      strength,
    });
    assert.equal(regression.bias.length, expected.bias.length);
    assertClose(regression.weight, expected.weight.flat());
    assertClose(regression.bias, expected.bias);
    expected.probabilities.forEach((wanted, i) =>
      assertClose(
        logProbabilities(regression, rows[i]!).map(Math.exp),
        wanted,
      )
    );
  });
}

Deno.test("logistic regression of separable classes has bounded weights", () => {
  const rows = [-1, 1].map((x) => Float64Array.of(x));
  const { weight, bias } = fitLogisticRegression({ rows, labels: [0, 1] }, {
    classes: 2,
    strength: 1e-4,
  });
  // At the minimum strength w = 2 / (1 + exp(w)).
  assertClose([1e-4 * weight[0]!], [2 / (1 + Math.exp(weight[0]!))]);
  assertClose(bias, [0]);
});
