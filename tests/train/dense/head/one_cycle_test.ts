import assert from "node:assert/strict";
import { oneCycle } from "../../../../lib/train/dense/head/one_cycle.ts";

Deno.test("oneCycle rises to 1, then falls to nothing, as torch's", () => {
  // torch.optim.lr_scheduler.OneCycleLR, max_lr = 1, 20 steps, pct_start 0.15
  const expected = [0.04, 0.52, 1, 0.9915];
  expected.forEach((rate, step) =>
    assert.ok(Math.abs(oneCycle(step, 20, 0.15) - rate) < 1e-3, `step ${step}`)
  );
  assert.ok(Math.abs(oneCycle(19, 20, 0.15) - 4e-6) < 1e-8);
});

Deno.test("oneCycle of few steps is finite and positive", () => {
  for (const steps of [1, 2, 3, 7]) {
    for (let step = 0; step < steps; step++) {
      const rate = oneCycle(step, steps, 0.15);
      assert.ok(rate > 0 && rate <= 1, `${rate}`);
    }
  }
});
