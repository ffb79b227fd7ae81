import assert from "node:assert/strict";
import { join } from "node:path";
import { ImageCache } from "../../lib/image/image_cache.ts";
import { Memory } from "../../lib/memory.ts";
import { preset } from "../../lib/model/presets.ts";
import { LAST } from "../../lib/model/checkpoint.ts";
import { train } from "../../lib/train/trainer.ts";
import { testOnWebGpu } from "../engines.ts";
import { CLASSES, inFolder, writePictures } from "./dense/toy_images.ts";

const IMAGES = 6, EPOCHS = 3;

function config() {
  const config = preset("needle");
  config.referenceClass = CLASSES[0]!;
  config.network.normaliseInput = false; // reads no image before the steps do
  Object.assign(config.view, {
    scale1: 0.125,
    scale2: 0.25,
    tileSize: 16,
    tileStride: 8,
    subTileSize: 7,
    samples: 3,
  });
  Object.assign(config.training, {
    batchSize: 2,
    epochs: EPOCHS,
    validation: 0,
    saliencyWarmStart: null,
  });
  Object.assign(config.training.augmentation, { flips: true, turns: true });
  return config;
}

/** Writes of packed pixels, as many as an image has, while `work` runs. */
async function uploads(
  bytes: number,
  work: () => Promise<unknown>,
): Promise<number> {
  const { writeBuffer } = GPUQueue.prototype;
  let count = 0;
  GPUQueue.prototype.writeBuffer = function (...args) {
    const [, , data] = args; // uniforms are bytes
    if (data instanceof Int32Array && data.byteLength === bytes) count++;
    return writeBuffer.apply(this, args);
  };
  try {
    await work();
    return count;
  } finally {
    GPUQueue.prototype.writeBuffer = writeBuffer;
  }
}

testOnWebGpu(
  "a training sends an image once, and learns the same",
  async () => {
    await inFolder(async (folder) => {
      const entries = await writePictures(folder, 0, IMAGES);
      const cache = new ImageCache(2 ** 24);
      const first = await cache.open(entries[0]!.path);
      const bytes = first.width * first.height * 4;
      first.close();
      const run = (name: string, cache: ImageCache) =>
        train({ classes: CLASSES, train: entries, validation: [] }, {
          folder: join(folder, name),
          config: config(),
          seed: 3,
          cache,
          memory: new Memory(),
          resume: false,
          environment: { test: true },
        });
      assert.equal(await uploads(bytes, () => run("kept", cache)), IMAGES);
      // Room for the images, and none for copies.
      const tight = new ImageCache(IMAGES * bytes);
      for (const { path } of entries) (await tight.open(path)).close();
      assert.equal(
        await uploads(bytes, () => run("sent", tight)),
        IMAGES * EPOCHS,
      );
      const [kept, sent] = await Promise.all(
        ["kept", "sent"].map((name) => Deno.readFile(join(folder, name, LAST))),
      );
      assert.deepEqual(kept, sent);
      cache.close();
      tight.close();
    });
  },
);
