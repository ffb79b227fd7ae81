/** Training with close-ups, from boxes to a checkpoint that decides by them. */
import assert from "node:assert/strict";
import { join } from "node:path";
import type { ManifestEntry } from "../../../lib/data/manifest.ts";
import {
  closeUpSettings,
  encoderSettings,
  overviewSettings,
} from "../../../lib/encoder/inspect.ts";
import { startEngine } from "../../../lib/engine/select.ts";
import { ConfigError, DataError } from "../../../lib/errors.ts";
import { classifyImage } from "../../../lib/eval/classify.ts";
import { ImageCache } from "../../../lib/image/image_cache.ts";
import { Memory } from "../../../lib/memory.ts";
import { readCheckpoint } from "../../../lib/model/checkpoint.ts";
import type { Config } from "../../../lib/model/config.ts";
import { disposeModel } from "../../../lib/model/frozen.ts";
import type { TrainingBoxes } from "../../../lib/train/boxes.ts";
import { trainDense } from "../../../lib/train/dense/train_dense.ts";
import { FIXTURE } from "../../encoder/onnx_files.ts";
import { testEncoder } from "../../encoder/runtime.ts";
import {
  CLASSES,
  inFolder,
  SQUARE,
  squareOf,
  toyConfig,
  writePictures,
} from "./toy_images.ts";

async function closeUpConfig(): Promise<Config> {
  const config = toyConfig({ epochs: 12 }, { subTileSize: 16 });
  config.network = {
    ...config.network,
    features: "encoder",
    encoder: await encoderSettings(FIXTURE, "large"),
    overview: await overviewSettings(FIXTURE),
    closeUp: await closeUpSettings(FIXTURE),
  };
  return config;
}

/** The squares of the positive ones among `entries`, with `side` px. */
function boxesOf(
  entries: readonly ManifestEntry[],
  side: number,
): TrainingBoxes {
  const objects = new Map(
    entries.filter(({ classIndex }) => classIndex === 1).map((entry) => {
      const [x, y] = squareOf(parseInt(entry.image));
      return [entry.path, [{ x, y, width: side, height: side }]];
    }),
  );
  return { objects, name: "rois", limit: null, ignored: 0 };
}

async function trained(
  folder: string,
  train: readonly ManifestEntry[],
  boxes: TrainingBoxes | undefined,
): Promise<void> {
  const cache = new ImageCache(2 ** 24);
  try {
    await trainDense({
      classes: CLASSES,
      train,
      validation: [],
      ...(boxes && { boxes }),
    }, {
      folder: join(folder, "run"),
      config: await closeUpConfig(),
      seed: 3,
      cache,
      memory: new Memory(),
      resume: false,
      environment: {},
    });
  } finally {
    cache.close();
  }
}

testEncoder(
  "a close-up finds the object in new images, and decides",
  async () => {
    await startEngine("wasm");
    await inFolder(async (folder) => {
      const entries = await writePictures(folder, 0, 50);
      const train = entries.slice(0, 40), test = entries.slice(40);
      await trained(folder, train, boxesOf(train, SQUARE));
      const { model } = await readCheckpoint(join(folder, "run"));
      let right = 0, found = 0;
      for (const { image, path, label } of test) {
        const { classification } = await classifyImage(path, model, {
          seed: 0,
        });
        if (classification.label === label) right++;
        if (label === "negative") continue;
        const { x, y, width } = classification.object!;
        const [left, top] = squareOf(parseInt(image));
        const isOn = [x - left, y - top].every((corner) =>
          Math.abs(corner + (width - SQUARE) / 2) < 4
        );
        if (isOn && Math.abs(width - SQUARE) < 5) found++;
      }
      // Chance is 5 of 10; that a square of this size lies there, 1 in 30.
      assert.ok(right >= 9, `${right} of 10`);
      assert.ok(found >= 4, `${found} of 5`);
      await disposeModel(model);
    });
  },
);

testEncoder(
  "close-ups are refused where there are no boxes to learn from",
  async () => {
    await startEngine("wasm");
    await inFolder(async (folder) => {
      const entries = await writePictures(folder, 0, 4);
      await assert.rejects(
        trained(folder, entries, undefined),
        (error) =>
          error instanceof ConfigError && /--boxes/.test(error.message),
      );
      await assert.rejects(
        trained(folder, entries, boxesOf(entries, 0)),
        (error) =>
          error instanceof DataError &&
          /1\.png .* is a point/.test(error.message),
      );
    });
  },
);
