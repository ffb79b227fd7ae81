import assert from "node:assert/strict";
import { learningCurve } from "../../lib/train/learning_curve.ts";

Deno.test("learningCurve is the mean of the runs that reached an epoch", () => {
  const epoch = (epoch: number, loss: number) =>
    ({ type: "epoch", epoch, loss }) as const;
  const run = { type: "run", loss: 99 } as const;
  assert.deepEqual(
    learningCurve([[run, epoch(1, 4), epoch(2, 2)], [epoch(1, 2)]], "loss"),
    [[1, 3], [2, 2]],
  );
});
