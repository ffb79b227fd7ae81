/** Places that look like an annotated object, in images that hold none. */
import assert from "node:assert/strict";
import { randomKey, RandomStream } from "../../../kernels/random.ts";
import type { ImageBag } from "../../../lib/train/dense/bags.ts";
import { fitLookalikes } from "../../../lib/train/dense/close_up/lookalikes.ts";

const SIDE = 6, CHANNELS = 5;

/** An image of 36 locations, of which some have a mark in their features. */
function bag(
  seed: number,
  marked: readonly number[],
  objects: readonly number[] | null,
): ImageBag {
  const random = new RandomStream(randomKey(seed));
  const locations = SIDE ** 2;
  const features = Float32Array.from(
    { length: locations * CHANNELS },
    (_, i) => {
      const isMark = i % CHANNELS === 2 &&
        marked.includes(Math.floor(i / CHANNELS));
      return random.normal() + (isMark ? 6 : 0);
    },
  );
  const at = (i: number) => ({ x: i % SIDE, y: Math.floor(i / SIDE) });
  return {
    entry: { image: `${seed}` } as ImageBag["entry"],
    image: {
      grid: {
        places: Array.from({ length: locations }, (_, i) => at(i)),
      } as ImageBag["image"]["grid"],
      indices: Uint32Array.from({ length: locations }, (_, i) => i),
      allowed: null,
      total: locations,
      places: 1,
      objects: null,
    },
    goal: [0],
    locations,
    total: locations,
    copies: [features],
    objects: objects &&
      Uint8Array.from(
        { length: locations },
        (_, i) => objects.includes(i) ? 1 : 0,
      ),
  };
}

Deno.test("the place that looks most like the annotated objects comes first", () => {
  const lookalikes = fitLookalikes([
    bag(1, [7, 20], [7, 20]),
    bag(2, [3], [3]),
    bag(3, [30, 31], null), // not annotated: not learned from
    bag(4, [11], []), // known to hold none, which is not learned from either
  ], 0);
  const [first, second] = lookalikes(bag(5, [8, 29], []));
  const found = [first!, second!].map(({ x, y }) => y * SIDE + x).sort();
  assert.deepEqual(found, [29, 8]);
  assert.equal(lookalikes(bag(6, [], null)).length, SIDE ** 2);
});
