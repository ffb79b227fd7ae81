import assert from "node:assert/strict";
import { join } from "node:path";
import { EngineError, ImageError } from "../../../lib/errors.ts";
import { ImageCache } from "../../../lib/image/image_cache.ts";
import { Memory } from "../../../lib/memory.ts";
import { BEST, LAST } from "../../../lib/model/checkpoint.ts";
import { preset } from "../../../lib/model/presets.ts";
import { sharesOf } from "../../../lib/train/batches.ts";
import { trainDense } from "../../../lib/train/dense/train_dense.ts";
import { type Parallel, runWorkers } from "../../../lib/train/parallel/team.ts";
import { train, type TrainOptions } from "../../../lib/train/trainer.ts";
import { testOnEngines, testOnWasm } from "../../engines.ts";
import * as dense from "../dense/toy_images.ts";
import { CLASSES, inFolder, writePictures } from "../dense/toy_images.ts";

const IMAGE_BYTES = 2 ** 20;

/** A small network that sees 64-px images, three images a step. */
function toyConfig() {
  const config = preset("needle");
  config.referenceClass = CLASSES[0]!;
  Object.assign(config.view, {
    scale1: 0.125,
    scale2: 0.25,
    tileSize: 16,
    tileStride: 8,
    subTileSize: 7,
    samples: 3,
  });
  config.evaluation.samples = 3;
  Object.assign(config.training, {
    epochs: 2,
    batchSize: 3,
    learningRate: 3e-3,
    attentionLearningRate: 3e-3,
    contrastiveFrom: 2,
  });
  return config;
}

/** Trains on 7 images, 5 for validation, in `folder`/`name`. */
async function run(
  folder: string,
  { name, parallel, ...options }:
    & Omit<Partial<TrainOptions>, "parallel">
    & { name: string; parallel: Omit<Parallel, "imageBytes"> },
) {
  const entries = await writePictures(folder, 0, 12);
  return await train({
    classes: CLASSES,
    train: entries.slice(0, 7),
    validation: entries.slice(7),
  }, {
    folder: join(folder, name),
    config: toyConfig(),
    seed: 3,
    cache: new ImageCache(IMAGE_BYTES),
    memory: new Memory(),
    resume: false,
    environment: { test: true },
    ...options,
    parallel: { imageBytes: IMAGE_BYTES, ...parallel },
  });
}

async function checkpointsOf(folder: string): Promise<Uint8Array[]> {
  return await Promise.all(
    [BEST, LAST].map((name) => Deno.readFile(join(folder, name))),
  );
}

testOnWasm(
  "checkpoints are the same bits with 1, 2 and 3 workers",
  async () => {
    await inFolder(async (folder) => {
      const results = [];
      for (const workers of [1, 2, 3]) {
        const name = `${workers}`;
        const { last } = await run(folder, { name, parallel: { workers } });
        results.push({ last, files: await checkpointsOf(join(folder, name)) });
      }
      assert.deepEqual(results[1], results[0]);
      assert.deepEqual(results[2], results[0]);
    });
  },
);

testOnWasm(
  "a run that two workers were stopped in is continued by one",
  async () => {
    await inFolder(async (folder) => {
      await run(folder, { name: "whole", parallel: { workers: 1 } });
      const controller = new AbortController();
      const stopped = run(folder, {
        name: "stopped",
        parallel: { workers: 2 },
        signal: controller.signal,
        onProgress: ({ epoch, step }) =>
          epoch === 2 && step === 1 && controller.abort(new Error("stop")),
      });
      await assert.rejects(stopped, /^Error: stop$/);
      await run(folder, {
        name: "stopped",
        parallel: { workers: 1 },
        resume: true,
      });
      assert.deepEqual(
        await checkpointsOf(join(folder, "stopped")),
        await checkpointsOf(join(folder, "whole")),
      );
    });
  },
);

testOnWasm("a Worker that dies ends the run with one clear line", async () => {
  await inFolder(async (folder) => {
    const module = new URL("./dying_worker.ts", import.meta.url);
    const parallel = { workers: 2, module };
    await assert.rejects(run(folder, { name: "run", parallel }), (error) => {
      assert.ok(error instanceof EngineError);
      assert.match(error.message, /^A training worker ended .*out of luck/);
      assert.doesNotMatch(error.message, /\n/);
      return true;
    });
  });
});

testOnWasm("an image that a Worker cannot read is named", async () => {
  await inFolder(async (folder) => {
    const entries = await writePictures(folder, 0, 4);
    await Deno.writeTextFile(entries[3]!.path, "no image");
    const config = toyConfig();
    config.network.normaliseInput = false; // reads no image before the Workers do
    const training = train(
      { classes: CLASSES, train: entries, validation: [] },
      {
        folder: join(folder, "run"),
        config,
        seed: 3,
        cache: new ImageCache(IMAGE_BYTES),
        memory: new Memory(),
        resume: false,
        environment: {},
        parallel: { workers: 2, imageBytes: IMAGE_BYTES },
      },
    );
    await assert.rejects(
      training,
      (error) => error instanceof ImageError && /3\.png/.test(error.message),
    );
  });
});

testOnWasm(
  "a student is the same bits with 1, 2 and 3 workers",
  async () => {
    const files: Uint8Array[] = [];
    for (const workers of [1, 2, 3]) {
      await inFolder(async (folder) => {
        const entries = await writePictures(folder, 0, 12);
        await trainDense({ classes: CLASSES, train: entries, validation: [] }, {
          folder: join(folder, "run"),
          config: dense.toyConfig({ epochs: 1 }),
          seed: 3,
          cache: new ImageCache(IMAGE_BYTES),
          memory: new Memory(),
          resume: false,
          environment: {},
          features: new dense.ToyFeatures(),
          score: () => Promise.resolve({ figures: {}, calibration: null }),
          parallel: { workers, imageBytes: IMAGE_BYTES },
        });
        files.push(await Deno.readFile(join(folder, "run", BEST)));
      });
    }
    assert.deepEqual(files[1], files[0]);
    assert.deepEqual(files[2], files[0]);
  },
);

Deno.test("shares are even, the first the smallest, and keep to neighbours", () => {
  const batch = [70, 3, 41, 9, 22];
  assert.deepEqual(sharesOf(batch, 1), [batch]);
  assert.deepEqual(sharesOf(batch, 2), [[3, 9], [70, 41, 22]]);
  assert.deepEqual(sharesOf(batch, 3), [[3], [9, 22], [70, 41]]);
  assert.deepEqual(sharesOf([5], 2), [[], [5]]);
});

testOnEngines("a run has the workers that can share it", ({ backend }) => {
  const config = toyConfig();
  config.training.epochs = 10;
  const resnet = structuredClone(config);
  resnet.network.features = "resnet"; // batch statistics
  const single = structuredClone(config);
  single.training.batchSize = 1;
  const images = 100;
  const isCpu = backend === "wasm";
  const cores = isCpu ? Math.min(navigator.hardwareConcurrency, 3) : 1;
  assert.equal(runWorkers(config, { images }), cores);
  assert.equal(runWorkers(config, { images, wanted: 2 }), isCpu ? 2 : 1);
  assert.equal(runWorkers(config, { images: 5 }), 1); // over before they start
  assert.equal(runWorkers(config, { images: 5, wanted: 9 }), isCpu ? 3 : 1);
  for (const whole of [resnet, single]) {
    assert.equal(runWorkers(whole, { images, wanted: 2 }), 1);
  }
});
