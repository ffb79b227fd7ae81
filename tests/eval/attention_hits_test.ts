import assert from "node:assert/strict";
import { randomKey, RandomStream } from "../../kernels/random.ts";
import {
  attentionHits,
  summariseHits,
  unionArea,
} from "../../lib/eval/attention_hits.ts";
import { wilsonInterval } from "../../lib/eval/proportion.ts";
import {
  centredRegion,
  holdsPoint,
  type Region,
  regionMiddle,
  type Size,
} from "../../lib/image/geometry.ts";

Deno.test("hits by hand: one of two sub-tiles, with most of the weight", () => {
  const hits = attentionHits({
    image: { width: 100, height: 50 },
    subTileSize: { width: 10, height: 10 },
    subTiles: [
      { x: 20, y: 20, width: 10, height: 10, weight: .75 },
      { x: 60, y: 20, width: 10, height: 10, weight: .25 },
    ],
    objects: [{ x: 25, y: 25, width: 0, height: 0 }],
  });
  assert.deepEqual(hits, { drawn: .5, mass: .75, top: 1, chance: 100 / 5000 });
});

Deno.test("a point on the first pixel of a sub-tile hits, past the last does not", () => {
  const hit = (x: number) =>
    attentionHits({
      image: { width: 100, height: 100 },
      subTileSize: { width: 10, height: 10 },
      subTiles: [{ x: 20, y: 20, width: 10, height: 10, weight: 1 }],
      objects: [{ x, y: 25, width: 0, height: 0 }],
    })!.drawn;
  assert.deepEqual([19, 20, 29, 30].map(hit), [0, 1, 1, 0]);
});

Deno.test("top is of the sub-tile of the greatest weight alone", () => {
  const top = (...weights: number[]) =>
    attentionHits({
      image: { width: 100, height: 100 },
      subTileSize: { width: 10, height: 10 },
      subTiles: weights.map((weight, i) => ({
        x: 20 * i,
        y: 20,
        width: 10,
        height: 10,
        weight,
      })),
      objects: [{ x: 25, y: 25, width: 0, height: 0 }], // on the second
    })!.top;
  assert.equal(top(.3, .5, .2), 1);
  assert.equal(top(.3, .2, .5), 0);
});

Deno.test("a box is hit by its middle, not by its corner", () => {
  const observed = {
    image: { width: 100, height: 100 },
    subTileSize: { width: 10, height: 10 },
    objects: [{ x: 25, y: 25, width: 20, height: 20 }], // middle (35, 35)
  };
  const at = (x: number, y: number) =>
    attentionHits({
      ...observed,
      subTiles: [{ x, y, width: 10, height: 10, weight: 1 }],
    })!.mass;
  assert.equal(at(20, 20), 0);
  assert.equal(at(30, 30), 1);
});

Deno.test("chance is the share of all centres that hit, counted one by one", () => {
  const random = new RandomStream(randomKey(1));
  for (let round = 0; round < 20; round++) {
    const image = {
      width: 20 + random.below(20),
      height: 15 + random.below(9),
    };
    const subTileSize = {
      width: 1 + random.below(9),
      height: 1 + random.below(9),
    };
    const objects = randomRegions(1 + random.below(6), image, random);
    const { chance } = attentionHits({
      image,
      subTileSize,
      subTiles: [{ x: 0, y: 0, ...subTileSize, weight: 1 }],
      objects,
    })!;
    const counted = countHittingCentres(image, subTileSize, objects);
    assert.equal(chance, counted / (image.width * image.height));
  }
});

Deno.test("unionArea equals a raster count on random regions", () => {
  const random = new RandomStream(randomKey(2));
  const size = { width: 40, height: 30 };
  for (let round = 0; round < 50; round++) {
    const regions = randomRegions(random.below(12), size, random);
    let covered = 0;
    for (const point of pixelsOf({ width: 60, height: 60 })) {
      if (regions.some((region) => holdsPoint(region, point))) covered++;
    }
    assert.equal(unionArea(regions), covered);
  }
});

Deno.test("unionArea of an image of 200,000 px a side needs no raster", () => {
  const regions = Array.from({ length: 5000 }, (_, i) => ({
    x: (i * 7919) % 200_000,
    y: (i * 104_729) % 200_000,
    width: 27,
    height: 27,
  }));
  assert.ok(unionArea(regions) <= 5000 * 27 * 27);
  assert.ok(unionArea(regions) > 4900 * 27 * 27);
  assert.equal(unionArea([...regions, ...regions]), unionArea(regions));
});

