/**
 * Method section 7, items 6 and 7: draws are tested as draws. Seeds are fixed,
 * so a test that passes keeps passing; bounds are 4 standard deviations.
 */
import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import {
  exponential,
  type Key,
  pcg4d,
  randomKey,
  RandomStream,
} from "../../kernels/random.ts";
import {
  contrastiveLogWeights,
  drawExpected,
  drawWithReplacement,
  topGumbel,
  topGumbelReference,
  topValues,
  topValuesReference,
} from "../../kernels/sample.ts";
import { softmaxReference } from "../../kernels/softmax.ts";
import { startEngine } from "../../lib/engine/select.ts";
import { maxError, testOnEngines } from "../engines.ts";
import { chiSquare, chiSquareBound } from "./statistics.ts";

const P = [0.45, 0.25, 0.15, 0.1, 0.05];

function keysOf(rows: number, seed: number): Uint32Array<ArrayBuffer> {
  const keys = new Uint32Array(2 * rows);
  for (let row = 0; row < rows; row++) {
    keys.set(randomKey(seed, row), 2 * row);
  }
  return keys;
}

function keyAt(keys: Uint32Array, row: number): Key {
  return [keys[2 * row]!, keys[2 * row + 1]!];
}

function normals(count: number): Float32Array {
  const stream = new RandomStream(randomKey(count));
  return Float32Array.from({ length: count }, () => 2 * stream.normal());
}

/** Draws k of each row on the current engine. */
async function draw(
  logWeights: Float32Array,
  { rows = 1, k, seed, columns }: {
    rows?: number;
    k: number;
    seed: number;
    columns?: number;
  },
) {
  const locations = logWeights.length / rows;
  const keys = keysOf(rows, seed);
  const options = { k, keys, columns: columns ?? locations };
  const { indices, values } = tf.tidy(() =>
    topGumbel(tf.tensor2d(logWeights, [rows, locations]), options)
  );
  const drawn = {
    indices: await indices.data() as Int32Array,
    values: await values.data() as Float32Array,
    keys,
    reference: topGumbelReference(logWeights, options),
  };
  tf.dispose([indices, values]);
  return drawn;
}

/** The same row again and again: one draw of k of `weights` each. */
async function drawRows(
  weights: number[],
  { rows, k, seed }: { rows: number; k: number; seed: number },
) {
  const all = Float32Array.from(
    { length: rows * weights.length },
    (_, i) => weights[i % weights.length]!,
  );
  return await draw(all, { rows, k, seed });
}

testOnEngines("draws equal their reference, index by index", async () => {
  // one location; primes; k of all of them; several segments (2048), and
  // enough candidates for a third pass; rows of a stage II batch
  const cases = [
    { rows: 1, locations: 1, k: 1 },
    { rows: 3, locations: 13, k: 13 },
    { rows: 2, locations: 997, k: 997 },
    { rows: 7, locations: 2500, k: 10 },
    { rows: 2, locations: 10_007, k: 1024 },
    { rows: 1, locations: 1_000_003, k: 64 },
    // more than a pass sorts at a time (1024): taken in turns
    { rows: 2, locations: 2500, k: 2500 },
    { rows: 1, locations: 5003, k: 4096 },
  ];
  for (const { rows, locations, k } of cases) {
    const { indices, values, reference } = await draw(
      normals(rows * locations),
      { rows, k, seed: 1, columns: 50 },
    );
    const name = `[${rows}, ${locations}], k = ${k}`;
    assert.deepEqual(indices, reference.indices, name);
    assert.ok(maxError(values, reference.values) < 1e-5, name);
  }
});

