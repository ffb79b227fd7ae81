import assert from "node:assert/strict";
import type { Cost, JobCosts } from "./jobs_cost.ts";
import { simulate } from "./jobs_simulation.ts";

function costs(claimMs: number, finishMs: number, tellMs = 0): JobCosts {
  const cost = (serverMs: number): Cost => ({
    serverMs,
    hostMs: 0,
    latencyMs: 0,
  });
  return {
    nodes: 1,
    queued: 0,
    accept: cost(0),
    claim: cost(claimMs),
    beat: cost(0),
    finish: cost(finishMs),
    tellMs,
    waitingBytes: 1000,
    hostBytes: 0,
  };
}

const SETTING = {
  workers: 20,
  images: 20_000,
  pieceImages: 1,
  imageMs: 100,
  cores: 2,
  followers: 0,
};

Deno.test("workers whose calls cost nothing never wait", () => {
  const { efficiency, busy, waitMs } = simulate(costs(0, 0), SETTING);
  assert.ok(efficiency > 0.998); // they do not begin at the same time
  assert.deepEqual([busy, waitMs], [0, 0]);
});

Deno.test("a server that is the wall does what its cores can, whatever the workers", () => {
  // 2 cores, (12 + 8) ms a job: 100 jobs a second, half of what is wanted.
  for (const workers of [20, 40, 400]) {
    const { imagesPerSecond, busy } = simulate(
      costs(12, 8),
      { ...SETTING, workers },
    );
    assert.ok(Math.abs(imagesPerSecond - 100) < 2, `${imagesPerSecond}`);
    assert.ok(busy > 0.98);
  }
});

Deno.test("pieces move the wall, and followers bring it closer", () => {
  const alone = simulate(costs(12, 8), SETTING);
  const pieces = simulate(costs(12, 8), { ...SETTING, pieceImages: 10 });
  assert.equal(pieces.jobs, 2000);
  assert.ok(pieces.efficiency > 0.95 && alone.efficiency < 0.55);
  // Each change told to 10 hosts at 1 ms: (12 + 10 + 8 + 10) ms a job.
  const told = simulate(costs(12, 8, 1), { ...SETTING, followers: 10 });
  assert.ok(Math.abs(told.imagesPerSecond - 50) < 1);
});
