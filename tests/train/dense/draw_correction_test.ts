import assert from "node:assert/strict";
import { join } from "node:path";
import { ImageCache } from "../../../lib/image/image_cache.ts";
import { Memory } from "../../../lib/memory.ts";
import { CORRECTION } from "../../../lib/model/head.ts";
import { readCheckpoint } from "../../../lib/model/checkpoint.ts";
import { disposeParameters } from "../../../lib/model/parameters.ts";
import { lineThrough } from "../../../lib/train/dense/draw_correction.ts";
import { trainDense } from "../../../lib/train/dense/train_dense.ts";
import { testOnWasm } from "../../engines.ts";
import {
  CLASSES,
  inFolder,
  toyConfig,
  ToyFeatures,
  writePictures,
} from "./toy_images.ts";

Deno.test("the line through points is that of least squares", () => {
  const points = Array.from(
    { length: 20 },
    (_, i) => [i / 4, 1.5 * i / 4 - 0.3] as const,
  );
  const { slope, offset } = lineThrough(points);
  assert.ok(Math.abs(slope - 1.5) < 1e-12);
  assert.ok(Math.abs(offset + 0.3) < 1e-12);
});

Deno.test("no line through few points, and none beyond its bounds", () => {
  const same = { slope: 1, offset: 0 };
  assert.deepEqual(lineThrough([[0, 1], [1, 3]]), same);
  const lost = Array.from({ length: 9 }, () => [-Infinity, 0] as const);
  assert.deepEqual(lineThrough(lost), same);
  const steep = Array.from({ length: 9 }, (_, i) => [i, 9 * i] as const);
  assert.deepEqual(lineThrough(steep), { slope: 3, offset: 24 });
  const flat = Array.from({ length: 9 }, (_, i) => [i, 2] as const);
  assert.deepEqual(lineThrough(flat), { slope: 0.5, offset: 0 });
});

/** The correction that a run measures with `samples` draws. */
async function measured(samples: number) {
  let found: number[] = [];
  await inFolder(async (folder) => {
    const cache = new ImageCache(2 ** 24);
    const config = toyConfig({ epochs: 4 });
    config.network.attention = "uniform"; // the draws miss what is small
    config.evaluation.samples = samples;
    const { last } = await trainDense({
      classes: CLASSES,
      train: await writePictures(folder, 0, 12),
      validation: [],
    }, {
      folder: join(folder, "run"),
      config,
      seed: 3,
      cache,
      memory: new Memory(),
      resume: false,
      environment: {},
      features: new ToyFeatures(),
      score: () => Promise.resolve({ figures: {}, calibration: null }),
    });
    cache.close();
    const { model } = await readCheckpoint(join(folder, "run"));
    const kept = await Promise.all(
      Object.values(CORRECTION).map((name) =>
        model.parameters.get(name)!.data()
      ),
    );
    disposeParameters(model.parameters);
    found = kept.map(([value]) => value!);
    assert.ok(Math.abs(found[0]! - last!.correctionSlope!) < 1e-5);
    assert.ok(Math.abs(found[1]! - last!.correctionOffset!) < 1e-5);
  });
  return { slope: found[0]!, offset: found[1]! };
}

testOnWasm("many draws lose next to nothing, a few lose evidence", async () => {
  const many = await measured(400); // of 64 locations: all of them
  assert.ok(Math.abs(many.slope - 1) < 0.1, `${many.slope}`);
  assert.ok(Math.abs(many.offset) < 0.1, `${many.offset}`);
  const few = await measured(4);
  assert.ok(few.offset > many.offset + 0.05, `${few.offset} ${many.offset}`);
});