Deno.test("an image without objects has no shares", () => {
  const observed = {
    image: { width: 9, height: 9 },
    subTileSize: { width: 3, height: 3 },
    subTiles: [{ x: 0, y: 0, width: 3, height: 3, weight: 1 }],
    objects: [],
  };
  assert.equal(attentionHits(observed), null);
  assert.throws(
    () => attentionHits({ ...observed, subTiles: [] }),
    /the 0 sub-tiles add to 0; they must add to 1$/,
  );
});

Deno.test("blind sampling hits as often as chance says", () => {
  const random = new RandomStream(randomKey(3));
  const image = { width: 300, height: 200 };
  const subTileSize = { width: 21, height: 16 };
  const objects = randomRegions(8, image, random);
  const count = 20_000;
  const { drawn, chance } = attentionHits({
    image,
    subTileSize,
    subTiles: Array.from({ length: count }, () => {
      const x = random.below(image.width), y = random.below(image.height);
      return { ...centredRegion({ x, y }, subTileSize), weight: 1 / count };
    }),
    objects,
  })!;
  const error = Math.sqrt(chance * (1 - chance) / count);
  assert.ok(Math.abs(drawn - chance) < 4 * error, `${drawn} ${chance}`);
});

Deno.test("a summary is the means, and the ratio of the means to chance", () => {
  const summary = summariseHits([
    { drawn: .2, mass: .4, top: 0, chance: .1 },
    { drawn: .6, mass: .8, top: 1, chance: .3 },
  ], { seed: 1 })!;
  assert.equal(summary.images, 2);
  assert.ok(Math.abs(summary.drawn.value! - .4) < 1e-12);
  assert.equal(summary.top.value, .5);
  assert.ok(Math.abs(summary.drawnToChance.value! - 2) < 1e-12);
  assert.ok(Math.abs(summary.massToChance.value! - 3) < 1e-12);
  // Resamples are (1, 1), (1, 2), (2, 2): the ratio is 4, 3 or 8 / 3.
  const { low, high } = summary.massToChance.interval!;
  assert.ok(Math.abs(low - 8 / 3) < 1e-12 && Math.abs(high - 4) < 1e-12);
  assert.equal(summariseHits([], { seed: 1 }), null);
});

Deno.test("a ratio to a chance of nothing is undefined", () => {
  const outside = { drawn: 0, mass: 0, top: 0, chance: 0 };
  const { drawnToChance } = summariseHits([outside], {
    seed: 1,
    resamples: 10,
  })!;
  assert.deepEqual(drawnToChance, {
    value: null,
    interval: null,
    undefinedResamples: 10,
  });
});

function countHittingCentres(
  image: Size,
  subTileSize: Size,
  objects: Region[],
): number {
  let count = 0;
  for (const centre of pixelsOf(image)) {
    const subTile = centredRegion(centre, subTileSize);
    if (objects.some((o) => holdsPoint(subTile, regionMiddle(o)))) count++;
  }
  return count;
}

function* pixelsOf({ width, height }: Size) {
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) yield { x, y };
  }
}

/** Regions of 0 to 9 px that begin inside `size`. */
function randomRegions(
  count: number,
  { width, height }: Size,
  random: RandomStream,
): Region[] {
  return Array.from({ length: count }, () => ({
    x: random.below(width),
    y: random.below(height),
    width: random.below(10),
    height: random.below(10),
  }));
}

Deno.test("images that all hit, or none, are no certainty", () => {
  const every = (drawn: number) =>
    Array.from({ length: 10 }, () => ({
      drawn,
      mass: drawn,
      top: drawn,
      chance: 0.25,
    }));
  for (const hits of [0, 1]) {
    const { drawn, mass, chance, drawnToChance } = summariseHits(every(hits), {
      seed: 1,
    })!;
    const wilson = wilsonInterval({ successes: 10 * hits, trials: 10 });
    assert.deepEqual([drawn.interval, mass.interval], [wilson, wilson]);
    assert.equal(drawnToChance.interval, null);
    assert.deepEqual(chance.interval, { low: 0.25, high: 0.25 });
  }
  // Two patients of five images are two.
  const groups = Array.from({ length: 10 }, (_, i) => i % 2);
  const { drawn } = summariseHits(every(1), { seed: 1, groups })!;
  assert.deepEqual(drawn.interval, wilsonInterval({ successes: 2, trials: 2 }));
});
