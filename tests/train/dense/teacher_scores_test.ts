import assert from "node:assert/strict";
import type { ImageBag } from "../../../lib/train/dense/bags.ts";
import {
  teacherFigures,
  teacherSays,
  teacherShares,
} from "../../../lib/train/dense/teacher_scores.ts";
import { toyBag, toyHead, toyTarget } from "./toy_head.ts";

/** A teacher of classes, of which `reference` is background. */
function taskOf(count: number, reference: number | null) {
  return {
    target: toyTarget(count, reference),
    classes: Array.from({ length: count }, (_, i) => `class ${i}`),
    evidence: { sharpness: 2, objects: null },
  };
}

/** A bag of three of the four locations of an image. */
function bag(classIndex: number, seed: number): ImageBag {
  const indices = Uint32Array.of(0, 2, 3);
  return {
    ...toyBag({ classIndex, locations: 3, components: 5 }, seed),
    entry: { classIndex } as ImageBag["entry"],
    image: {
      grid: {
        tiles: { rows: 1, columns: 2 },
        cells: { rows: 1, columns: 2 },
        regions: [],
        places: [],
      },
      indices,
      allowed: Uint8Array.of(1, 0, 1, 1),
      total: 3,
      places: 1,
      objects: null,
    },
  };
}

Deno.test("shares are those of the image's class, and of all for background", () => {
  const head = toyHead(5, 4, 2);
  const task = taskOf(3, 0);
  const [background, first, second] = [0, 1, 2].map((classIndex) =>
    teacherShares(head, bag(classIndex, 1), task)
  );
  for (const shares of [background!, first!, second!]) {
    assert.equal(shares.length, 4);
    assert.equal(shares[1], 0, "a location that does not count");
    assert.ok(Math.abs(shares.reduce((a, b) => a + b) - 1) < 1e-12);
  }
  assert.notDeepEqual(first, second);
  background!.forEach((share, i) =>
    assert.ok(Math.abs(share - (first![i]! + second![i]!) / 2) < 1e-12)
  );
});

Deno.test("the share of a location is that of all its places", () => {
  const head = toyHead(5, 4, 1);
  const task = taskOf(2, 0);
  const own = bag(1, 1);
  const byPlace = teacherShares(head, own, task);
  const indices = Uint32Array.of(3);
  const one = { ...own, image: { ...own.image, indices, places: 3 } };
  const byLocation = teacherShares(head, one, task);
  const sum = byPlace.reduce((a, b) => a + b);
  assert.ok(Math.abs(byLocation[3]! - sum) < 1e-12);
});

Deno.test("scoring leaves the features of a bag as they are", () => {
  const own = bag(1, 2), before = Float32Array.from(own.copies[0]!);
  const task = taskOf(2, null);
  const { classification } = teacherSays(toyHead(5, 4, 2), own, task);
  const p = Object.values(classification.probabilities);
  assert.ok(Math.abs(p[0]! + p[1]! - 1) < 1e-12);
  assert.deepEqual(own.copies[0], before);
});

Deno.test("figures have the name of their images, and are none of no image", () => {
  const task = { ...taskOf(2, 0), name: "test" };
  const head = toyHead(5, 4, 1);
  assert.deepEqual(teacherFigures(head, [], task), {});
  const figures = teacherFigures(head, [bag(0, 1), bag(1, 2)], task);
  assert.deepEqual(Object.keys(figures), [
    "testLoss",
    "testAccuracy",
    "testAuc",
  ]);
});
