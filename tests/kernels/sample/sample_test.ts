/**
 * Method section 7, items 6 and 7: draws are tested as draws. Seeds are fixed,
 * so a test that passes keeps passing; bounds are 4 standard deviations.
 */
import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import { exponential, pcg4d, pcg4dFirst } from "../../../kernels/random.ts";
import {
  contrastiveLogWeights,
  topGumbel,
  topGumbelReference,
  topValues,
  topValuesReference,
} from "../../../kernels/sample/sample.ts";
import { NoiseBounds } from "../../../kernels/sample/wasm.ts";
import type { WasmBackend } from "../../../kernels/wasm/routine.ts";
import { startEngine } from "../../../lib/engine/select.ts";
import { maxError, testOnEngines, testOnWasm } from "../../engines.ts";
import { draw, drawRows, keyAt, keysOf, normals, P } from "../draws.ts";
import { chiSquare, chiSquareBound } from "../statistics.ts";

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

testOnEngines("draws of a wide map equal their reference", async () => {
  const logWeights = normals(3 * 9001);
  const options = {
    k: 100,
    keys: keysOf(1, 5),
    columns: 9001, // more than the noise is bounded at once
    offset: { row: 7, column: 3 },
  };
  const { indices, values } = tf.tidy(() =>
    topGumbel(tf.tensor2d(logWeights, [1, logWeights.length]), options)
  );
  const reference = topGumbelReference(logWeights, options);
  assert.deepEqual([...await indices.data()], [...reference.indices]);
  tf.dispose([indices, values]);
});

testOnWasm("bounds of the noise are below it, and close", () => {
  using bounds = new NoiseBounds(tf.backend() as unknown as WasmBackend);
  let furthest = 0;
  for (let row = 0; row < 500; row++) {
    const key = keyAt(keysOf(1, row), 0);
    const logs = bounds.of({ row, column: 11, columns: 1001, key });
    for (let j = 0; j < 1001; j++) {
      const bits = pcg4dFirst(row, 11 + j, ...key);
      assert.ok(logs[j]! <= Math.log(exponential(bits)), `${row}, ${j}`);
      const distance = Math.log(bits / 2 ** 32) - logs[j]!;
      furthest = Math.max(furthest, distance);
    }
  }
  assert.ok(furthest < 2e-5, String(furthest));
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
    // Many ties, which go to the lower index, and locations that are excluded.
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
    const weights = tf.tidy(() =>
      contrastiveLogWeights(tf.tensor2d([[1], [1 + 2 ** -23]]))
    );
    const drawn = tf.tidy(() =>
      topGumbel(weights, { k: 1, keys: keysOf(2, 11), columns: 1 })
    );
    assert.deepEqual([...await drawn.indices.data()], [-1, -1]);
    const none = [...await weights.data()];
    assert.ok(none.every((weight) => weight < -3e38), `${none}`); // no NaN
    tf.dispose([weights, drawn.indices, drawn.values]);
  },
);

Deno.test("draws from 10^7 locations [wasm]", async () => {
  await startEngine("wasm");
  const logWeights = new Float32Array(1e7).fill(-5);
  logWeights[7_654_321] = 40;
  const { indices } = await draw(logWeights, {
    k: 100,
    seed: 12,
    columns: 4000,
  });
  assert.equal(indices[0], 7_654_321);
  assert.equal(new Set(indices).size, 100);
});
