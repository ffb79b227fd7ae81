import assert from "node:assert/strict";
import { Together } from "../../../../lib/image/tiff/decode/coalesce.ts";

/** Doubles numbers, and records their batches; 13 fails. */
function doubler(most: number) {
  const groups: number[][] = [];
  const together = new Together<number, number>({
    most,
    work(items) {
      groups.push([...items]);
      return items.map(async (item) => {
        await Promise.resolve();
        if (item === 13) throw new RangeError("Cannot double 13");
        return 2 * item;
      });
    },
  });
  return { together, groups };
}

function deferred(count: number) {
  return Array.from(
    { length: count },
    () => Promise.withResolvers<number | undefined>(),
  );
}

Deno.test("concurrent requests are coalesced", async () => {
  const { together, groups } = doubler(8);
  const coming = deferred(3);
  const results = coming.map(({ promise }) => together.run(promise));
  coming[1]!.resolve(1);
  coming[0]!.resolve(0);
  await Promise.resolve();
  assert.deepEqual(groups, []); // the third is still in flight
  coming[2]!.resolve(2);
  assert.deepEqual(await Promise.all(results), [0, 2, 4]);
  assert.deepEqual(groups, [[1, 0, 2]]);
  assert.equal(await together.run(Promise.resolve(4)), 8);
  assert.deepEqual(groups[1], [4]);
});

Deno.test("a full group does not wait", async () => {
  const { together, groups } = doubler(2);
  const coming = deferred(3);
  const results = coming.map(({ promise }) => together.run(promise));
  coming[0]!.resolve(1);
  coming[1]!.resolve(2);
  assert.deepEqual(await Promise.all(results.slice(0, 2)), [2, 4]);
  coming[2]!.resolve(3);
  assert.equal(await results[2], 6);
  assert.deepEqual(groups, [[1, 2], [3]]);
});

Deno.test("who fails, or comes to nothing, does not hold up the others", async () => {
  const { together, groups } = doubler(8);
  const coming = deferred(4);
  const results = coming.map(({ promise }) => together.run(promise));
  coming[0]!.resolve(1);
  coming[1]!.resolve(undefined);
  coming[2]!.reject(new RangeError("Cannot come"));
  coming[3]!.resolve(13);
  assert.equal(await results[0], 2);
  assert.equal(await results[1], undefined);
  await assert.rejects(results[2]!, /Cannot come/);
  await assert.rejects(results[3]!, /Cannot double 13/);
  assert.deepEqual(groups, [[1, 13]]);
});
