import assert from "node:assert/strict";
import type { Pictures } from "../../lib/encoder/encoder.ts";
import {
  type Colours,
  scatteringEncoder,
} from "../../lib/encoder/scattering.ts";
import { EncoderError } from "../../lib/errors.ts";
import type { Point } from "../../lib/image/geometry.ts";
import { maxError, testOnEngines, testOnWasm } from "../engines.ts";
import golden from "../../fixtures/encoder/scattering.json" with {
  type: "json",
};
import {
  blobs,
  cropped,
  GOLDEN_PLACES,
  goldenPicture,
  gridPlaces,
  together,
} from "./pictures.ts";
import {
  channelOf,
  mirrored,
  plainHalf,
  type PlainMap,
  plainMap,
  plainPool,
} from "./plain.ts";

// Square roots of sums of 81 products in float32: of 1e-8, 1e-4.
const TOLERANCE = 2e-4;
const COLOURS: readonly Colours[] = ["stains", "opponent"];

for (const colours of COLOURS) {
  testOnEngines(
    `scattering of ${colours} equals what PyTorch computes`,
    async () => {
      const features = await scatteringEncoder({ colours })
        .features(goldenPicture(), [GOLDEN_PLACES]);
      const expected = golden[colours].flat();
      assert.equal(features.length, expected.length);
      assert.ok(maxError(features, expected) < TOLERANCE);
    },
  );
}

testOnEngines("scattering equals plain loops on odd sizes", async () => {
  for (const [width, height] of [[8, 8], [9, 23], [31, 17]] as const) {
    const picture = blobs({ width, height }, width);
    // The middle, the corners, and between px.
    const places = [
      { x: width / 2, y: height / 2 },
      { x: 0, y: 0 },
      { x: width, y: height },
      { x: 3.4, y: 7.9 },
    ];
    for (const colours of COLOURS) {
      const encoder = scatteringEncoder({ colours });
      const actual = await encoder.features(picture, [places]);
      const expected = places.flatMap((place) =>
        plainScattering(picture, place, colours)
      );
      assert.equal(actual.length, expected.length);
      assert.ok(maxError(actual, expected) < TOLERANCE, `${width} px`);
    }
  }
});

testOnEngines("features of several pictures are those of each", async () => {
  const pictures = [1, 2, 3].map((seed) =>
    blobs({ width: 45, height: 38 }, seed)
  );
  const places = [[{ x: 4, y: 30 }], [], gridPlaces(pictures[2]!, 15)];
  const encoder = scatteringEncoder({ colours: "stains" });
  const all = await encoder.features(together(pictures), places);
  const each: number[] = [];
  for (const [i, picture] of pictures.entries()) {
    each.push(...await encoder.features(picture, [places[i]!]));
  }
  assert.equal(all.length, 7 * encoder.channels);
  assert.ok(maxError(all, each) < 1e-6);
});

testOnEngines("a block has the features of the whole", async () => {
  const encoder = scatteringEncoder({ colours: "stains" });
  const whole = blobs({ width: 203, height: 190 }, 5);
  const corner = { x: 40, y: 32 };
  const block = cropped(whole, { ...corner, width: 130, height: 126 });
  const places = [
    { x: encoder.margin, y: encoder.margin },
    { x: 65.5, y: 60 },
    { x: 130 - encoder.margin, y: 126 - encoder.margin },
  ];
  const inWhole = places.map(({ x, y }) => ({
    x: x + corner.x,
    y: y + corner.y,
  }));
  const expected = await encoder.features(whole, [inWhole]);
  assert.ok(
    maxError(await encoder.features(block, [places]), expected) < TOLERANCE,
  );
});

testOnEngines("scattering is the same each time", async () => {
  const encoder = scatteringEncoder({ colours: "opponent" });
  const picture = blobs({ width: 64, height: 50 }, 6);
  const places = [gridPlaces(picture, 20)];
  assert.deepEqual(
    await encoder.features(picture, places),
    await encoder.features(picture, places),
  );
});

testOnWasm("many px are filtered in several goes", async () => {
  const encoder = scatteringEncoder({ colours: "stains" });
  // Over 512 x 512 px: two groups, and one plane at a time.
  const pictures = [8, 9].map((seed) =>
    blobs({ width: 640, height: 420 }, seed)
  );
  const places = [{ x: 320, y: 200 }];
  const all = await encoder.features(together(pictures), [places, places]);
  const second = await encoder.features(pictures[1]!, [places]);
  assert.ok(maxError(all.subarray(encoder.channels), second) < 1e-6);
});

testOnWasm("a flat picture and a black one have finite features", async () => {
  const encoder = scatteringEncoder({ colours: "stains" });
  for (const value of [0, 1]) {
    const data = new Float32Array(24 * 24 * 3).fill(value);
    const picture = { data, count: 1, width: 24, height: 24 };
    const features = await encoder.features(picture, [[{ x: 12, y: 12 }]]);
    // Means of the channels apart, a filter sees nothing.
    assert.ok(features.subarray(2).every((x) => x < 1e-2));
  }
});

