import assert from "node:assert/strict";
import {
  averagePrecision,
  calibrationCurve,
  precisionRecallCurve,
  rocCurve,
  sensitivityAt,
} from "../../lib/eval/curves.ts";

const images = (...pairs: [probability: number, positive: 0 | 1][]) =>
  pairs.map(([probability, positive]) => ({
    probability,
    positive: positive === 1,
  }));

Deno.test("rocCurve steps up at positives and right at negatives", () => {
  assert.deepEqual(
    rocCurve(images([0.2, 0], [0.9, 1], [0.4, 0], [0.6, 1])),
    [[0, 0], [0, 0.5], [0, 1], [0.5, 1], [1, 1]],
  );
});

Deno.test("rocCurve takes equal probabilities in one slanted step", () => {
  assert.deepEqual(
    rocCurve(images([0.5, 1], [0.5, 0], [0.1, 0])),
    [[0, 0], [0.5, 1], [1, 1]],
  );
  assert.deepEqual(rocCurve(images([0.5, 1])), []); // no negative: undefined
});

Deno.test("calibrationCurve has one point a bin that is not empty", () => {
  assert.deepEqual(
    calibrationCurve(images([0.125, 0], [0.125, 1], [1, 1])),
    [[0.125, 0.5], [1, 1]],
  );
});

Deno.test("precisionRecallCurve and its average are those of scikit-learn", () => {
  // sklearn.metrics.average_precision_score([0, 0, 1, 1], [.1, .4, .35, .8])
  const four = images([0.1, 0], [0.4, 0], [0.35, 1], [0.8, 1]);
  assert.deepEqual(precisionRecallCurve(four), [
    [0.5, 1],
    [0.5, 1 / 2],
    [1, 2 / 3],
    [1, 1 / 2],
  ]);
  assert.ok(Math.abs(averagePrecision(four)! - 0.8333333333333333) < 1e-12);
  assert.equal(averagePrecision(images([0.5, 0])), null);
});

Deno.test("sensitivityAt takes the lowest threshold that keeps the specificity", () => {
  const ten = images(
    ...[0.95, 0.9, 0.7, 0.3].map((p): [number, 1] => [p, 1]),
    ...[0.8, 0.5, 0.4, 0.2, 0.1].map((p): [number, 0] => [p, 0]),
  );
  const at = sensitivityAt(ten, 0.8)!;
  assert.deepEqual(
    [at.sensitivity, at.specificity, at.threshold],
    [0.75, 0.8, 0.7],
  );
  const strict = sensitivityAt(ten, 0.95)!;
  assert.deepEqual(
    [strict.sensitivity, strict.specificity, strict.threshold],
    [0.5, 1, 0.9],
  );
  assert.equal(sensitivityAt(images([0.9, 0], [0.5, 1]), 0.5), null);
  assert.equal(sensitivityAt(images([0.9, 1]), 0.5), null);
});

Deno.test("sensitivityAt counts the images of a patient as dependent", () => {
  const of = (group: string, probability: number) =>
    Array.from({ length: 10 }, () => ({ probability, positive: true, group }));
  const negatives = images([0.1, 0], [0.2, 0]);
  const grouped = [...of("a", 0.9), ...of("b", 0.15), ...negatives];
  const alone = grouped.map(({ probability, positive }) => ({
    probability,
    positive,
  }));
  const width = (images: typeof alone) => {
    const { interval } = sensitivityAt(images, 0.95)!;
    return interval.high - interval.low;
  };
  assert.ok(width(grouped) > 1.5 * width(alone));
});
