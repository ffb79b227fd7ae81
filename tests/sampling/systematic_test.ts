import assert from "node:assert/strict";
import { randomKey, RandomStream } from "../../kernels/random.ts";
import { systematicDraws } from "../../lib/sampling/systematic.ts";

const WEIGHTS = [3, 0, 1, 4];
const SHARES = [3 / 8, 0, 1 / 8, 1 / 2];

Deno.test("systematic draws: as many as asked, in the mean by the weights", () => {
  const random = new RandomStream(randomKey(5));
  const sums = WEIGHTS.map(() => 0);
  const runs = 400, samples = 5;
  for (let run = 0; run < runs; run++) {
    const { indices, counts } = systematicDraws(
      WEIGHTS,
      samples,
      random.uniform(),
    );
    assert.equal(counts.reduce((a, b) => a + b), samples);
    indices.forEach((index, i) => {
      const expected = samples * SHARES[index]!;
      assert.ok(Math.abs(counts[i]! - expected) < 1, `${index}: ${counts[i]}`);
      sums[index]! += counts[i]! / samples / runs;
    });
  }
  sums.forEach((sum, i) => assert.ok(Math.abs(sum - SHARES[i]!) < 0.02));
  assert.equal(sums[1], 0);
});

Deno.test("systematic draws: every start gives all draws, rounding or not", () => {
  const weights = Array.from({ length: 997 }, (_, i) => 1 / (3 + i));
  for (const start of [2 ** -33, 0.1, 0.5, 1 - 2 ** -33]) {
    for (const samples of [1, 7, 1000]) {
      const { counts } = systematicDraws(weights, samples, start);
      assert.equal(counts.reduce((a, b) => a + b), samples);
    }
  }
});

Deno.test("systematic draws: none without weights", () => {
  for (const weights of [[], [0, 0], [NaN, 1]]) {
    assert.deepEqual(systematicDraws(weights, 3, 0.5).indices, []);
  }
});
