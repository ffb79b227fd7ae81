import assert from "node:assert/strict";
import {
  calibrationCurve,
  learningCurve,
  rocCurve,
} from "../../lib/study/curves.ts";

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

Deno.test("learningCurve is the mean of the runs that reached an epoch", () => {
  const epoch = (epoch: number, loss: number) =>
    ({ type: "epoch", epoch, loss }) as const;
  const run = { type: "run", loss: 99 } as const;
  assert.deepEqual(
    learningCurve([[run, epoch(1, 4), epoch(2, 2)], [epoch(1, 2)]], "loss"),
    [[1, 3], [2, 2]],
  );
});
