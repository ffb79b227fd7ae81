import assert from "node:assert/strict";
import {
  argmax,
  type ClassifierMetrics,
  evaluateMetrics,
  type MetricValues,
  type Scored,
} from "../../lib/eval/metrics.ts";

const BINARY: Scored = binary(
  [0, 0, 1, 1, 0, 1, 0, 1, 1, 0],
  [.1, .4, .35, .8, .4, .4, .6, .9, .5, .2], // three tie at 0.4, one is 0.5
);
const MULTI: Scored = {
  labels: [0, 1, 2, 2, 1, 0, 2, 1],
  probabilities: [
    [.7, .2, .1],
    [.3, .4, .3],
    [.1, .2, .7],
    [.5, .2, .3],
    [.2, .6, .2],
    [.3, .3, .4],
    [.2, .2, .6],
    [.4, .5, .1],
  ],
};

Deno.test("metrics of two classes are those of scikit-learn", () => {
  // scikit-learn 1.9.1, y and p1 as in BINARY, pred = P.argmax(1):
  // accuracy_score, balanced_accuracy_score, roc_auc_score(y, p1),
  // f1_score(y, pred, zero_division=0), brier_score_loss(y, p1),
  // log_loss(y, p1), confusion_matrix; ECE: numpy, digitize(confidence,
  // linspace(0, 1, 16), right=True), mean over bins weighted by their share.
  assertMetrics(evaluateMetrics(BINARY), {
    accuracy: 0.6,
    balancedAccuracy: 0.6,
    auc: 0.76,
    f1: 0.5,
    brier: 0.18125,
    expectedCalibrationError: 0.215,
    logLoss: 0.5254210150282986,
  }, [[4, 1], [3, 2]]);
});

Deno.test("metrics of three classes are those of scikit-learn", () => {
  // As above with roc_auc_score(y, P, multi_class="ovr"),
  // f1_score(average="macro"), ((P - eye(3)[y]) ** 2).sum(1).mean().
  assertMetrics(evaluateMetrics(MULTI), {
    accuracy: 0.75,
    balancedAccuracy: 0.7222222222222222,
    auc: 0.8972222222222221,
    f1: 0.7222222222222222,
    brier: 0.405,
    expectedCalibrationError: 0.2,
    logLoss: 0.7190480820619274,
  }, [[1, 0, 1], [0, 3, 0], [1, 0, 2]]);
});

Deno.test("perfect and all-wrong predictions are at the ends of each metric", () => {
  assertMetrics(evaluateMetrics(binary([0, 1, 1], [0, 1, 1])), {
    accuracy: 1,
    balancedAccuracy: 1,
    auc: 1,
    f1: 1,
    brier: 0,
    expectedCalibrationError: 0,
    logLoss: 0,
  }, [[1, 0], [0, 2]]);
  assertMetrics(evaluateMetrics(binary([1, 0, 0], [0, 1, 1])), {
    accuracy: 0,
    balancedAccuracy: 0,
    auc: 0,
    f1: 0,
    brier: 1,
    expectedCalibrationError: 1,
    logLoss: -Math.log(Number.EPSILON), // finite
  }, [[0, 2], [1, 0]]);
});

Deno.test("a fold with one class has no AUC, and every other metric", () => {
  const { auc, ...rest } = evaluateMetrics(binary([0, 0], [.2, .6]));
  assert.equal(auc, null);
  assert.equal(rest.balancedAccuracy, 0.5); // recall of class 0 alone
  assert.equal(rest.f1, 0); // no true positive: zero division is 0
});

Deno.test("one image that is negative and called so: F1 is 0, not NaN", () => {
  const { auc, f1, accuracy } = evaluateMetrics(binary([0], [.1]));
  assert.deepEqual({ auc, f1, accuracy }, { auc: null, f1: 0, accuracy: 1 });
});

Deno.test("AUC, recall and F1 omit a class without images", () => {
  // The MULTI images with a fourth class that nobody has or is called.
  const padded = evaluateMetrics({
    ...MULTI,
    probabilities: MULTI.probabilities.map((row) => [...Array.from(row), 0]),
  });
  const { auc, f1, balancedAccuracy } = evaluateMetrics(MULTI);
  assert.equal(padded.auc, auc);
  assert.equal(padded.f1, f1);
  assert.equal(padded.balancedAccuracy, balancedAccuracy);
});

Deno.test("all scores equal: AUC is a half, the lowest class is predicted", () => {
  const metrics = evaluateMetrics(binary([0, 1, 1, 0], [.5, .5, .5, .5]));
  assert.equal(metrics.auc, 0.5);
  assert.deepEqual(metrics.confusion, [[2, 0], [2, 0]]);
  assert.equal(argmax([.2, .4, .4]), 1);
});

Deno.test("a calibration bin ends at its upper edge, which is its own", () => {
  // The edge is 9 / 15 = 0.6: apart from 0.62, together with 0.58.
  const error = (labels: number[], positive: number[]) =>
    evaluateMetrics(binary(labels, positive)).expectedCalibrationError;
  assert.ok(Math.abs(error([0, 1], [.6, .62]) - (.6 + .38) / 2) < 1e-12);
  assert.ok(Math.abs(error([0, 1], [.58, .6]) - (1.18 - 1) / 2) < 1e-12);
});

Deno.test("the order of the images does not matter", () => {
  for (const scored of [BINARY, MULTI]) {
    const order = Array.from(scored.labels, (_, i) => (i * 7 + 3));
    const count = scored.labels.length;
    const shuffled = {
      labels: order.map((i) => scored.labels[i % count]!),
      probabilities: order.map((i) => scored.probabilities[i % count]!),
    };
    const { confusion, ...values } = evaluateMetrics(scored);
    if (new Set(order.map((i) => i % count)).size !== count) assert.fail();
    assertMetrics(evaluateMetrics(shuffled), values, confusion);
  }
});

Deno.test("predictions that cannot be scored are refused by name", () => {
  assert.throws(() => evaluateMetrics({ labels: [], probabilities: [] }), {
    name: "RangeError",
    message: /0 labels and 0 rows/,
  });
  assert.throws(
    () => evaluateMetrics(binary([2], [.5])),
    /label of image 0 is 2; .*\[0, 2\)$/,
  );
  assert.throws(() => evaluateMetrics(binary([1], [NaN])), /image 0.*NaN/);
  assert.throws(
    () =>
      evaluateMetrics({ labels: [0, 0], probabilities: [[.5, .5], [.9, .9]] }),
    /image 1/,
  );
});

/** Two-class predictions from the probabilities of class 1. */
function binary(labels: number[], positive: number[]): Scored {
  return { labels, probabilities: positive.map((p) => [1 - p, p]) };
}

function assertMetrics(
  { confusion, ...actual }: ClassifierMetrics,
  expected: MetricValues,
  expectedConfusion: number[][],
): void {
  assert.deepEqual(confusion, expectedConfusion);
  for (const [name, value] of Object.entries(expected)) {
    const got = actual[name as keyof MetricValues]!;
    assert.ok(Math.abs(got - value) < 1e-12, `${name}: ${got} != ${value}`);
  }
}
