import assert from "node:assert/strict";
import type { Region } from "../../lib/image/geometry.ts";
import { ImageCache } from "../../lib/image/image_cache.ts";
import {
  type Pixels,
  type Pyramid,
  WrappedPyramid,
} from "../../lib/image/pyramid.ts";
import { RasterPyramid } from "../../lib/image/pyramids/raster.ts";
import { plausibleMpp } from "../../lib/image/mpp.ts";
import { atMpp, openAtMpp } from "../../lib/image/resampled.ts";
import { asymmetricPicture, pixelAt, readAll } from "./pictures.ts";

const MPP = 0.25;

function image(width: number, height: number, mpp?: number): RasterPyramid {
  const pixels = asymmetricPicture(width, height);
  return new RasterPyramid("slide", { pixels, warnings: [] }, {
    facts: { mpp },
  });
}

/** The mean over a rectangle of `pixels` with edges within pixels. */
function mean(
  { data, width }: Pixels,
  [left, top, right, bottom]: [number, number, number, number],
): number[] {
  const sums = [0, 0, 0];
  for (let y = Math.floor(top); y < bottom; y++) {
    for (let x = Math.floor(left); x < right; x++) {
      const share = (Math.min(right, x + 1) - Math.max(left, x)) *
        (Math.min(bottom, y + 1) - Math.max(top, y));
      for (let c = 0; c < 3; c++) {
        sums[c]! += share * data[(y * width + x) * 4 + c]!;
      }
    }
  }
  return sums.map((sum) => sum / ((right - left) * (bottom - top)));
}

for (const mpp of [0.5, 0.37, 0.75, 0.2, 0.1, 2]) {
  Deno.test(`an image of ${MPP} um per px seen at ${mpp}: means over the area of each px`, async () => {
    const stored = image(57, 31, MPP);
    const seen = atMpp(stored, mpp);
    const scale = MPP / mpp;
    assert.deepEqual(
      [seen.width, seen.height],
      [Math.round(57 * scale), Math.round(31 * scale)],
    );
    assert.equal(seen.mpp, mpp);
    assert.deepEqual(seen.stored, stored);
    assert.match(seen.warnings[0]!, /^resampled to .*; the file has 0\.25$/);
    const original = await readAll(stored);
    const pixels = await readAll(seen);
    for (let y = 0; y < seen.height; y++) {
      for (let x = 0; x < seen.width; x++) {
        const expected = mean(original, [
          x * 57 / seen.width,
          y * 31 / seen.height,
          (x + 1) * 57 / seen.width,
          (y + 1) * 31 / seen.height,
        ]);
        const [...actual] = pixelAt(pixels, x, y);
        assert.equal(actual.pop(), 255);
        for (const [c, value] of expected.entries()) {
          assert.ok(Math.abs(value - actual[c]!) <= 0.5 + 1e-3);
        }
      }
    }
    // A part that reaches outside is the same part of the whole, and zeros.
    const part = await seen.read({ x: -1, y: 1, width: 4, height: 2 }, 0);
    assert.deepEqual(pixelAt(part, 0, 0), [0, 0, 0, 0]);
    assert.deepEqual(pixelAt(part, 3, 1), pixelAt(pixels, 2, 2));
  });
}

/** Levels of one picture, and which of them are read. */
class Levels extends RasterPyramid {
  readonly asked: number[] = [];
  override readonly levels = [1, 2, 4, 8].map((downsample) => ({
    width: 1024 / downsample,
    height: 512 / downsample,
    downsample,
  }));

  override async read(
    region: { x: number; y: number; width: number; height: number },
    level: number,
  ): Promise<Pixels> {
    this.asked.push(level);
    const { width, height } = region;
    const data = new Uint8Array(width * height * 4).fill(10 + level);
    return await Promise.resolve({ data, width, height });
  }
}

Deno.test("an image with levels is made of the coarsest that is fine enough", async () => {
  const pixels = {
    data: new Uint8Array(1024 * 512 * 4),
    width: 1024,
    height: 512,
  };
  const levels = () =>
    new Levels("slide", { pixels, warnings: [] }, { facts: { mpp: 0.25 } });
  const stored = levels();
  const seen: Pyramid = atMpp(stored, 0.75); // three times
  assert.deepEqual(seen.levels, [
    { width: 341, height: 171, downsample: 1 },
    { width: 256, height: 128, downsample: (341 / 256 + 171 / 128) / 2 },
    { width: 128, height: 64, downsample: (341 / 128 + 171 / 64) / 2 },
  ]);
  await readAll(seen);
  await seen.read({ x: 0, y: 0, width: 4, height: 4 }, 1);
  await seen.read({ x: 0, y: 0, width: 4, height: 4 }, 2);
  assert.deepEqual(stored.asked, [1, 2, 3]);
  const same = levels();
  await readAll(atMpp(same, 0.5)); // as the file has it
  assert.deepEqual(same.asked, [1]);
});

Deno.test("a level that is fine enough on one axis alone is not taken", async () => {
  const pixels = {
    data: new Uint8Array(1024 * 512 * 4),
    width: 1024,
    height: 512,
  };
  for (const [width, height] of [[512, 200], [400, 256]] as const) {
    const stored = new Levels("slide", { pixels, warnings: [] }, {
      facts: {
        mpp: 0.25,
      },
    });
    Object.assign(stored.levels[1]!, { width, height });
    const seen = atMpp(stored, 0.5); // 512 x 256 px
    await seen.read({ x: 0, y: 0, width: 4, height: 4 }, 0);
    assert.deepEqual(stored.asked, [0], `${width} x ${height}`);
  }
});

