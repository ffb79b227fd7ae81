import assert from "node:assert/strict";
import { setImmediate } from "node:timers/promises";
import { piecesOf } from "../../../lib/serve/jobs/cut_batch.ts";
import { begunAhead, joined } from "../../../lib/serve/jobs/groups.ts";

Deno.test("a group is begun before the one ahead of it has ended", async () => {
  const begun: number[] = [];
  const ends = [0, 2, 4].map(() => Promise.withResolvers<void>());
  const groups = begunAhead({ from: 0, to: 5, size: 2 }, async (row) => {
    begun.push(row);
    await ends[row / 2]!.promise;
    return row;
  });
  const first = groups.next();
  assert.deepEqual(begun, [0, 2]);
  ends[0]!.resolve();
  assert.equal((await first).value, 0);
  const second = groups.next();
  ends[1]!.resolve();
  assert.equal((await second).value, 2);
  assert.deepEqual(begun, [0, 2, 4]);
  ends[2]!.resolve();
  assert.equal((await groups.next()).value, 4);
  assert.ok((await groups.next()).done);
});

Deno.test("a group that fails is told in its turn, and one at work is waited for", async () => {
  let hasEnded = false;
  const groups = begunAhead({ from: 0, to: 6, size: 2 }, async (row) => {
    if (row === 0) throw new RangeError("the first");
    await setImmediate();
    hasEnded = true;
  });
  await assert.rejects(groups.next(), RangeError);
  assert.ok(hasEnded);
});

Deno.test("groups are joined for a while, and none is left out", async () => {
  async function* groups() {
    yield* [[1, 2], [3], [4, 5]];
  }
  assert.deepEqual(await Array.fromAsync(joined(groups(), 0)), [
    [1, 2],
    [3],
    [4, 5],
  ]);
  assert.deepEqual(await Array.fromAsync(joined(groups(), 60_000)), [
    [1, 2, 3, 4, 5],
  ]);
});

Deno.test("the pieces of a batch have each row once, and the last are small", () => {
  for (const length of [1, 4, 5, 100, 640, 5000, 60_000, 2_000_000]) {
    const pieces = piecesOf("b", length);
    let next = 0;
    for (const { id, from, to } of pieces) {
      assert.equal(from, next);
      assert.ok(to > from && to - from <= 256);
      assert.equal(id, `b-${from}-${to}`);
      next = to;
    }
    assert.equal(next, length);
    const sizes = pieces.map(({ from, to }) => to - from);
    assert.deepEqual(sizes, sizes.toSorted((a, b) => b - a));
    assert.ok(sizes.at(-1)! <= 4);
    assert.deepEqual(piecesOf("b", length), pieces, "whoever cuts it");
  }
});
