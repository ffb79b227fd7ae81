import assert from "node:assert/strict";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { randomKey } from "../../kernels/random.ts";
import { normals } from "../finite_differences.ts";
import {
  contrastiveLogWeightsOf,
  EntropySums,
  ExpectedCounts,
  GumbelDraws,
  indexInMap,
  type LocationBlock,
  LogSumExp,
} from "../../lib/sampling/streams.ts";

const COLUMNS = 64;
const ROWS = 20_000; // of which each is a block: 1.28 million locations
const SAMPLES = 64; // every location is the best of its block

// A number for each location of the map takes 50 MB or more.
const MAX_BYTES = 10e6;

setFlagsFromString("--expose-gc");
const collectGarbage: () => void = runInNewContext("gc");

/** Bytes on the heap that are in use. */
function heapBytes(): number {
  collectGarbage();
  return Deno.memoryUsage().heapUsed;
}

/** Offers the map row by row, attention growing as if to push out all before. */
function addRows(
  add: (block: LocationBlock, logits: Float32Array) => void,
): void {
  for (let row = 0; row < ROWS; row++) {
    const logits = new Float32Array(COLUMNS).fill(row / 1000);
    add({ row, column: 0, rows: 1, columns: COLUMNS }, logits);
  }
}

/** Logits of a map in blocks, a location without foreground among them. */
function logitBlocks(): Float32Array[] {
  const blocks = [3, 1, 200, 50].map((length, i) => normals(length, i, 4));
  blocks[2]![7] = -Infinity;
  blocks[3]![0] = 30; // the largest comes late
  return blocks;
}

function near(actual: number, expected: number): void {
  const error = Math.abs(actual - expected);
  assert.ok(error <= 1e-9 * Math.max(1, Math.abs(expected)), `${actual}`);
}

Deno.test("LogSumExp is its definition, in any order, far from 0 too", () => {
  for (const shift of [0, -1000, 1000]) {
    const blocks = logitBlocks()
      .map((block) => Float64Array.from(block, (value) => value + shift));
    const all = blocks.flatMap((block) => [...block]);
    const expected = shift +
      Math.log(all.reduce((sum, x) => sum + Math.exp(x - shift), 0));
    for (const order of [blocks, blocks.toReversed()]) {
      const sum = new LogSumExp();
      for (const block of order) sum.add(block as unknown as Float32Array);
      near(sum.value, expected);
    }
  }
});

Deno.test("LogSumExp of nothing that can be drawn is -Infinity; a NaN shows", () => {
  const sum = new LogSumExp();
  assert.equal(sum.value, -Infinity);
  sum.add(Float32Array.of(-Infinity, -Infinity));
  assert.equal(sum.value, -Infinity);
  sum.add(Float32Array.of(2, -Infinity));
  assert.equal(sum.value, 2);
  sum.add(Float32Array.of(NaN));
  assert.ok(Number.isNaN(sum.value));
});

Deno.test("EntropySums are their definitions over all blocks", () => {
  const sum = new LogSumExp(), blocks = logitBlocks();
  for (const block of blocks) sum.add(block);
  const sums = new EntropySums(sum.value);
  for (const block of blocks) sums.add(block);
  let negative = 0, slope = 0, entropy = 0;
  for (const logit of blocks.flatMap((block) => [...block])) {
    const p = Math.exp(logit - sum.value);
    if (p === 0) continue;
    negative += p * Math.log(p + 1e-6);
    slope += p * (Math.log(p + 1e-6) + p / (p + 1e-6));
    entropy -= p * Math.log(p);
  }
  near(sums.negative, negative);
  near(sums.slope, slope);
  near(sums.entropy, entropy);
});

Deno.test("a map of equal locations has an entropy of log their number", () => {
  const sums = new EntropySums(Math.log(500));
  for (let row = 0; row < 5; row++) sums.add(new Float32Array(100));
  near(sums.entropy, Math.log(500));
});

Deno.test("contrastive weights are 1 - attention, never of a location that is none", () => {
  const logits = Float32Array.of(1, 2, -Infinity, 3);
  const sum = new LogSumExp();
  sum.add(logits);
  const logNormaliser = sum.value;
  const weights = contrastiveLogWeightsOf(logits, {
    logNormaliser,
    locations: 3,
  });
  assert.equal(weights[2], -Infinity);
  for (const i of [0, 1, 3]) {
    const expected = 1 - Math.exp(logits[i]! - logNormaliser);
    assert.ok(Math.abs(Math.exp(weights[i]!) - expected) < 1e-6);
  }
  // All attention on one location, and rounding beyond it: not NaN.
  const peaked = contrastiveLogWeightsOf(Float32Array.of(5, -90), {
    logNormaliser: 5 - 1e-7,
    locations: 2,
  });
  assert.deepEqual([...peaked], [-Infinity, 0]);
  // A single location has nothing to be contrasted with.
  const only = Float32Array.of(-Infinity, 4);
  assert.deepEqual(
    contrastiveLogWeightsOf(only, { logNormaliser: 4, locations: 1 }),
    only,
  );
});

Deno.test("a location of a block has its place in the map", () => {
  const block = { row: 3, column: 4, rows: 2, columns: 3 };
  const places = [0, 1, 2, 3, 4, 5].map((i) => indexInMap(block, i, 10));
  assert.deepEqual(places, [34, 35, 36, 44, 45, 46]);
});

Deno.test("GumbelDraws does not grow with the map", () => {
  const before = heapBytes();
  const draws = new GumbelDraws({
    samples: SAMPLES,
    key: randomKey(1),
    columns: COLUMNS,
    locations: ROWS * COLUMNS,
  });
  addRows((block, logits) => draws.add(block, logits));
  assert.ok(heapBytes() - before < MAX_BYTES);
  checkLogits(draws.draw());
});

Deno.test("ExpectedCounts does not grow with the map", () => {
  const sum = new LogSumExp();
  addRows((_, logits) => sum.add(logits));
  const before = heapBytes();
  const counts = new ExpectedCounts({
    samples: SAMPLES,
    columns: COLUMNS,
    logNormaliser: sum.value,
  });
  addRows((block, logits) => counts.add(block, logits));
  assert.ok(heapBytes() - before < MAX_BYTES);
  checkLogits(counts.draw());
});

/** Checks that each location that was drawn still has its own logit. */
function checkLogits(
  { indices, counts, logits }: ReturnType<GumbelDraws["draw"]>,
): void {
  assert.equal(counts.reduce((a, b) => a + b), SAMPLES);
  assert.deepEqual(
    logits,
    indices.map((index) => Math.fround(Math.floor(index / COLUMNS) / 1000)),
  );
}
