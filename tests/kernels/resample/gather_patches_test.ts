import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import {
  gatherPatches,
  gatherPatchesReference,
  packPixels,
  type PatchesOptions,
  type RgbaRegion,
} from "../../../kernels/resample/gather_patches.ts";
import { randomKey, RandomStream } from "../../../kernels/random.ts";
import { maxError, testOnEngines } from "../../engines.ts";

function randomPixels(width: number, height: number): RgbaRegion {
  const stream = new RandomStream(randomKey(width, height));
  const data = new Uint8Array(width * height * 4);
  return { data: data.map(() => stream.below(256)), width, height };
}

async function gather(pixels: RgbaRegion, options: PatchesOptions) {
  const patches = tf.tidy(() => gatherPatches(packPixels(pixels), options));
  const values = await patches.data();
  patches.dispose();
  return { values, shape: patches.shape };
}

testOnEngines("gathered patches of a picture of 2 x 2 px", async () => {
  // red, green / blue, white; alpha is dropped
  const data = Uint8Array.of(
    ...[255, 0, 0, 9, 0, 255, 0, 9],
    ...[0, 0, 255, 9, 255, 255, 51, 9],
  );
  const { values, shape } = await gather({ data, width: 2, height: 2 }, {
    origins: Int32Array.of(0, 0, 1, 1),
    size: { width: 2, height: 1 },
  });
  assert.deepEqual(shape, [2, 1, 2, 3]);
  // the top row; white, then outside
  const expected = [1, 0, 0, 0, 1, 0, 1, 1, 0.2, 0, 0, 0];
  assert.ok(maxError(values, expected) < 1e-7);
});

testOnEngines(
  "gathered patches are their definition, pixel by pixel",
  async () => {
    const width = 23, height = 17, pixels = randomPixels(width, height);
    const origins = Int32Array.of(3, 5, -4, -6, 19, 3, 20, 14, 2, -30, 40, 40);
    const size = { width: 7, height: 9 };
    const { values } = await gather(pixels, { origins, size });
    const expected: number[] = [];
    for (let n = 0; n < origins.length; n += 2) {
      for (let i = 0; i < size.height; i++) {
        for (let j = 0; j < size.width; j++) {
          const x = origins[n]! + j, y = origins[n + 1]! + i;
          const isInside = x >= 0 && y >= 0 && x < width && y < height;
          for (let c = 0; c < 3; c++) {
            const at = (y * width + x) * 4 + c;
            expected.push(isInside ? pixels.data[at]! / 255 : 0);
          }
        }
      }
    }
    assert.ok(maxError(values, expected) < 1e-6);
  },
);

testOnEngines("gathered patches equal their reference", async () => {
  const cases: [number, number, PatchesOptions][] = [
    [1, 1, { origins: Int32Array.of(0, 0), size: { width: 1, height: 1 } }],
    [53, 41, {
      origins: Int32Array.of(-3, -5, 7, 11, 50, 38, 52, -9, 900, 900, -900, 0),
      size: { width: 7, height: 13 },
    }],
    // more workgroups of 64 px than one grid row holds (65535)
    [31, 17, {
      origins: Int32Array.of(0, 0),
      size: { width: 2053, height: 2053 },
    }],
  ];
  for (const [width, height, options] of cases) {
    const pixels = randomPixels(width, height);
    const { values } = await gather(pixels, options);
    const packed = new Int32Array(pixels.data.buffer);
    const expected = gatherPatchesReference(packed, pixels, options);
    assert.ok(maxError(values, expected) < 1e-6, `${width} x ${height}`);
  }
});

testOnEngines("pixels may start at any byte of their buffer", async () => {
  const data = new Uint8Array(9).fill(255).subarray(1);
  data[4] = 51;
  const { values } = await gather({ data, width: 2, height: 1 }, {
    origins: Int32Array.of(0, 0),
    size: { width: 2, height: 1 },
  });
  assert.ok(maxError(values, [1, 1, 1, 0.2, 1, 1]) < 1e-7);
});
