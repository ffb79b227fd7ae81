import assert from "node:assert/strict";
import { coxLoss } from "../../../lib/model/targets/cox.ts";
import { normals, relativeError } from "../../finite_differences.ts";
import { goalsOf, GOLDEN } from "../../targets_golden.ts";

function total(losses: readonly number[]): number {
  return losses.reduce((sum, loss) => sum + loss, 0);
}

GOLDEN.cox.forEach((golden, i) => {
  Deno.test(`the Cox loss is that of lifelines, ${i ? "tied" : "distinct"} times`, () => {
    const { losses, gradient } = coxLoss(golden.risk, goalsOf(golden));
    assert.ok(Math.abs(total(losses) - golden.loss) < 1e-10);
    assert.ok(relativeError(gradient, golden.gradient) < 1e-8);
    losses.forEach((loss, i) => {
      if (golden.event[i] === 0) assert.equal(loss, 0);
    });
  });
});

Deno.test("the gradient is 0 at the coefficients that lifelines fits", () => {
  const { rows, coefficients: [x, z], loss } = GOLDEN.fitted;
  const risks = rows.map((row) => x * row.x + z * row.z);
  const found = coxLoss(risks, rows.map(({ time, event }) => [time, event]));
  assert.ok(Math.abs(total(found.losses) - loss) < 1e-10);
  for (const name of ["x", "z"] as const) {
    const slope = found.gradient
      .reduce((sum, g, i) => sum + g * rows[i]![name], 0);
    assert.ok(Math.abs(slope) < 1e-9, `${name}: ${slope}`);
  }
});

Deno.test("the gradient is that of differences, adds to 0, and knows no order", () => {
  const risks = Array.from(normals(12, 4));
  const goals = risks.map((_, i) => [1 + i % 4, i % 3 === 0 ? 0 : 1]);
  const { gradient } = coxLoss(risks, goals);
  const expected = risks.map((_, i) => {
    const at = (by: number) =>
      total(
        coxLoss(risks.map((x, j) => x + (i === j ? by : 0)), goals).losses,
      );
    return (at(1e-5) - at(-1e-5)) / 2e-5;
  });
  assert.ok(relativeError(gradient, expected) < 1e-8);
  assert.ok(Math.abs(gradient.reduce((a, b) => a + b)) < 1e-12);
  const order = risks.map((_, i) => (5 * i) % 12);
  const turned = coxLoss(
    order.map((i) => risks[i]!),
    order.map((i) => goals[i]!),
  );
  order.forEach((i, place) =>
    assert.ok(Math.abs(turned.gradient[place]! - gradient[i]!) < 1e-12)
  );
});

Deno.test("a cohort without an event has no loss, and large risks stay finite", () => {
  const none = coxLoss([1, 2], [[3, 0], [4, 0]]);
  assert.deepEqual(none.losses, [0, 0]);
  assert.deepEqual([...none.gradient], [0, 0]);
  const { losses, gradient } = coxLoss(
    [500, -500, 600],
    [[1, 1], [2, 1], [3, 1]],
  );
  assert.ok([...losses, ...gradient].every(Number.isFinite));
});
