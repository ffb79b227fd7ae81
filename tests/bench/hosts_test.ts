import assert from "node:assert/strict";
import { faster } from "./hosts.ts";

function costs(latencyMs: number) {
  const cost = { latencyMs, leaderMs: 0, hostMs: 0 };
  return { bytes: 1e6, weights: cost, gradients: cost };
}

const INSTANT = { name: "", roundTripMs: 0, bitsPerSecond: Infinity };

Deno.test("a second host gives what five images can, less what messages cost", () => {
  // Three images here and two there.
  assert.equal(faster(1000, INSTANT, costs(0)), 5 / 3);
  // The weights, and two images with their gradients: 700 ms; here 600.
  assert.equal(faster(1000, INSTANT, costs(100)), 1000 / 700);
  // Nothing is given away that takes longer than all images here.
  assert.equal(faster(1000, INSTANT, costs(500)), 1);
});

Deno.test("what is sent crosses the link to NATS and the one from there", () => {
  const slow = { ...INSTANT, bitsPerSecond: 1.6e8 }; // 100 ms for both
  assert.equal(faster(1000, slow, costs(0)), faster(1000, INSTANT, costs(100)));
  const far = { ...INSTANT, roundTripMs: 100 };
  assert.equal(faster(1000, far, costs(0)), faster(1000, INSTANT, costs(100)));
});
