import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import {
  type DownsampleOptions,
  downsampleReference,
} from "../../../kernels/resample/area_means.ts";
import { downsample } from "../../../kernels/resample/downsample.ts";
import {
  gatherPatchesReference,
  packPixels,
  type RgbaRegion,
} from "../../../kernels/resample/gather_patches.ts";
import { randomKey, RandomStream } from "../../../kernels/random.ts";
import { maxError, testOnEngines } from "../../engines.ts";

function randomPixels(width: number, height: number): RgbaRegion {
  const stream = new RandomStream(randomKey(width, height));
  const data = new Uint8Array(width * height * 4);
  return { data: data.map(() => stream.below(256)), width, height };
}

async function shrink(pixels: RgbaRegion, options: DownsampleOptions) {
  const views = tf.tidy(() => downsample(packPixels(pixels), options));
  const values = await views.data() as Float32Array;
  views.dispose();
  return values;
}

/** The definition: every source pixel, by the area it shares. */
function definition(
  { data, width, height }: RgbaRegion,
  { origins, size, output }: DownsampleOptions,
): number[] {
  const share = (at: number, to: number, ratio: number) =>
    Math.max(0, Math.min(at + 1, (to + 1) * ratio) - Math.max(at, to * ratio));
  const ratio = {
    x: size.width / output.width,
    y: size.height / output.height,
  };
  const values: number[] = [];
  for (let n = 0; n < origins.length; n += 2) {
    for (let i = 0; i < output.height; i++) {
      for (let j = 0; j < output.width; j++) {
        for (let channel = 0; channel < 3; channel++) {
          let sum = 0;
          for (let y = 0; y < size.height; y++) {
            for (let x = 0; x < size.width; x++) {
              const column = origins[n]! + x, row = origins[n + 1]! + y;
              if (column < 0 || column >= width) continue;
              if (row < 0 || row >= height) continue;
              sum += share(y, i, ratio.y) * share(x, j, ratio.x) *
                data[(row * width + column) * 4 + channel]!;
            }
          }
          values.push(sum / (ratio.x * ratio.y * 255));
        }
      }
    }
  }
  return values;
}

// inside, across each border, outside
const ORIGINS = Int32Array.of(2, 3, -5, -5, 20, 14, 500, 0);

testOnEngines(
  "a view equals the definition of the area-weighted mean",
  async () => {
    const pixels = randomPixels(29, 23);
    const ratios = [
      [15, 10, 5, 2], // whole
      [13, 11, 5, 7], // fractions, also below 2
      [17, 12, 17, 5], // one axis untouched
      [19, 7, 1, 1],
      [17, 12, 10, 7], // an edge within the first and the last pixel of all
      [12, 17, 7, 10],
    ] as const;
    for (const [width, height, outputWidth, outputHeight] of ratios) {
      const options = {
        origins: ORIGINS,
        size: { width, height },
        output: { width: outputWidth, height: outputHeight },
      };
      const error = maxError(
        await shrink(pixels, options),
        definition(pixels, options),
      );
      assert.ok(error < 1e-6, `${width}x${height}: ${error}`);
    }
  },
);

testOnEngines("boxes of whole pixels are exact", async () => {
  const pixels = randomPixels(61, 530);
  pixels.data.fill(255, 0, 61 * 300 * 4); // sums are as large as can be
  const packed = new Int32Array(pixels.data.buffer);
  const origins = Int32Array.of(2, 3, -15, -10, 46, 520, -7, 4, 58, 1, 900, 0);
  const boxes = [[5, 5], [1, 3], [15, 257], [3, 258], [30, 2]] as const;
  for (const [width, height] of boxes) {
    const options = {
      origins,
      size: { width: 2 * width, height: 2 * height },
      output: { width: 2, height: 2 },
    };
    const expected = downsampleReference(packed, pixels, options);
    const worst = maxError(await shrink(pixels, options), expected);
    const bound = tf.getBackend() === "wasm" ? 0 : 1e-6;
    assert.ok(worst <= bound, `${width}x${height}: ${worst}`);
  }
});

testOnEngines("a box may be larger than the region", async () => {
  const pixels = randomPixels(5, 6);
  const packed = new Int32Array(pixels.data.buffer);
  for (const width of [9, 20]) {
    const options = {
      origins: Int32Array.of(-3, -2, -12, 0, 0, 1, -8, 0, 3, 0),
      size: { width: 2 * width, height: 8 },
      output: { width: 2, height: 2 },
    };
    const expected = downsampleReference(packed, pixels, options);
    assert.ok(maxError(await shrink(pixels, options), expected) < 1e-6);
  }
});

testOnEngines("a result pixel alone may begin within a pixel", async () => {
  const pixels = randomPixels(9, 7);
  const options = {
    origins: Int32Array.of(2, 3),
    phase: { x: 1, y: 0 },
    size: { width: 4, height: 2 },
    output: { width: 2, height: 1 },
    pixels: { width: 1, height: 1 },
  };
  const packed = new Int32Array(pixels.data.buffer);
  const expected = downsampleReference(packed, pixels, options);
  assert.ok(maxError(await shrink(pixels, options), expected) < 1e-6);
});

