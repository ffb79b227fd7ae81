/** Counts are tested as draws: see sample_test.ts. */
import assert from "node:assert/strict";
import {
  drawExpected,
  drawWithReplacement,
  NothingToDrawError,
} from "../../../kernels/sample/with_replacement.ts";
import {
  type MapPlacement,
  topGumbelReference,
  topValuesReference,
} from "../../../kernels/sample/sample.ts";
import { softmaxReference } from "../../../kernels/softmax/softmax.ts";
import { testOnEngines } from "../../engines.ts";
import { type Drawn, drawRows, keyAt, keysOf, normals, P } from "../draws.ts";
import { chiSquare, chiSquareBound } from "../statistics.ts";

/** Counts of all locations after `samples` draws with replacement. */
function countsOf(
  { indices, values, keys }: Drawn,
  { row, k, samples }: { row: number; k: number; samples: number },
): number[] {
  const drawn = drawWithReplacement({
    indices: indices.subarray(row * k, (row + 1) * k),
    values: values.subarray(row * k, (row + 1) * k),
  }, { samples, key: keyAt(keys, row), columns: P.length });
  const counts = P.map(() => 0);
  for (const [i, index] of drawn.indices.entries()) {
    counts[index] = drawn.counts[i]!;
  }
  return counts;
}

function assertWithin4(actual: number, expected: number, error: number): void {
  const deviations = Math.abs(actual - expected) / error;
  assert.ok(deviations < 4, `${actual}, not ${expected} +- ${error}`);
}

testOnEngines(
  "with replacement, counts have the moments of N draws",
  async () => {
    const rows = 4000, samples = 10, k = P.length;
    const logWeights = P.map((p) => Math.log(p) + 50); // weights need no norm
    const drawn = await drawRows(logWeights, { rows, k, seed: 6 });
    const all = Array.from(
      { length: rows },
      (_, row) => countsOf(drawn, { row, k, samples }),
    );
    for (const counts of all) {
      assert.equal(counts.reduce((a, b) => a + b), samples);
    }
    for (const [i, p] of P.entries()) {
      const mean = samples * p, variance = mean * (1 - p);
      const fourth = variance * (1 + 3 * (samples - 2) * p * (1 - p));
      const sum = all.reduce((a, counts) => a + counts[i]!, 0);
      const square = all.reduce((a, counts) => a + (counts[i]! - mean) ** 2, 0);
      assertWithin4(sum / rows, mean, Math.sqrt(variance / rows));
      assertWithin4(
        square / rows,
        variance,
        Math.sqrt((fourth - variance ** 2) / rows),
      );
    }
  },
);

testOnEngines("with replacement, two draws are independent", async () => {
  const rows = 20_000, k = 2;
  const drawn = await drawRows(P.map(Math.log), { rows, k, seed: 7 });
  const pairs = new Map<string, number>();
  for (let row = 0; row < rows; row++) {
    const pair = countsOf(drawn, { row, k, samples: 2 }).join();
    pairs.set(pair, (pairs.get(pair) ?? 0) + 1);
  }
  const cells = P.flatMap((p, i) =>
    P.slice(i).map((q, j) => {
      const counts = P.map(() => 0);
      counts[i]!++;
      counts[i + j]!++;
      return { name: counts.join(), p: j === 0 ? p * p : 2 * p * q };
    })
  );
  const statistic = chiSquare(
    cells.map(({ name }) => pairs.get(name) ?? 0),
    cells.map(({ p }) => p),
  );
  assert.ok(statistic < chiSquareBound(cells.length), `${statistic}`);
});

Deno.test("the N first candidates are enough for N draws", () => {
  const logWeights = normals(300);
  const samples = 20;
  const options = { keys: keysOf(1, 8), columns: 20 };
  const replay = { samples, key: keyAt(options.keys, 0), columns: 20 };
  const few = topGumbelReference(logWeights, { ...options, k: samples });
  const all = topGumbelReference(logWeights, { ...options, k: 300 });
  assert.deepEqual(
    drawWithReplacement(few, replay),
    drawWithReplacement(all, replay),
  );
});

