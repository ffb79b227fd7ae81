import assert from "node:assert/strict";
import { maxError, selfTest } from "../../lib/engine/self_test.ts";
import { testOnEngines, withZeros } from "../engines.ts";

testOnEngines("every kernel passes its self-test", async () => {
  const results = await selfTest();
  assert.ok(results.length >= 5);
  for (const { kernel, passed, maxError } of results) {
    assert.ok(passed, `${kernel}: ${maxError}`);
  }
});

testOnEngines(
  "a kernel that leaves zeros fails the self-test",
  ({ backend }) =>
    withZeros("zoomin/Softmax", backend, async () => {
      const failed = (await selfTest()).filter(({ passed }) => !passed);
      assert.deepEqual(failed.map(({ kernel }) => kernel), [
        "softmax",
        "softmax gradient", // it starts from the attention
      ]);
    }),
);

Deno.test("maxError is relative above 1, and shows what is not a number", () => {
  assert.equal(maxError([0.5, 110], [0.25, 100]), 0.25);
  assert.equal(maxError([-Infinity], [-Infinity]), 0);
  assert.equal(maxError([1], [1, 2]), Infinity);
  assert.ok(Number.isNaN(maxError([NaN, 1], [0, 1])));
});
