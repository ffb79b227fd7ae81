import assert from "node:assert/strict";
import { entropyOf } from "../../lib/sampling/entropy.ts";

Deno.test("both sums over a map are their definitions; zeros add nothing", () => {
  const map = Float32Array.of(0.5, 0, 0.25, 0.25, 0);
  const { negative, entropy } = entropyOf(map);
  const expected = 0.5 * Math.log(0.5 + 1e-6) + 0.5 * Math.log(0.25 + 1e-6);
  assert.ok(Math.abs(negative - expected) < 1e-12);
  assert.ok(Math.abs(entropy - 1.5 * Math.LN2) < 1e-12);
});
