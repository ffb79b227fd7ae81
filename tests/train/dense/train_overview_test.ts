/** Training with attention by the encoder, from the images to a checkpoint. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { startEngine } from "../../../lib/engine/select.ts";
import { FeatureCache } from "../../../lib/encoder/cache.ts";
import {
  encoderSettings,
  overviewSettings,
} from "../../../lib/encoder/inspect.ts";
import { ImageCache } from "../../../lib/image/image_cache.ts";
import { Memory } from "../../../lib/memory.ts";
import { readCheckpoint } from "../../../lib/model/checkpoint.ts";
import { OVERVIEW } from "../../../lib/model/networks.ts";
import { disposeParameters } from "../../../lib/model/parameters.ts";
import { trainDense } from "../../../lib/train/dense/train_dense.ts";
import { FIXTURE } from "../../encoder/onnx_files.ts";
import { testEncoder } from "../../encoder/runtime.ts";
import { CLASSES, inFolder, toyConfig, writePictures } from "./toy_images.ts";

testEncoder("a run trains attention by the encoder, and keeps it", async () => {
  await startEngine("wasm");
  const config = toyConfig({ epochs: 3 });
  config.network = {
    ...config.network,
    features: "encoder",
    encoder: await encoderSettings(FIXTURE, "large"),
    overview: await overviewSettings(FIXTURE),
  };
  await inFolder(async (folder) => {
    const entries = await writePictures(folder, 0, 10);
    const cache = new ImageCache(2 ** 24);
    const { last } = await trainDense({
      classes: CLASSES,
      train: entries.slice(0, 6),
      validation: entries.slice(6),
    }, {
      folder: join(folder, "run"),
      config,
      seed: 3,
      cache,
      memory: new Memory(),
      resume: false,
      environment: {},
      featureCache: new FeatureCache(join(folder, "features"), 1e8),
    });
    cache.close();
    assert.ok(last!.validationLoss! > 0);
    // Of 64 locations alike the loss would be ln 64.
    assert.ok(last!.studentLoss! < Math.log(64), `${last!.studentLoss}`);
    const { model } = await readCheckpoint(join(folder, "run"));
    assert.equal(model.overview!.channels, config.network.overview!.channels);
    const weight = await model.parameters.get(OVERVIEW)!.data();
    assert.ok(weight.some((value) => value !== 0));
    disposeParameters(model.parameters);
    // Features of 6 images and a copy of each, of 4 to score, and 6 overviews.
    const kept = await Array.fromAsync(
      Deno.readDir(join(folder, "features")),
    );
    assert.equal(kept.length, 2 * 6 + 4 + 6);
  });
});
