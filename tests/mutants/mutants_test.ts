import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { MUTANTS } from "./list.ts";
import { staleness } from "./mutant.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

Deno.test("every fault of the list can still be put into the code", async () => {
  const stale = await Promise.all(MUTANTS.map(async (mutant) => {
    const why = await staleness(mutant, ROOT);
    return why ? [`${mutant.name}: ${why}`] : [];
  }));
  assert.deepEqual(stale.flat(), []);
});

Deno.test("no fault stands in the list twice, and none changes nothing", () => {
  const names = MUTANTS.map(({ name }) => name);
  assert.deepEqual(names.filter((name, i) => names.indexOf(name) !== i), []);
  for (const { name, find, replacement } of MUTANTS) {
    assert.notEqual(find, replacement, name);
  }
  assert.ok(MUTANTS.length >= 120);
});
