import assert from "node:assert/strict";
import { rateFactor } from "../../lib/train/schedule.ts";

Deno.test("step schedule: x 0.9 every 30 epochs", () => {
  const schedule = { kind: "step", every: 30, factor: 0.9 } as const;
  const at = (epoch: number) => rateFactor(schedule, epoch, 100);
  assert.equal(at(1), 1);
  assert.equal(at(30), 1);
  assert.equal(at(31), 0.9);
  assert.equal(at(60), 0.9);
  assert.ok(Math.abs(at(61) - 0.81) < 1e-12);
  assert.ok(Math.abs(at(100) - 0.729) < 1e-12);
});

Deno.test("cosine schedule: from 1 to its final share", () => {
  const schedule = { kind: "cosine", final: 0.02 } as const;
  const at = (epoch: number) => rateFactor(schedule, epoch, 101);
  assert.equal(at(1), 1);
  assert.ok(Math.abs(at(26) - (0.02 + 0.98 * (1 + Math.SQRT1_2) / 2)) < 1e-12);
  assert.ok(Math.abs(at(51) - 0.51) < 1e-12);
  assert.ok(Math.abs(at(101) - 0.02) < 1e-12);
  for (let epoch = 2; epoch <= 101; epoch++) {
    assert.ok(at(epoch) < at(epoch - 1));
  }
});

Deno.test("a run of one epoch has the full rate", () => {
  assert.equal(rateFactor({ kind: "cosine", final: 0 }, 1, 1), 1);
  assert.equal(rateFactor({ kind: "step", every: 1, factor: 0.5 }, 1, 1), 1);
});
