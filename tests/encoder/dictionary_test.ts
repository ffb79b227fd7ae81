import assert from "node:assert/strict";
import {
  type Dictionary,
  dictionaryEncoder,
  type DictionaryScale,
  dictionaryTensors,
  PATCH_NOISE,
  type PlainTensor,
  SCALES,
} from "../../lib/encoder/dictionary.ts";
import { kMeans, learnDictionary } from "../../lib/encoder/learn_dictionary.ts";
import type { Pictures } from "../../lib/encoder/encoder.ts";
import { EncoderError } from "../../lib/errors.ts";
import type { Point } from "../../lib/image/geometry.ts";
import { inverseOf, turnedValues, TURNS } from "../../lib/encoder/turns.ts";
import { randomKey, RandomStream } from "../../kernels/random.ts";
import { maxError, testOnEngines, testOnWasm } from "../engines.ts";
import golden from "../../fixtures/encoder/dictionary.json" with {
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

// A pale patch is amplified up to 80 times, after sums of 192 products.
const TOLERANCE = 1e-4;
const DIRECTIONS = 12, CENTROIDS = 8;

testOnEngines("the dictionary equals what PyTorch computes", async () => {
  const encoder = dictionaryEncoder(byFormula(), { key: "golden" });
  const features = await encoder.features(goldenPicture(), [GOLDEN_PLACES]);
  const expected = golden.features.flat();
  assert.equal(features.length, expected.length);
  assert.ok(maxError(features, expected) < TOLERANCE);
});

testOnEngines("the dictionary equals plain loops on odd sizes", async () => {
  const sizes = [[2, 3, 1], [9, 23, 3], [31, 16, 8]] as const;
  for (const [width, height, turns] of sizes) {
    const dictionary = byFormula(turns);
    const picture = blobs({ width, height }, width);
    const places = [
      { x: width / 2, y: height / 2 },
      { x: 0, y: 0 },
      { x: width, y: height },
      { x: 3.4, y: 7.9 },
    ];
    for (const window of [12, 27]) {
      const actual = await dictionaryEncoder(dictionary, { key: "", window })
        .features(picture, [places]);
      const expected = places.flatMap((place) =>
        plainFeatures(picture, place, { dictionary, window })
      );
      assert.equal(actual.length, expected.length);
      assert.ok(maxError(actual, expected) < TOLERANCE, `${width} px`);
    }
  }
});

testOnEngines("codes of several pictures are those of each", async () => {
  const pictures = [1, 2, 3].map((seed) =>
    blobs({ width: 45, height: 38 }, seed)
  );
  const places = [[{ x: 4, y: 30 }], [], gridPlaces(pictures[2]!, 15)];
  const encoder = dictionaryEncoder(byFormula(), { key: "" });
  const all = await encoder.features(together(pictures), places);
  const each: number[] = [];
  for (const [i, picture] of pictures.entries()) {
    each.push(...await encoder.features(picture, [places[i]!]));
  }
  assert.equal(all.length, 7 * encoder.channels);
  assert.ok(maxError(all, each) < 1e-5);
});

testOnEngines("a block has the codes of the whole", async () => {
  const encoder = dictionaryEncoder(byFormula(), { key: "" });
  const { margin } = encoder;
  const whole = blobs({ width: 103, height: 90 }, 5);
  const corner = { x: 22, y: 12 };
  const block = cropped(whole, { ...corner, width: 60, height: 56 });
  const places = [
    { x: margin, y: margin },
    { x: 30.5, y: 28 },
    { x: 60 - margin, y: 56 - margin },
  ];
  const inWhole = places.map(({ x, y }) => ({
    x: x + corner.x,
    y: y + corner.y,
  }));
  assert.ok(
    maxError(
      await encoder.features(block, [places]),
      await encoder.features(whole, [inWhole]),
    ) < 1e-5,
  );
});

testOnEngines("a dictionary is learned alike each time", async () => {
  const pictures = [1, 2, 3].map((seed) =>
    blobs({ width: 40, height: 33 }, seed)
  );
  const learn = (seed: number) =>
    learnDictionary(pictures, { seed, images: 3, patches: 400 });
  const [first, second, other] = await Promise.all([1, 1, 2].map(learn));
  assert.deepEqual(first, second);
  assert.deepEqual(
    [...first!].map(([name, { shape }]) => ({ name, shape })),
    dictionaryTensors,
  );
  const values = (dictionary: Dictionary | undefined) =>
    dictionary!.get("fine/centroids")!.data;
  assert.ok(maxError(values(first), values(other)) > 0.01);
  // Both engines, by the sums that one of them gave.
  const sum = values(first).reduce((sum, x) => sum + Math.abs(x), 0);
  assert.ok(Math.abs(sum - LEARNED) < 1e-9 * LEARNED, `${sum}`);
  const encoder = dictionaryEncoder(first!, { key: "1" });
  const features = await encoder.features(pictures[0]!, [[{ x: 20, y: 16 }]]);
  assert.equal(features.length, 384);
  assert.ok(features.some((x) => x > 0.1));
});
const LEARNED = 15753.690945619552;

Deno.test("whitened patches have variance 1 where they vary", async () => {
  const pictures = [blobs({ width: 60, height: 60 }, 4)];
  const dictionary = await learnDictionary(pictures, {
    seed: 1,
    images: 1,
    patches: 1500,
  });
  const scale = scaleParts(dictionary, SCALES[0]!);
  // Of all turns, as the whitening is.
  const codes = Array.from({ length: TURNS }, (_, turn) => {
    const data = turned(pictures[0]!, turn);
    const map = [0, 1, 2].map((c) => channelOf({ ...pictures[0]!, data }, c));
    return Array.from(
      { length: 54 * 54 },
      (_, i) => whitened(map, { x: i % 54, y: Math.floor(i / 54) }, scale),
    );
  }).flat();
  const covariance = (i: number, j: number) =>
    codes.reduce((sum, x) => sum + x[i]! * x[j]!, 0) / codes.length;
  // The first directions hold more than the noise that is added.
  for (let i = 0; i < 4; i++) {
    assert.ok(covariance(i, i) > 0.8 && covariance(i, i) < 1.1);
    assert.ok(Math.abs(covariance(i, 40)) < 0.1);
  }
  const mean = codes.reduce((sum, x) => sum + x[0]!, 0) / codes.length;
  assert.ok(Math.abs(mean) < 0.1);
});

Deno.test("a turned patch has the code of the patch", async () => {
  const picture = blobs({ width: 48, height: 48 }, 7);
  const dictionary = await learnDictionary([picture], { seed: 1, images: 1 });
  for (const scale of SCALES) {
    const parts = scaleParts(dictionary, scale);
    const codeOf = (turn: number, corner: Point) => {
      const data = turned(picture, turn);
      const map = [0, 1, 2].map((c) => channelOf({ ...picture, data }, c));
      return triangle(whitened(map, corner, parts), parts.centroids);
    };
    const code = codeOf(0, { x: 9, y: 21 });
    const far = 48 - scale.patch;
    // Rotated once, and mirrored.
    const others = [
      codeOf(1, { x: 21, y: far - 9 }),
      codeOf(4, { x: far - 9, y: 21 }),
    ];
    const largest = Math.max(...code);
    for (const other of others) {
      assert.ok(maxError(other, code) < 0.03 * largest, scale.name);
    }
    const elsewhere = codeOf(1, { x: 9, y: 21 });
    assert.ok(maxError(elsewhere, code) > 0.3 * largest);
  }
});

function turned({ data, width }: Pictures, turn: number): Float32Array {
  return Float32Array.from(turnedValues(turn, width), (from) => data[from]!);
}

Deno.test("a turn and its inverse leave a picture as it is", () => {
  for (let turn = 0; turn < TURNS; turn++) {
    const there = turnedValues(turn, 5);
    const back = turnedValues(inverseOf(turn), 5);
    assert.deepEqual([...back.map((at) => there[at]!)], [...Array(75).keys()]);
  }
});

Deno.test("k-means finds clusters, more than there are as well", () => {
  const random = new RandomStream(randomKey(3));
  const centres = [[0, 0], [30, 0], [0, 30]];
  const rows = Float32Array.from(
    { length: 600 },
    (_, i) => centres[(i >> 1) % 3]![i % 2]! + random.normal(),
  );
  const far = (rows: Float32Array, count: number) => {
    const found = kMeans(rows, 2, { count, turns: [IDENTITY], random });
    let sum = 0;
    for (let i = 0; i < rows.length; i += 2) {
      let least = Infinity;
      for (let k = 0; k < found.length; k += 2) {
        const dx = found[k]! - rows[i]!, dy = found[k + 1]! - rows[i + 1]!;
        least = Math.min(least, Math.hypot(dx, dy));
      }
      sum += least;
    }
    return sum / (rows.length / 2);
  };
  // Three clusters of deviation 1, cut into twelve; one of three distinct rows.
  assert.ok(far(rows, 12) < 0.9);
  assert.equal(far(Float32Array.of(1, 2, 1, 2, 1, 2, 1, 2), 3), 0);
});

const IDENTITY = Float64Array.of(1, 0, 0, 1);

testOnWasm("a flat picture has no codes but finite ones", async () => {
  const encoder = dictionaryEncoder(byFormula(), { key: "" });
  const data = new Float32Array(24 * 24 * 3).fill(1);
  const features = await encoder.features(
    { data, count: 1, width: 24, height: 24 },
    [[{ x: 12, y: 12 }]],
  );
  assert.ok(features.every(Number.isFinite));
});

testOnWasm(
  "what is no dictionary or picture is refused in a line",
  async () => {
    const whole = byFormula();
    const refused = (change: (tensors: Map<string, PlainTensor>) => void) => {
      const tensors = new Map(whole);
      change(tensors);
      return () => dictionaryEncoder(tensors, { key: "" });
    };
    assert.throws(refused((tensors) => tensors.delete("fine/offset")), {
      name: "EncoderError",
      message:
        "Cannot use the dictionary because fine/offset is missing: learn it anew",
    });
    assert.throws(
      refused((tensors) =>
        tensors.set("coarse/projection", tensors.get("fine/projection")!)
      ),
      {
        name: "EncoderError",
        message:
          "Cannot use the dictionary because coarse/projection has the shape [6,6,3,12]: learn it anew",
      },
    );
    const encoder = dictionaryEncoder(whole, { key: "" });
    const picture = blobs({ width: 20, height: 20 }, 1);
    await assert.rejects(
      encoder.features({ ...picture, width: 1, height: 400 }, [[]]),
      EncoderError,
    );
    await assert.rejects(
      encoder.features(picture, [[{ x: 1, y: 1 }]], AbortSignal.abort()),
      { name: "AbortError" },
    );
    picture.data[100] = NaN;
    await assert.rejects(
      encoder.features(picture, [[{ x: 10, y: 1 }]]),
      EncoderError,
    );
  },
);

Deno.test("too little to learn from is refused in a line", async () => {
  const learn = (pictures: Pictures[], patches: number) =>
    learnDictionary(pictures, { seed: 0, images: 1, patches });
  await assert.rejects(learn([blobs({ width: 15, height: 40 }, 1)], 100), {
    name: "EncoderError",
    message:
      "Cannot learn a dictionary from 15x40 px: it needs at least 16 px a side",
  });
  await assert.rejects(learn([blobs({ width: 30, height: 40 }, 1)], 63), {
    name: "EncoderError",
    message:
      "Cannot learn a dictionary of 64 patches from 63: give more pictures",
  });
  await assert.rejects(learn([], 100), EncoderError);
});

/** The dictionary of fixtures/encoder/reference.py, which has one turn. */
function byFormula(turns = 1): Dictionary {
  const tensor = (shape: number[], value: (n: number) => number) => ({
    shape,
    data: Float32Array.from(
      { length: shape.reduce((a, b) => a * b) },
      (_, n) => value(n),
    ),
  });
  return new Map(SCALES.flatMap(({ name, patch }) => {
    const projection = tensor(
      [patch, patch, 3, DIRECTIONS],
      (n) => Math.sin(0.37 * n + 0.01 * (n % 97) ** 2) / patch,
    );
    withoutMeans(projection.data);
    return [
      [`${name}/projection`, projection],
      [`${name}/offset`, tensor([DIRECTIONS], (n) => Math.cos(1.3 * n) / 5)],
      [
        `${name}/centroids`,
        tensor(
          [turns, CENTROIDS, DIRECTIONS],
          (n) => Math.sin(0.9 * n + 0.003 * (n % 89) ** 2),
        ),
      ],
    ] as const;
  }));
}

/** A learned projection sees no mean; the reference subtracts it first. */
function withoutMeans(projection: Float32Array): void {
  const rows = projection.length / DIRECTIONS;
  for (let d = 0; d < DIRECTIONS; d++) {
    let sum = 0;
    for (let i = 0; i < rows; i++) sum += projection[i * DIRECTIONS + d]!;
    for (let i = 0; i < rows; i++) {
      projection[i * DIRECTIONS + d]! -= sum / rows;
    }
  }
}

/** One scale of a dictionary as plain arrays. */
interface PlainScale extends DictionaryScale {
  projection: PlainTensor;
  offset: PlainTensor;
  centroids: PlainTensor;
}

function scaleParts(
  dictionary: Dictionary,
  scale: DictionaryScale,
): PlainScale {
  const part = (name: string) => dictionary.get(`${scale.name}/${name}`)!;
  return {
    ...scale,
    projection: part("projection"),
    offset: part("offset"),
    centroids: part("centroids"),
  };
}

/** The features about one place, as the method states them. */
function plainFeatures(
  picture: Pictures,
  place: Point,
  { dictionary, window }: { dictionary: Dictionary; window: number },
): number[] {
  return SCALES.flatMap((scale) => {
    const channels = [0, 1, 2].map((c) => {
      const map = channelOf(picture, c);
      return scale.shrink === 2 ? plainHalf(map) : map;
    });
    const parts = scaleParts(dictionary, scale);
    const { width, height } = channels[0]!;
    const [columns, rows] = [width, height].map((extent) =>
      Math.ceil(extent / scale.stride)
    ) as [number, number];
    const codes = plainMap(columns, rows, (x, y) => y * columns + x).values
      .map((i) =>
        triangle(
          whitened(channels, {
            x: (i % columns) * scale.stride - scale.patch / 2,
            y: Math.floor(i / columns) * scale.stride - scale.patch / 2,
          }, parts),
          parts.centroids,
        )
      );
    const pools = Array.from(
      { length: parts.centroids.shape[1]! },
      (_, k) =>
        plainPool(
          {
            values: codes.map((code) => code[k]!),
            width: columns,
            height: rows,
          },
          place,
          { cell: 2, side: window },
        ),
    );
    return [...pools.map(({ mean }) => mean), ...pools.map(({ max }) => max)];
  });
}

/** The patch with this corner, normalised in contrast, whitened. */
function whitened(
  channels: readonly PlainMap[],
  corner: Point,
  { patch, projection, offset }: PlainScale,
): number[] {
  const values: number[] = [];
  for (let i = 0; i < patch * patch * 3; i++) {
    const pixel = Math.floor(i / 3);
    values.push(mirrored(
      channels[i % 3]!,
      corner.x + pixel % patch,
      corner.y + Math.floor(pixel / patch),
    ));
  }
  const mean = values.reduce((a, b) => a + b) / values.length;
  const variance = values.reduce((sum, x) => sum + (x - mean) ** 2, 0) /
    values.length;
  const count = offset.data.length;
  return Array.from(offset.data, (shift, d) =>
    values.reduce(
        (sum, x, i) => sum + (x - mean) * projection.data[i * count + d]!,
        0,
      ) / Math.sqrt(variance + PATCH_NOISE) - shift);
}

/** How much closer than average a patch is to each centroid, in its nearest turn. */
function triangle(patch: readonly number[], centroids: PlainTensor): number[] {
  const [turns, count, size] = centroids.shape as [number, number, number];
  const distances = Array.from(
    { length: count },
    (_, k) =>
      Math.min(
        ...Array.from({ length: turns }, (_, turn) =>
          Math.hypot(...patch.map((x, d) =>
            x - centroids.data[(turn * count + k) * size + d]!
          ))),
      ),
  );
  const mean = distances.reduce((a, b) => a + b) / count;
  return distances.map((distance) => Math.max(0, mean - distance));
}