Deno.test("a block's draws are those of the map in which all else is nothing", () => {
  const map = { rows: 9, columns: 11 };
  const block = { row: 4, column: 6, rows: 3, columns: 4 };
  const weights = normals(block.rows * block.columns);
  const whole = new Float32Array(map.rows * map.columns).fill(-Infinity);
  const inMap = (index: number) =>
    (block.row + Math.floor(index / block.columns)) * map.columns +
    block.column + index % block.columns;
  weights.forEach((weight, i) => whole[inMap(i)] = weight);
  for (let seed = 0; seed < 20; seed++) {
    const keys = keysOf(1, seed), key = keyAt(keys, 0);
    const samples = 30, k = weights.length;
    const drawn = (logWeights: Float32Array, place: MapPlacement) =>
      drawWithReplacement(
        topGumbelReference(logWeights, { k, keys, ...place }),
        { samples, key, ...place },
      );
    const all = drawn(whole, { columns: map.columns });
    const own = drawn(weights, { columns: block.columns, offset: block });
    assert.deepEqual({ ...own, indices: own.indices.map(inMap) }, all);
  }
});

Deno.test("with replacement from one location, or from none", () => {
  const options = { k: 3, keys: keysOf(1, 9), columns: 3 };
  const replay = { samples: 3, key: keyAt(options.keys, 0), columns: 3 };
  const none = -Infinity;
  assert.deepEqual(
    drawWithReplacement(
      topGumbelReference(Float32Array.of(none, 2, none), options),
      replay,
    ),
    { indices: [1], counts: [3] },
  );
  const nothing = topGumbelReference(Float32Array.of(none, none), options);
  assert.throws(() => drawWithReplacement(nothing, replay), NothingToDrawError);
});

/** Expected counts by their definition, over all of the attention. */
function expectedDefinition(attention: Float32Array, samples: number) {
  const counts = [...attention].map((weight) => Math.floor(weight * samples));
  const left = samples - counts.reduce((a, b) => a + b);
  const rest = (i: number) => attention[i]! * samples - counts[i]!;
  const byRest = [...counts.keys()].sort((a, b) => rest(b) - rest(a) || a - b);
  for (const i of byRest.slice(0, left)) counts[i]!++;
  return counts;
}

function expectedCounts(attention: Float32Array, samples: number) {
  const k = Math.min(samples, attention.length);
  return drawExpected(topValuesReference(attention, { rows: 1, k }), samples);
}

Deno.test("expected counts are rounded by largest remainder", () => {
  const expected = (attention: number[], samples: number) =>
    expectedCounts(Float32Array.from(attention), samples);
  // 10 p = 5, 2.5, 1.25, 0.625, 0.625: of the two largest rests, the first wins
  assert.deepEqual(expected([0.5, 0.25, 0.125, 0.0625, 0.0625], 10), {
    indices: [0, 1, 2, 3, 4],
    counts: [5, 2, 1, 1, 1],
  });
  assert.deepEqual(expected([0.25, 0.25, 0.25, 0.25], 2), {
    indices: [0, 1],
    counts: [1, 1],
  });
  assert.deepEqual(expected([0, 1, 0], 7), { indices: [1], counts: [7] });
  assert.throws(() => expected([0, 0], 1), NothingToDrawError);
  assert.throws(() => expected([NaN, NaN], 1), NothingToDrawError);
});

Deno.test("the N largest are enough for expected counts, which add up to N", () => {
  const sizes = [[7, 1000], [2500, 30], [997, 997]] as [number, number][];
  for (const [locations, samples] of sizes) {
    const attention = softmaxReference(normals(locations), {
      rows: 1,
      locations,
    });
    const { indices, counts } = expectedCounts(attention, samples);
    const expected = expectedDefinition(attention, samples);
    assert.equal(counts.reduce((a, b) => a + b), samples);
    const all = new Array<number>(locations).fill(0);
    indices.forEach((index, i) => all[index] = counts[i]!);
    assert.deepEqual(all, expected);
  }
});
