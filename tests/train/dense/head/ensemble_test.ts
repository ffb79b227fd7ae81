import assert from "node:assert/strict";
import {
  meanHead,
  memberSeed,
} from "../../../../lib/train/dense/head/ensemble.ts";
import {
  forward,
  headShape,
} from "../../../../lib/train/dense/head/head_arrays.ts";
import { normals } from "../../../finite_differences.ts";
import { toyHead } from "../toy_head.ts";

const COMPONENTS = 5, HIDDEN = 4, OUTPUTS = 2;

Deno.test("the logits of the mean head are the mean of those of all heads", () => {
  const inputs = normals(COMPONENTS * 7, 3);
  for (const count of [1, 2, 5]) {
    const heads = Array.from(
      { length: count },
      (_, i) => toyHead(COMPONENTS, HIDDEN, OUTPUTS, i + 1),
    );
    const mean = meanHead(heads);
    assert.deepEqual(headShape(mean), {
      components: COMPONENTS,
      hidden: count * HIDDEN,
      outputs: OUTPUTS,
    });
    const each = heads.map((head) =>
      forward(head, Float32Array.from(inputs)).logits
    );
    forward(mean, Float32Array.from(inputs)).logits.forEach((logit, i) => {
      const expected = each.reduce((sum, own) => sum + own[i]! / count, 0);
      assert.ok(Math.abs(logit - expected) < 1e-6, `${logit}, not ${expected}`);
    });
  }
});

Deno.test("the first head has the seed of the run, each other its own", () => {
  assert.equal(memberSeed(7, 0), 7);
  const seeds = [0, 1, 2, 3].map((member) => memberSeed(7, member));
  assert.equal(new Set([...seeds, memberSeed(8, 1)]).size, 5);
});
