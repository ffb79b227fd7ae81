import assert from "node:assert/strict";
import {
  type BagLoss,
  bagLosses,
  evidenceOf,
  evidenceShares,
  imageLogits,
  type LabelledBag,
  objectLoss,
} from "../../../../lib/train/dense/head/bag_loss.ts";
import { normals, relativeError } from "../../../finite_differences.ts";
import { toyTarget } from "../toy_head.ts";

const MEAN = { sharpness: 2, objects: null };

/** The loss of one bag. */
function lossOf(
  bag: LabelledBag,
  target: ReturnType<typeof toyTarget>,
): BagLoss {
  return bagLosses([bag], target)[0]!;
}

Deno.test("evidenceOf is the log-mean-exp, class by class", () => {
  const logits = Float64Array.of(1, -2, 0, 5, -1, 3);
  const expected = [[1, 0, -1], [-2, 5, 3]].map((z) =>
    Math.log(z.reduce((sum, z) => sum + Math.exp(2 * z), 0) / 3) / 2
  );
  const found = evidenceOf(logits, 2, { ...MEAN, locations: 3, total: 3 });
  assert.ok(relativeError(found, expected) < 1e-12);
});

Deno.test("evidenceOf of a part of the locations stands for all of them", () => {
  const z = Float64Array.of(1, 3);
  const all = Float64Array.of(1, 3, 1, 3, 1, 3);
  for (const objects of [null, 2]) {
    const settings = { sharpness: 1.5, objects };
    assert.ok(
      relativeError(
        evidenceOf(z, 1, { ...settings, locations: 6, total: 6 }),
        evidenceOf(all, 1, { ...settings, locations: 6, total: 6 }),
      ) < 1e-12,
    );
  }
});

Deno.test("evidenceOf divides by the locations that objects fill", () => {
  const z = Float64Array.of(0, 0, 0, 0);
  const [e] = evidenceOf(z, 1, {
    sharpness: 1,
    objects: 2,
    locations: 4,
    total: 4,
  });
  assert.ok(Math.abs(e! - Math.log(2)) < 1e-12);
});

Deno.test("evidence and its shares survive large logits", () => {
  const z = Float64Array.of(-800, 800, 799);
  assert.ok(
    Number.isFinite(evidenceOf(z, 1, { ...MEAN, locations: 3, total: 3 })[0]!),
  );
  const shares = evidenceShares(z, 1, { sharpness: 2, output: 0 });
  assert.ok(Math.abs(shares.reduce((a, b) => a + b) - 1) < 1e-12);
});

Deno.test("the background has a logit of 0 and no evidence", () => {
  const e = Float64Array.of(5, 7);
  const target = toyTarget(3, 1), all = toyTarget(2, null);
  assert.deepEqual([...imageLogits(e, target)], [5, 0, 7]);
  assert.deepEqual([...imageLogits(e, all)], [5, 7]);
  assert.deepEqual([0, 1, 2].map((c) => target.shown([c])), [[0], [], [1]]);
  assert.deepEqual([0, 1].map((c) => all.shown([c])), [[0], [1]]);
});

Deno.test("with one class beside the background the loss is the binary one", () => {
  const z = Float64Array.of(0.3, -1, 2);
  const [e] = evidenceOf(z, 1, { ...MEAN, locations: 3, total: 3 });
  const p = 1 / (1 + Math.exp(-e!));
  for (const [classIndex, t] of [[0, 0.05], [1, 0.95]] as const) {
    const { loss, right } = lossOf(
      {
        logits: z,
        bagging: { ...MEAN, locations: 3, total: 3 },
        goal: [classIndex],
        weight: 1,
      },
      toyTarget(2, 0),
    );
    const expected = -t * Math.log(p) - (1 - t) * Math.log(1 - p);
    assert.ok(Math.abs(loss - expected) < 1e-12);
    assert.equal(right === 1, (classIndex === 1) === (e! > 0));
  }
});

for (const reference of [null, 1]) {
  Deno.test(`a bag has the gradient of its differences, background ${reference}`, () => {
    const outputs = reference === null ? 3 : 2;
    const z = Float64Array.from(normals(5 * outputs, 3));
    const bag = {
      bagging: { sharpness: 1.5, objects: 2, locations: 9, total: 9 },
      goal: [2],
      weight: 0.7,
    };
    const target = toyTarget(3, reference);
    const { gradient } = lossOf({ ...bag, logits: z }, target);
    const expected = Array.from(z, (_, i) => {
      const at = (by: number) =>
        lossOf({
          ...bag,
          logits: z.map((x, j) => x + (i === j ? by : 0)),
        }, target).loss;
      return (at(1e-5) - at(-1e-5)) / 2e-5;
    });
    assert.ok(relativeError(gradient, expected) < 1e-7);
  });
}

Deno.test("objectLoss weighs objects and all else the same", () => {
  const { loss, gradients } = objectLoss([
    {
      logits: Float64Array.of(0, 0, 0),
      objects: Uint8Array.of(1, 0, 0),
      output: 0,
    },
    { logits: Float64Array.of(0), objects: Uint8Array.of(0), output: null },
  ], 1);
  assert.ok(Math.abs(loss - 2 * Math.log(2)) < 1e-12);
  assert.ok(Math.abs(gradients[0]![0]! + 0.5) < 1e-12);
  assert.ok(Math.abs(gradients[0]![1]! - 1 / 6) < 1e-12);
  assert.ok(Math.abs(gradients[1]![0]! - 1 / 6) < 1e-12);
});

Deno.test("on an object the other classes are absent", () => {
  const { loss } = objectLoss([
    { logits: Float64Array.of(9, 2), objects: Uint8Array.of(1), output: 0 },
  ], 2);
  const expected = Math.log1p(Math.exp(-9)) + Math.log1p(Math.exp(2));
  assert.ok(Math.abs(loss - expected) < 1e-12);
});

Deno.test("objectLoss has the gradient of its differences", () => {
  const known = [1, 2].map((seed) => ({
    logits: Float64Array.from(normals(8, seed)),
    objects: Uint8Array.of(1, 0, 0, 1),
    output: seed - 1,
  }));
  const { gradients } = objectLoss(known, 2);
  known.forEach(({ logits }, image) => {
    const expected = Array.from(logits, (_, i) => {
      const at = (by: number) =>
        objectLoss(
          known.map((own, n) => ({
            ...own,
            logits: own.logits.map((x, j) =>
              x + (n === image && i === j ? by : 0)
            ),
          })),
          2,
        ).loss;
      return (at(1e-5) - at(-1e-5)) / 2e-5;
    });
    assert.ok(relativeError(gradients[image]!, expected) < 1e-7);
  });
});

Deno.test("objectLoss without an object is that of all else", () => {
  const { loss } = objectLoss([
    {
      logits: Float64Array.of(0, 0),
      objects: Uint8Array.of(0, 0),
      output: null,
    },
  ], 1);
  assert.ok(Math.abs(loss - Math.log(2)) < 1e-12);
});
