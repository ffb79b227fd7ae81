import assert from "node:assert/strict";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { randomKey } from "../../kernels/random.ts";
import {
  type Block,
  ExpectedCounts,
  GumbelDraws,
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
function addRows(add: (block: Block, logits: Float32Array) => void): void {
  for (let row = 0; row < ROWS; row++) {
    const logits = new Float32Array(COLUMNS).fill(row / 1000);
    add({ row, column: 0, rows: 1, columns: COLUMNS }, logits);
  }
}

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