Deno.test("the reference is a sort of log w - log E", () => {
  const logWeights = normals(1009);
  const options = {
    k: 100,
    keys: keysOf(1, 3),
    columns: 17,
    offset: { row: 5, column: 1000 },
  };
  const key = keyAt(options.keys, 0);
  const values = [...logWeights].map((logWeight, i) => {
    const [row, column] = [5 + Math.floor(i / 17), 1000 + i % 17];
    return logWeight - Math.log(exponential(pcg4d(row, column, ...key)[0]));
  });
  const order = [...values.keys()].sort((a, b) => values[b]! - values[a]!);
  const reference = topGumbelReference(logWeights, options);
  assert.deepEqual([...reference.indices], order.slice(0, 100));
  assert.ok(
    maxError(reference.values, order.slice(0, 100).map((i) => values[i]!)) <
      1e-6,
  );
});

testOnEngines(
  "the first draw follows p, the pair p_i p_j / (1 - p_i)",
  async () => {
    const rows = 20_000, k = P.length;
    const { indices } = await drawRows(P.map(Math.log), { rows, k, seed: 2 });
    const firsts = P.map(() => 0);
    const pairs = P.map(() => P.map(() => 0));
    for (let row = 0; row < rows; row++) {
      const drawn = [...indices.subarray(row * k, (row + 1) * k)];
      assert.equal(new Set(drawn).size, k, "no duplicates");
      firsts[drawn[0]!]!++;
      pairs[drawn[0]!]![drawn[1]!]!++;
    }
    assert.ok(chiSquare(firsts, P) < chiSquareBound(P.length));
    const cells = P.flatMap((p, i) =>
      P.flatMap((q, j) =>
        i === j ? [] : [{ count: pairs[i]![j]!, p: p * q / (1 - p) }]
      )
    );
    const statistic = chiSquare(
      cells.map((c) => c.count),
      cells.map((c) => c.p),
    );
    assert.ok(statistic < chiSquareBound(cells.length), `${statistic}`);
  },
);

testOnEngines(
  "probabilities in place of log-probabilities fail the test",
  async () => {
    const { indices } = await drawRows(P, { rows: 2000, k: 1, seed: 3 });
    const counts = P.map((_, i) =>
      indices.filter((index) => index === i).length
    );
    assert.ok(chiSquare(counts, P) > 10 * chiSquareBound(P.length));
  },
);

testOnEngines(
  "a location at -inf is never drawn; too few leave -1",
  async () => {
    const none = -Infinity;
    const { indices, values } = await drawRows([none, 0, none, 3, none], {
      rows: 500,
      k: 4,
      seed: 4,
    });
    for (let i = 0; i < indices.length; i += 4) {
      const drawn = indices.subarray(i, i + 4);
      assert.deepEqual([...drawn.subarray(0, 2)].sort(), [1, 3]);
      assert.deepEqual([...drawn.subarray(2)], [-1, -1]);
      assert.equal(values[i + 2], none);
    }
  },
);

testOnEngines("a map cut in blocks gives the draws of the whole", async () => {
  const [rows, columns, k, seed] = [20, 30, 12, 5];
  const logWeights = normals(rows * columns);
  const whole = await draw(logWeights, { k, seed, columns });
  const candidates: { index: number; value: number }[] = [];
  for (const left of [0, 13]) {
    const width = left === 0 ? 13 : 17;
    const block = Float32Array.from(
      { length: rows * width },
      (_, i) => logWeights[Math.floor(i / width) * columns + left + i % width]!,
    );
    const drawn = tf.tidy(() =>
      topGumbel(tf.tensor2d(block, [1, rows * width]), {
        k,
        keys: keysOf(1, seed),
        columns: width,
        offset: { row: 0, column: left },
      })
    );
    const indices = await drawn.indices.data();
    const values = await drawn.values.data();
    tf.dispose([drawn.indices, drawn.values]);
    for (let i = 0; i < k; i++) {
      const [row, column] = [
        Math.floor(indices[i]! / width),
        indices[i]! % width,
      ];
      candidates.push({
        index: row * columns + left + column,
        value: values[i]!,
      });
    }
  }
  candidates.sort((a, b) => b.value - a.value);
  assert.deepEqual(candidates.slice(0, k).map((c) => c.index), [
    ...whole.indices,
  ]);
});

