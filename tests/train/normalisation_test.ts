import assert from "node:assert/strict";
import { ImageCache } from "../../lib/image/image_cache.ts";
import { RasterPyramid } from "../../lib/image/pyramids/raster.ts";
import { measureNormalisation } from "../../lib/train/normalisation.ts";
import { drawnImage } from "../model/toy.ts";

/** A chequerboard of single px, black and white. */
function chequers(): RasterPyramid {
  return drawnImage({ width: 34, height: 34 }, (x, y) => {
    const value = (x + y) % 2 * 255;
    return [value, value, value];
  });
}

const entry = {
  path: "a",
  image: "a",
  label: "x",
  classIndex: 0,
  manifest: "m",
  line: 1,
  mpp: 0.5,
};

/** Statistics of `entry`, opened through a cache that keeps nothing. */
function measured(mpp: number | null, signal?: AbortSignal) {
  const cache = new ImageCache(0, () => Promise.resolve(chequers()));
  return measureNormalisation([entry], cache, { mpp, signal });
}

Deno.test("the measuring can be stopped", async () => {
  const stop = new AbortController();
  const measuring = measured(null, stop.signal);
  stop.abort(new Error("enough"));
  await assert.rejects(measuring, /enough/);
});

Deno.test("the normalisation is of the pixels that the network sees", async () => {
  const stored = await measured(null);
  assert.ok(stored.deviation[0] > 0.45);
  const seen = await measured(1); // each px is the mean of two by two: grey
  assert.ok(Math.abs(seen.mean[0] - 0.5) < 0.01);
  assert.ok(seen.deviation[0] < 0.01);
});