Deno.test("mpp: as it is where nothing is asked for, or nearly the same", () => {
  const stored = image(8, 8, MPP);
  for (const mpp of [null, 0.25, 0.2501, 0.254]) {
    assert.equal(atMpp(stored, mpp), stored);
  }
  for (const mpp of [0.243, 0.258]) {
    assert.equal(atMpp(stored, mpp).mpp, mpp);
  }
  assert.equal(atMpp(image(8, 8), null).mpp, undefined);
});

Deno.test("mpp: the manifest's counts before the file's; with neither an error", async () => {
  assert.equal(atMpp(image(8, 8, MPP), 0.5, 1).width, 16);
  assert.equal(atMpp(image(8, 8), 0.5, 0.25).width, 4);
  assert.throws(
    () => atMpp(image(8, 8), 0.5),
    /Cannot see slide at 0\.5 um per px.*manifest's column "mpp".*classify --mpp/,
  );
  const cache = new ImageCache(1e6, () => Promise.resolve(image(8, 8)));
  const opened = await openAtMpp(cache, { path: "a", mpp: 0.25 }, 0.5);
  assert.equal(opened.width, 4);
  opened.close();
  await assert.rejects(openAtMpp(cache, { path: "a" }, 0.5), /column "mpp"/);
});

Deno.test("announced reads cover all reads", async () => {
  const told: { region: Region; level: number }[] = [];
  const asked: { region: Region; level: number }[] = [];
  class Telling extends Levels {
    prefetch(regions: readonly Region[], level: number): void {
      told.push(...regions.map((region) => ({ region, level })));
    }
    override async read(region: Region, level: number): Promise<Pixels> {
      asked.push({ region, level });
      return await super.read(region, level);
    }
  }
  const pixels = {
    data: new Uint8Array(1024 * 512 * 4),
    width: 1024,
    height: 512,
  };
  const seen: Pyramid = atMpp(
    new Telling("slide", { pixels, warnings: [] }, { facts: { mpp: 0.25 } }),
    0.75,
  );
  const region = { x: 31, y: 17, width: 50, height: 40 };
  for (const level of [0, 1]) {
    seen.prefetch!([region], level);
    await seen.read(region, level);
    const [next, read] = [told.pop()!, asked.pop()!];
    assert.deepEqual(next, read);
  }
});

Deno.test("an image that is resampled twice tells the size in its file", () => {
  const stored = image(64, 32, MPP);
  const twice = atMpp(atMpp(stored, 0.5), 1);
  assert.deepEqual([twice.width, twice.stored!.width], [16, 64]);
});

Deno.test("pixels that make level 0 are released at once", async () => {
  let held = 0, most = 0;
  class Counting extends WrappedPyramid {
    override async read(...how: Parameters<Pyramid["read"]>): Promise<Pixels> {
      most = Math.max(most, ++held);
      return await super.read(...how);
    }
    override release(): void {
      held--;
    }
  }
  const stored = new Counting(image(1100, 40, MPP));
  await readAll(atMpp(stored, 0.2)); // in parts of 512 px
  assert.deepEqual([held, most], [0, 1]);
});

Deno.test("um per px that are no microscope's, or an enlargement without sense, are refused", () => {
  for (
    const [own, mpp, reason] of [
      [500, 0.5, "has 500, which is not from 0\\.01 to 100 um per px"],
      [3e6, 0.5, "has 3000000, which is not from"],
      [Infinity, 0.5, "has Infinity, which is not from"],
      [NaN, 0.5, "has NaN, which is not from"],
      [1e-12, 0.5, "has 1e-12, which is not from"],
      [
        40,
        0.5,
        "so it would be enlarged 80 times \\(at most 16 are allowed\\)",
      ],
      [0.01, 5, "so its longer side would be 0\\.128 px"],
    ] as const
  ) {
    assert.throws(() => atMpp(image(64, 64, own), mpp), {
      name: "ImageError",
      message: new RegExp(
        `^Cannot see slide at ${mpp} um per px, .+: it has .*${
          reason.replace(/^has /, "")
        }.*; correct it in`,
      ),
    });
    assert.throws(() => atMpp(image(64, 64, 0.5), mpp, own), /^ImageError/);
  }
  assert.equal(atMpp(image(64, 32, 8), 0.5).width, 1024);
});

Deno.test("an image whose file says um per px that are none is refused with them", () => {
  const pixels = asymmetricPicture(8, 8);
  const warnings: string[] = [];
  const mpp = plausibleMpp("description", { x: 500 }, warnings);
  const image = new RasterPyramid("a.tif", { pixels, warnings }, {
    facts: { mpp },
  });
  assert.throws(
    () => atMpp(image, 0.5),
    /^ImageError: Cannot see a\.tif at 0\.5 um per px, as the configuration asks: its file says 500 um per px of its description, which is not from 0\.01 to 100 um per px; write them in/,
  );
});

Deno.test("a side that would be immense is refused", () => {
  const wide = new (class extends WrappedPyramid {
    override get width(): number {
      return 2 ** 20;
    }
  })(image(64, 64, 2));
  assert.throws(
    () => atMpp(wide, 0.5),
    /so its longer side would be 4194000 px; correct/,
  );
});
