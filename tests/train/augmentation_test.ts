import assert from "node:assert/strict";
import { randomKey } from "../../kernels/random.ts";
import { augmentation } from "../../lib/train/augmentation.ts";
import { chiSquare, chiSquareBound } from "../kernels/statistics.ts";

/** Augmentations of many images. */
function many(settings: Parameters<typeof augmentation>[0], count = 4000) {
  return Array.from(
    { length: count },
    (_, i) => augmentation(settings, randomKey(1, i)),
  );
}

Deno.test("without augmentation an image stays as it is", () => {
  for (
    const { orientation, gain, densities } of many(
      {
        flips: false,
        turns: false,
        brightness: 0,
        stains: 0,
        placement: false,
      },
      100,
    )
  ) {
    assert.equal(orientation, 1);
    assert.equal(gain, 1);
    assert.equal(densities, null);
  }
});

Deno.test("flips and turns are as likely as each other", () => {
  // EXIF: 1 as it is, 2 mirrored, 3 by 180 degrees, 4 upside down, 6 and 8 turns
  const cases = [
    [{ flips: true, turns: false }, [1, 2, 3, 4]],
    [{ flips: false, turns: true }, [1, 3, 6, 8]],
    [{ flips: true, turns: true }, [1, 2, 3, 4, 5, 6, 7, 8]],
  ] as const;
  for (const [settings, expected] of cases) {
    const drawn = many({
      ...settings,
      brightness: 0.1,
      stains: 0,
      placement: false,
    });
    const counts = expected.map((orientation) =>
      drawn.filter((item) => item.orientation === orientation).length
    );
    assert.equal(counts.reduce((a, b) => a + b), drawn.length);
    const share = expected.map(() => 1 / expected.length);
    assert.ok(chiSquare(counts, share) < chiSquareBound(expected.length));
  }
});

Deno.test("brightness changes by its share at most, evenly", () => {
  const gains = many({
    flips: false,
    turns: false,
    brightness: 0.2,
    stains: 0,
    placement: false,
  })
    .map(({ gain }) => gain);
  assert.ok(gains.every((gain) => gain > 0.8 && gain < 1.2));
  const bins = new Array<number>(8).fill(0);
  for (const gain of gains) bins[Math.floor((gain - 0.8) / 0.05)]!++;
  assert.ok(chiSquare(bins, bins.map(() => 1 / 8)) < chiSquareBound(8));
});

Deno.test("stains change only where they are asked to", () => {
  const settings = { flips: true, turns: true, brightness: 0.1 };
  const plain = many({ ...settings, stains: 0, placement: false }, 100);
  const stained = many({ ...settings, stains: 0.2, placement: false }, 100);
  assert.ok(plain.every(({ densities }) => densities === null));
  // Nothing else changes with them: the draws before are the same.
  stained.forEach(({ orientation, gain, densities }, i) => {
    assert.deepEqual(
      { orientation, gain, densities: null, placement: null },
      plain[i],
    );
    // Its trace is the sum of the strengths: two within 20 %, and 1.
    const trace = densities![0]! + densities![4]! + densities![8]!;
    assert.ok(trace > 2.6 && trace < 3.4);
  });
});

Deno.test("both stains change, each by itself", () => {
  const eosin = [0.072, 0.99, 0.105], haematoxylin = [0.65, 0.704, 0.286];
  const settings = { flips: false, turns: false, brightness: 0 };
  const strengths = many({ ...settings, stains: 0.2, placement: false }, 500)
    .map(({ densities }) =>
      [haematoxylin, eosin].map((stain) => {
        const red = stain.reduce(
          (sum, d, i) => sum + d * densities![3 * i]!,
          0,
        );
        return red / stain[0]!;
      })
    );
  for (const stain of [0, 1]) {
    const own = strengths.map((both) => both[stain]!);
    assert.ok(Math.min(...own) > 0.8 && Math.min(...own) < 0.81);
    assert.ok(Math.max(...own) < 1.2 && Math.max(...own) > 1.19);
  }
  const differences = strengths.map(([h, e]) => Math.abs(h! - e!));
  assert.ok(Math.max(...differences) > 0.35, "they are apart");
});

Deno.test("a grid is placed evenly, and nothing else changes with it", () => {
  const settings = { flips: true, turns: true, brightness: 0.1, stains: 0.2 };
  const still = many({ ...settings, placement: false });
  const placed = many({ ...settings, placement: true });
  const bins = new Array<number>(8).fill(0);
  placed.forEach(({ placement, ...rest }, i) => {
    assert.deepEqual({ ...rest, placement: null }, still[i]);
    bins[Math.floor(placement!.x * 8)]!++;
  });
  assert.ok(chiSquare(bins, bins.map(() => 1 / 8)) < chiSquareBound(8));
});

Deno.test("an augmentation follows from its key", () => {
  const settings = {
    flips: true,
    turns: true,
    brightness: 0.1,
    stains: 0,
    placement: false,
  };
  const first = augmentation(settings, randomKey(3, 4));
  assert.deepEqual(augmentation(settings, randomKey(3, 4)), first);
  assert.notDeepEqual(augmentation(settings, randomKey(3, 5)), first);
});
