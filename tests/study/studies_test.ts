import assert from "node:assert/strict";
import { colonStudy } from "../../lib/study/colon.ts";
import { gtsdbStudy } from "../../lib/study/gtsdb.ts";
import { needleStudy } from "../../lib/study/needle.ts";
import { cellsOf } from "../../lib/study/study.ts";

const STUDIES = [colonStudy, needleStudy, gtsdbStudy];

for (const quick of [false, true]) {
  Deno.test(`every variant can be compared as it asks to be${quick ? ", quick" : ""}`, () => {
    for (const make of STUDIES) {
      const { name, data, variants } = make({ manifest: "m.csv", quick });
      const named = new Map(variants.map((variant) => [variant.name, variant]));
      assert.equal(named.size, variants.length, `${name}: a name twice`);
      for (const variant of variants) {
        assert.ok(data[variant.data], `${name}: ${variant.name} has no data`);
        if (variant.against === undefined) continue;
        const other = named.get(variant.against)!;
        // The same folds and seeds, or there is no pair.
        assert.deepEqual(data[variant.data]!.folds, data[other.data]!.folds);
        assert.ok(variant.seeds.every((seed) => other.seeds.includes(seed)));
        assert.ok(
          variant.protocols.every((protocol) =>
            other.protocols.includes(protocol)
          ),
        );
      }
    }
  });
}

Deno.test("all variants run once before any runs again", () => {
  const cells = cellsOf(colonStudy({ manifest: "m.csv", quick: false }));
  assert.equal(new Set(cells.map(({ folder }) => folder)).size, cells.length);
  const seeds = cells.map(({ seed }) => seed);
  assert.deepEqual(seeds, seeds.toSorted((a, b) => a - b));
  assert.ok(seeds.includes(1));
});
