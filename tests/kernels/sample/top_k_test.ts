import assert from "node:assert/strict";
import { randomKey, RandomStream } from "../../../kernels/random.ts";
import { Top } from "../../../kernels/sample/top_k.ts";

Deno.test("Top keeps the first of a full sort", () => {
  const stream = new RandomStream(randomKey(1));
  for (const [length, k] of [[1, 1], [5, 7], [101, 10], [1000, 999]] as const) {
    const values = Array.from({ length }, () => stream.below(50)); // many ties
    const sorted = [...values.keys()].sort((a, b) =>
      values[b]! - values[a]! || a - b
    );
    const top = new Top(k);
    for (const i of stream.shuffle([...values.keys()])) {
      top.offer(values[i]!, i);
    }
    const kept = { values: new Float64Array(k), indices: new Int32Array(k) };
    top.drain(kept.values, kept.indices);
    const padding = new Array<number>(Math.max(0, k - length)).fill(-1);
    assert.deepEqual(
      [...kept.indices],
      [...sorted.slice(0, k), ...padding],
    );
    assert.equal(kept.values[0], values[sorted[0]!]);
    assert.equal(
      kept.values[k - 1],
      k > length ? -Infinity : values[sorted[k - 1]!],
    );
  }
});

Deno.test("Top of none keeps none", () => {
  const top = new Top(0);
  top.offer(1, 0);
  top.drain(new Float32Array(0), new Int32Array(0));
});
