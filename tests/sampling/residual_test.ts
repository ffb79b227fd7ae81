import assert from "node:assert/strict";
import { NothingToDrawError } from "../../kernels/sample/with_replacement.ts";
import { randomKey, RandomStream } from "../../kernels/random.ts";
import { ResidualDraws } from "../../lib/sampling/residual.ts";
import type { StreamedDraws } from "../../lib/sampling/streams.ts";

const MAP = { rows: 2, columns: 4 };
const LOCATIONS = 8;
// Of ten draws: 3.5, 2.6, 1, 0.9, 0.4, 0.8, 0.8, 0.
const PROPOSAL = [0.35, 0.26, 0.1, 0.09, 0.04, 0.08, 0.08, 0];
const SAMPLES = 10;

function drawn(
  proposal: readonly number[],
  seed: number,
  { samples = SAMPLES, byRows = false } = {},
): StreamedDraws {
  const { columns, rows } = MAP;
  const draws = new ResidualDraws({
    samples,
    columns,
    locations: proposal.filter((q) => q > 0).length,
    key: randomKey(7, seed),
  });
  const logits = Float32Array.from(proposal, (_, i) => -i);
  const blocks = byRows
    ? [1, 0].map((row) => ({ row, column: 0, rows: 1, columns }))
    : [{ row: 0, column: 0, rows, columns }];
  for (const block of blocks) {
    const first = block.row * columns;
    const end = first + block.rows * columns;
    draws.add(block, proposal.slice(first, end), logits.subarray(first, end));
  }
  return draws.draw();
}

function countsOf({ indices, counts }: StreamedDraws): number[] {
  const all = new Array<number>(LOCATIONS).fill(0);
  indices.forEach((index, i) => all[index]! += counts[i]!);
  return all;
}

Deno.test("a location that draws are expected to hit is drawn as often at least", () => {
  for (let seed = 0; seed < 200; seed++) {
    const counts = countsOf(drawn(PROPOSAL, seed));
    assert.equal(counts.reduce((a, b) => a + b), SAMPLES);
    assert.ok(counts[0]! >= 3 && counts[1]! >= 2 && counts[2]! >= 1);
    assert.equal(counts[7], 0);
  }
});

Deno.test("residual counts have the means of N draws, and the variance of the rest", () => {
  const runs = 20_000;
  const sums = new Float64Array(LOCATIONS),
    squares = new Float64Array(LOCATIONS);
  for (let seed = 0; seed < runs; seed++) {
    countsOf(drawn(PROPOSAL, seed)).forEach((count, i) => {
      sums[i]! += count;
      squares[i]! += count ** 2;
    });
  }
  const rest = PROPOSAL.map((q) => {
    const expected = SAMPLES * q;
    return expected - Math.floor(expected + 1e-9);
  });
  const left = rest.reduce((a, b) => a + b);
  PROPOSAL.forEach((q, i) => {
    const mean = sums[i]! / runs, variance = squares[i]! / runs - mean ** 2;
    const share = rest[i]! / left;
    const expected = left * share * (1 - share);
    const error = Math.sqrt(expected / runs);
    assert.ok(
      Math.abs(mean - SAMPLES * q) <= 4 * error + 1e-3,
      `${i}: mean ${mean}`,
    );
    assert.ok(
      Math.abs(variance - expected) <= 0.05 * expected + 1e-3,
      `${i}: variance ${variance}, not ${expected}`,
    );
  });
});

Deno.test("residual draws in blocks, in any order, are those of the map", () => {
  const random = new RandomStream(randomKey(3));
  for (let seed = 0; seed < 50; seed++) {
    const weights = PROPOSAL.map(() => random.uniform() ** 3);
    const sum = weights.reduce((a, b) => a + b);
    const proposal = weights.map((weight) => weight / sum);
    const whole = drawn(proposal, seed);
    assert.deepEqual(drawn(proposal, seed, { byRows: true }), whole);
    whole.indices.forEach((index, i) => assert.ok(whole.logits[i] === -index));
  }
});

Deno.test("proposals that rounding leaves below whole numbers are those", () => {
  const proposal = new Array<number>(LOCATIONS)
    .fill(Math.fround(1 / LOCATIONS) - 1e-9);
  for (const samples of [LOCATIONS, 3 * LOCATIONS]) {
    assert.deepEqual(
      countsOf(drawn(proposal, 1, { samples })),
      proposal.map(() => samples / LOCATIONS),
    );
  }
});

Deno.test("residual draws from nothing are an error", () => {
  assert.throws(
    () => drawn(new Array<number>(LOCATIONS).fill(0), 1),
    NothingToDrawError,
  );
  assert.throws(
    () => drawn(new Array<number>(LOCATIONS).fill(NaN), 1),
    NothingToDrawError,
  );
});