testOnEngines("keys that do not fit are refused", () => {
  const logWeights = tf.zeros([2, 3000]) as tf.Tensor2D;
  const options = { k: 1, keys: keysOf(1, 0), columns: 50 };
  assert.throws(() => topGumbel(logWeights, options), TypeError);
  logWeights.dispose();
});

testOnEngines("the largest values equal their reference", async () => {
  const cases = [
    { rows: 1, locations: 1, k: 1 },
    { rows: 3, locations: 2500, k: 10 },
    { rows: 2, locations: 10_007, k: 1500 },
  ];
  for (const { rows, locations, k } of cases) {
    // Many ties, which go to the lower index, and places that are left out.
    const values = normals(rows * locations)
      .map((value) => value < -2 ? -Infinity : Math.round(value));
    const { indices, values: best } = tf.tidy(() =>
      topValues(tf.tensor2d(values, [rows, locations]), k)
    );
    const expected = topValuesReference(values, { rows, k });
    assert.deepEqual(await indices.data(), expected.indices);
    assert.deepEqual(await best.data(), expected.values);
    tf.dispose([indices, best]);
  }
});

testOnEngines("where there are less than k, the rest is index -1", async () => {
  const values = new Float32Array(5000).fill(-Infinity);
  values[4000] = 1;
  values[17] = 2;
  for (const k of [3, 3000]) {
    const best = tf.tidy(() => topValues(tf.tensor2d(values, [1, 5000]), k));
    const indices = await best.indices.data();
    tf.dispose([best.indices, best.values]);
    assert.deepEqual([...indices.subarray(0, 2)], [17, 4000]);
    assert.ok(indices.subarray(2).every((index) => index === -1));
  }
});

/** Counts of all locations after `samples` draws with replacement. */
function countsOf(
  { indices, values, keys }: Awaited<ReturnType<typeof draw>>,
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
  assert.throws(() => drawWithReplacement(nothing, replay), RangeError);
});

testOnEngines("contrastive draws follow (1 - a) / (n - 1)", async () => {
  const rows = 10_000;
  const attention = [0.7, 0.3, 0, 0];
  const logWeights = tf.tidy(() =>
    contrastiveLogWeights(tf.tensor2d(attention, [1, 4]))
  );
  const weights = [...await logWeights.data()];
  logWeights.dispose();
  const { indices } = await drawRows(weights, { rows, k: 1, seed: 10 });
  const counts = attention.map((_, i) =>
    indices.filter((index) => index === i).length
  );
  const p = attention.map((a) => (1 - a) / 3);
  assert.ok(chiSquare(counts, p) < chiSquareBound(4));
});

testOnEngines(
  "contrastive draws never take what has all the attention",
  async () => {
    const drawn = tf.tidy(() =>
      topGumbel(contrastiveLogWeights(tf.tensor2d([[1], [1 + 2 ** -23]])), {
        k: 1,
        keys: keysOf(2, 11),
        columns: 1,
      })
    );
    assert.deepEqual([...await drawn.indices.data()], [-1, -1]);
    tf.dispose([drawn.indices, drawn.values]);
  },
);

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
  assert.throws(() => expected([0, 0], 1), RangeError);
  assert.throws(() => expected([NaN, NaN], 1), RangeError);
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

Deno.test("draws from 10^7 locations [wasm]", async () => {
  await startEngine("wasm");
  const logWeights = new Float32Array(1e7).fill(-5);
  logWeights[7_654_321] = 40;
  const start = performance.now();
  const { indices } = await draw(logWeights, {
    k: 100,
    seed: 12,
    columns: 4000,
  });
  const elapsedMs = performance.now() - start;
  assert.equal(indices[0], 7_654_321);
  assert.equal(new Set(indices).size, 100);
  assert.ok(elapsedMs < 5000, `${elapsedMs} ms`); // 0.4 s on two idle cores
});
