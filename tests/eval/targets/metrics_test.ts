import assert from "node:assert/strict";
import { countedConcordance } from "../../../lib/eval/targets/concordance.ts";
import { kaplanMeier } from "../../../lib/eval/targets/kaplan_meier.ts";
import {
  chosenThresholds,
  labelsMetrics,
} from "../../../lib/eval/targets/labels.ts";
import {
  confusionOf,
  gradeMetrics,
  ordinalMetrics,
} from "../../../lib/eval/targets/ordinal.ts";
import {
  countedValues,
  valueMetrics,
} from "../../../lib/eval/targets/value.ts";
import { goalsOf, GOLDEN } from "../../targets_golden.ts";

/** Every image once. */
function each(count: number): Int32Array {
  return new Int32Array(count).fill(1);
}

function assertNear(found: number | null, expected: number, what: string) {
  assert.ok(
    found !== null && Math.abs(found - expected) < 1e-10,
    `${what}: ${found}, not ${expected}`,
  );
}

const RESAMPLING = {
  seed: 1,
  groups: GOLDEN.values.true.map((_, i) => `${i}`),
};

Deno.test("the concordance index is lifelines', ties of times and risks included", () => {
  for (const golden of GOLDEN.cox) {
    const goals = goalsOf(golden);
    const { risk, concordance, coarseConcordance } = golden;
    const of = (risks: number[]) =>
      countedConcordance({ goals, risks })(each(risks.length));
    assertNear(of(risk), concordance, "distinct risks");
    // Python rounds halves to even, but no risk is one.
    assertNear(of(risk.map(Math.round)), coarseConcordance, "equal risks");
  }
});

Deno.test("an image that counts twice is two, and no known pair has no index", () => {
  const goals = [[1, 1], [2, 1], [3, 0]], risks = [3, 1, 2];
  const twice = countedConcordance({
    goals: [...goals, goals[0]!],
    risks: [...risks, risks[0]!],
  })(each(4));
  const counted = countedConcordance({ goals, risks })(Int32Array.of(2, 1, 1));
  assert.equal(counted, twice);
  assert.equal(
    countedConcordance({ goals: [[1, 0], [2, 0]], risks: [1, 2] })(each(2)),
    null,
  );
});

Deno.test("the Kaplan-Meier curve and its interval are lifelines'", () => {
  const { time, survival, low, high, atRisk } = GOLDEN.kaplanMeier;
  const steps = kaplanMeier(goalsOf(GOLDEN.cox[1]!));
  assert.deepEqual(steps.map(({ time }) => time), time);
  assert.deepEqual(steps.map(({ atRisk }) => atRisk), atRisk);
  steps.forEach((step, i) => {
    assertNear(step.survival, survival[i]!, `survival ${i}`);
    if (step.survival === 0) return; // there lifelines has no interval
    assertNear(step.low, low[i]!, `low ${i}`);
    assertNear(step.high, high[i]!, `high ${i}`);
  });
});

Deno.test("metrics of values are those of scikit-learn and scipy, with intervals", () => {
  const { true: goals, said, scores, tied, tiedScores } = GOLDEN.values;
  for (
    const [values, expected] of [[said, scores], [tied, tiedScores]] as const
  ) {
    const found = countedValues({ goals, values })(each(goals.length));
    for (const key of ["mae", "spearman", "r2"] as const) {
      assertNear(found[key], expected[key], key);
    }
  }
  const found = valueMetrics({ goals, values: said }, RESAMPLING);
  for (const { value, interval } of Object.values(found)) {
    assert.ok(interval!.low < value! && value! < interval!.high);
  }
  const flat = countedValues({ goals: [1, 1], values: [2, 3] })(each(2));
  assert.deepEqual(flat, { mae: 1.5, spearman: null, r2: null });
});

Deno.test("metrics of grades are scikit-learn's, with intervals", () => {
  const { true: goals, said: predicted, ...expected } = GOLDEN.grades;
  const scores = { grades: 5, goals, predicted };
  const found = gradeMetrics(confusionOf(scores));
  for (const key of ["accuracy", "kappa", "mae"] as const) {
    assertNear(found[key], expected[key], key);
  }
  for (
    const { value, interval } of Object.values(
      ordinalMetrics(scores, RESAMPLING),
    )
  ) {
    assert.ok(interval!.low < value! && value! < interval!.high);
  }
});

Deno.test("metrics of labels are scikit-learn's, each at its threshold", () => {
  const { true: goals, probabilities, thresholds, byLabel, exact } =
    GOLDEN.labels;
  const names = ["a", "b", "c"];
  const said = probabilities.map((row) =>
    row.map((p, k) => p > thresholds[k]!)
  );
  const found = labelsMetrics(
    { names, goals, probabilities, said },
    RESAMPLING,
  );
  assertNear(found.metrics.exact!.value, exact, "exact");
  for (const key of ["auc", "averagePrecision", "f1"] as const) {
    const mean = byLabel.reduce((sum, one) => sum + one[key], 0) / 3;
    assertNear(found.metrics[key]!.value, mean, `mean ${key}`);
    names.forEach((name, k) => {
      const { value, interval } = found.byLabel[name]!.metrics[key]!;
      assertNear(value, byLabel[k]![key], `${key} of ${name}`);
      assert.ok(interval!.low < value! && value! < interval!.high);
    });
  }
  assert.equal(found.byLabel.a!.images, goals.filter(([a]) => a === 1).length);
});

Deno.test("a threshold lies where F1 is highest; without images it is a half", () => {
  const names = ["low", "absent"];
  const probabilities = [[0.1, 0.3], [0.15, 0.4], [0.3, 0.2], [0.4, 0.1]];
  const goals = [[0, 0], [0, 0], [1, 0], [1, 0]];
  const [low, absent] = chosenThresholds({ names, goals, probabilities });
  assert.ok(Math.abs(low! - 0.225) < 1e-12);
  assert.equal(absent, 0.5);
});