testOnWasm("what cannot be described is refused in a line", async () => {
  const encoder = scatteringEncoder({ colours: "stains" });
  const picture = blobs({ width: 40, height: 40 }, 1);
  const place = [[{ x: 20, y: 20 }]];
  await assert.rejects(
    encoder.features({ ...picture, width: 5, height: 320 }, place),
    (error: Error) =>
      error instanceof EncoderError &&
      error.message ===
        "Cannot use 5x320 px as a picture for scattering: it needs at least 8 px a side",
  );
  picture.data[60] = NaN;
  await assert.rejects(encoder.features(picture, place), EncoderError);
  await assert.rejects(
    encoder.features(picture, place, AbortSignal.abort()),
    { name: "AbortError" },
  );
});

/** The features about one place of one picture, as the method states them. */
function plainScattering(
  picture: Pictures,
  place: Point,
  colours: Colours,
): number[] {
  let planes = plainColours(picture, colours);
  const pools = (maps: PlainMap[], cell: number) =>
    maps.map((map) => plainPool(map, place, { cell, side: 27 }));
  const means = (maps: PlainMap[], cell: number) =>
    pools(maps, cell).map(({ mean }) => mean);
  const features = means(planes, 1);
  for (const cell of [1, 2, 4, 8]) {
    if (cell > 1) planes = planes.map(plainHalf);
    const maps = planes.flatMap((plane) => plainModuli(plane, 8));
    features.push(
      ...means(cell < 8 ? maps : maps.map(twice), Math.min(cell, 4)),
    );
    if (cell < 8) features.push(...pools(maps, cell).map(({ max }) => max));
    if (cell > 2) continue;
    const again = maps.slice(0, 8).map(plainHalf)
      .flatMap((map) => plainModuli(map, 4));
    features.push(...means(again, 2 * cell));
  }
  return features.map((x) => Math.sign(x) * Math.sqrt(Math.abs(x)));
}

function plainColours(picture: Pictures, colours: Colours): PlainMap[] {
  const [r, g, b] = [0, 1, 2].map((c) => channelOf(picture, c)) as [
    PlainMap,
    PlainMap,
    PlainMap,
  ];
  const mixed = (
    mix: (r: number, g: number, b: number) => number,
  ): PlainMap => ({
    ...r,
    values: r.values.map((red, i) => mix(red, g.values[i]!, b.values[i]!)),
  });
  if (colours === "opponent") {
    return [
      mixed((r, g, b) => (r + g + b) / Math.sqrt(3)),
      mixed((r, g) => (r - g) / Math.sqrt(2)),
      mixed((r, g, b) => (r + g - 2 * b) / Math.sqrt(6)),
    ];
  }
  const density = (value: number) => -Math.log((value * 255 + 1) / 256);
  // Columns of the inverse of Ruifrok's matrix.
  return [
    [1.87798274, -0.06590806, -0.60190736],
    [-1.00767869, 1.13473037, -0.48041419],
  ].map(([red, green, blue]) =>
    mixed((r, g, b) =>
      red! * density(r) + green! * density(g) + blue! * density(b)
    )
  );
}

function twice(map: PlainMap): PlainMap {
  return plainMap(
    2 * map.width,
    2 * map.height,
    (x, y) => map.values[(y >> 1) * map.width + (x >> 1)]!,
  );
}

function plainModuli(map: PlainMap, angles: number): PlainMap[] {
  return Array.from({ length: angles }, (_, k) => {
    const filter = plainFilter(Math.PI * k / angles);
    return plainMap(map.width, map.height, (x, y) => {
      let re = 0, im = 0;
      for (let at = 0; at < 81; at++) {
        const value = mirrored(map, x + at % 9 - 4, y + Math.floor(at / 9) - 4);
        re += filter.re[at]! * value;
        im += filter.im[at]! * value;
      }
      return Math.hypot(re, im);
    });
  });
}

function plainFilter(angle: number): { re: number[]; im: number[] } {
  const taps = Array.from({ length: 81 }, (_, at) => {
    const x = at % 9 - 4, y = Math.floor(at / 9) - 4;
    const u = x * Math.cos(angle) + y * Math.sin(angle);
    const w = y * Math.cos(angle) - x * Math.sin(angle);
    return { u, e: Math.exp(-(u ** 2 + (0.6 * w) ** 2) / 8) };
  });
  const total = taps.reduce((sum, { e }) => sum + e, 0);
  const mean = taps.reduce((sum, { u, e }) => sum + e * Math.cos(1.1 * u), 0) /
    total;
  return {
    re: taps.map(({ u, e }) => e * (Math.cos(1.1 * u) - mean) / total),
    im: taps.map(({ u, e }) => e * Math.sin(1.1 * u) / total),
  };
}
