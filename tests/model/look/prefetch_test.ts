import assert from "node:assert/strict";
import { prefetched } from "../../../lib/model/look/prefetch.ts";

/** Steps between asking for an item and decoding it on another thread. */
const STEPS = 50;

Deno.test("the next item is being decoded before the first is used", async () => {
  const decoding: number[] = [];
  const dropped: number[] = [];
  const make = async (item: number) => {
    for (let step = 0; step < STEPS; step++) await Promise.resolve();
    decoding.push(item);
    return item;
  };
  const used: number[] = [];
  for await (
    const item of prefetched([0, 1, 2], make, {
      drop: (made) => dropped.push(made),
    })
  ) {
    used.push(item);
    assert.deepEqual(decoding, [0, 1, 2].slice(0, item + 2));
  }
  assert.deepEqual(used, [0, 1, 2]);
  assert.deepEqual(dropped, [0, 1, 2]);
});