testOnEngines(
  "a view made piece by piece, from within a pixel on, is the whole view",
  async () => {
    const pixels = randomPixels(61, 47);
    const size = { width: 53, height: 37 }, output = { width: 19, height: 11 };
    const origins = Int32Array.of(3, 2);
    const whole = await shrink(pixels, { origins, size, output });
    for (const { x, y, width, height } of PIECES) {
      const piece = await shrink(pixels, {
        origins: Int32Array.of(
          3 + Math.floor(x * size.width / output.width),
          2 + Math.floor(y * size.height / output.height),
        ),
        phase: {
          x: x * size.width % output.width,
          y: y * size.height % output.height,
        },
        size,
        output,
        pixels: { width, height },
      });
      const expected = [];
      for (let row = y; row < y + height; row++) {
        const from = (row * output.width + x) * 3;
        expected.push(...whole.subarray(from, from + 3 * width));
      }
      assert.ok(maxError(piece, expected) < 1e-6, `piece at ${x}, ${y}`);
    }
  },
);

testOnEngines("a source may end within a pixel", async () => {
  const width = 13, output = 4;
  const pixels = {
    data: new Uint8Array(4 * width).fill(255),
    width,
    height: 1,
  };
  // Result px cover [0.25, 2.75), [2.75, 5.25), ... of a source of 5.5 px.
  const values = await shrink(pixels, {
    origins: Int32Array.of(0, 0),
    phase: { x: 1, y: 0 },
    end: { x: 22, y: 1 },
    size: { width: 10, height: 1 },
    output: { width: output, height: 1 },
    pixels: { width: 5, height: 1 },
  });
  const shares = [1, 1, 0.1, 0, 0].flatMap((share) => [share, share, share]);
  assert.ok(maxError(values, shares) < 1e-6, String(values));
});

testOnEngines("a source may end within a pixel of a column, too", async () => {
  const height = 13, output = 4;
  const data = new Uint8Array(4 * height).fill(255);
  const values = await shrink({ data, width: 1, height }, {
    origins: Int32Array.of(0, 0),
    phase: { x: 0, y: 1 },
    end: { x: 1, y: 22 },
    size: { width: 1, height: 10 },
    output: { width: 1, height: output },
    pixels: { width: 1, height: 5 },
  });
  const shares = [1, 1, 0.1, 0, 0].flatMap((share) => [share, share, share]);
  assert.ok(maxError(values, shares) < 1e-6, String(values));
});

testOnEngines(
  "white stays white however many pixels are added up",
  async () => {
    const width = 5000, height = 3;
    const data = new Uint8Array(4 * width * height).fill(255);
    const values = await shrink({ data, width, height }, {
      origins: Int32Array.of(0, 0),
      size: { width, height },
      output: { width: 1, height: 2 }, // rows of 1.5 px: some count in part
    });
    assert.ok(maxError(values, new Array(6).fill(1)) < 1e-5, String(values));
  },
);

const PIECES = [
  { x: 0, y: 0, width: 5, height: 11 },
  { x: 5, y: 0, width: 14, height: 4 },
  { x: 7, y: 10, width: 1, height: 1 },
];

testOnEngines(
  "views equal their reference over several workgroups",
  async () => {
    const pixels = randomPixels(307, 211);
    const options = {
      origins: Int32Array.of(0, 0, 150, 90, -40, 100),
      size: { width: 163, height: 127 },
      output: { width: 61, height: 53 },
    };
    const expected = downsampleReference(
      new Int32Array(pixels.data.buffer),
      pixels,
      options,
    );
    assert.ok(maxError(await shrink(pixels, options), expected) < 1e-6);
  },
);

testOnEngines("the mean is kept, and ratio 1 changes nothing", async () => {
  const pixels = randomPixels(37, 31);
  const size = { width: 37, height: 31 };
  const origins = Int32Array.of(0, 0);
  const mean = (values: Float32Array) =>
    values.reduce((a, b) => a + b, 0) / values.length;
  const packed = new Int32Array(pixels.data.buffer);
  const same = gatherPatchesReference(packed, size, { origins, size });
  const view = await shrink(pixels, {
    origins,
    size,
    output: { width: 10, height: 9 },
  });
  assert.ok(Math.abs(mean(view) - mean(same)) < 1e-6);
  const copy = await shrink(pixels, { origins, size, output: size });
  assert.ok(maxError(copy, same) < 1e-6);
});

testOnEngines("an output larger than its source is refused", () => {
  const region = packPixels(randomPixels(4, 4));
  const origins = Int32Array.of(0, 0);
  const size = { width: 4, height: 4 };
  for (const output of [{ width: 5, height: 4 }, { width: 4, height: 0 }]) {
    assert.throws(
      () => downsample(region, { origins, size, output }),
      RangeError,
    );
  }
  region.dispose();
});
