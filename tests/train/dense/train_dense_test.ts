import assert from "node:assert/strict";
import { join } from "node:path";
import {
  CheckpointError,
  ConfigError,
  ImageFormatError,
  TrainingError,
} from "../../../lib/errors.ts";
import {
  FeatureCache,
  type FeatureSource,
} from "../../../lib/encoder/cache.ts";
import { ImageCache } from "../../../lib/image/image_cache.ts";
import { Memory } from "../../../lib/memory.ts";
import { BEST, LAST, readCheckpoint } from "../../../lib/model/checkpoint.ts";
import type { Config } from "../../../lib/model/config.ts";
import { disposeParameters } from "../../../lib/model/parameters.ts";
import type { SkippedImage } from "../../../lib/train/epoch_metrics.ts";
import { readLog } from "../../../lib/train/run_log.ts";
import {
  type DenseOptions,
  trainDense,
} from "../../../lib/train/dense/train_dense.ts";
import { keepFeatures } from "../../../lib/train/dense/kept_features.ts";
import { testOnEngines, testOnWasm } from "../../engines.ts";
import {
  CLASSES,
  inFolder,
  toyConfig,
  ToyFeatures,
  writePictures,
} from "./toy_images.ts";

/** Trains on 24 images, 8 for validation. */
async function run(
  folder: string,
  { config, ...rest }: { config: Config } & Partial<DenseOptions>,
) {
  const cache = new ImageCache(2 ** 24);
  const entries = await writePictures(folder, 0, 32);
  try {
    return await trainDense({
      classes: CLASSES,
      train: entries.slice(0, 24),
      validation: entries.slice(24),
    }, {
      folder: join(folder, "run"),
      config,
      seed: 3,
      cache,
      memory: new Memory(),
      resume: false,
      environment: { test: true },
      features: new ToyFeatures(),
      score: () =>
        Promise.resolve({
          figures: { validationAccuracy: 1 },
          calibration: null,
        }),
      ...rest,
    });
  } finally {
    cache.close();
  }
}

/** A configuration that trains no student, which takes most of the time. */
function teacherAlone(...settings: Parameters<typeof toyConfig>): Config {
  const config = toyConfig(...settings);
  config.network.attention = "uniform";
  return config;
}

async function parametersOf(path: string): Promise<Record<string, number[]>> {
  const { model } = await readCheckpoint(path);
  const values: Record<string, number[]> = {};
  for (const [name, variable] of model.parameters) {
    values[name] = Array.from(await variable.data());
  }
  disposeParameters(model.parameters);
  return values;
}

testOnEngines(
  "one run trains the teacher and its student, and tells of both",
  async () => {
    await inFolder(async (folder) => {
      const { epochs, bestEpoch, last } = await run(folder, {
        config: toyConfig(),
      });
      assert.deepEqual([epochs, bestEpoch], [12, 12]);
      assert.ok(last!.teacherValidationAccuracy! > 0.9);
      assert.equal(last!.validationAccuracy, 1); // the student's, as scored
      assert.ok(last!.studentLoss! < Math.log(64), "better than uniform");
      const lines = await readLog(join(folder, "run", "log.jsonl"));
      assert.deepEqual(
        lines.map(({ type }) => type),
        ["run", ...new Array<string>(12).fill("epoch"), "result"],
      );
      assert.ok((lines[12]!.validationLoss as number) > 0); // the teacher's
      for (const name of [BEST, LAST]) {
        const { model, epoch, metrics } = await readCheckpoint(
          join(folder, "run", name),
        );
        assert.equal(epoch, 12);
        assert.deepEqual(metrics, last);
        for (const [name, variable] of model.parameters) {
          const values = await variable.data();
          assert.ok(values.some((value) => value !== 0), name);
        }
        disposeParameters(model.parameters);
      }
    });
  },
);

testOnWasm("the same seed gives the same network", async () => {
  const trained: Record<string, number[]>[] = [];
  for (let again = 0; again < 2; again++) {
    await inFolder(async (folder) => {
      await run(folder, { config: toyConfig({ epochs: 2 }) });
      trained.push(await parametersOf(join(folder, "run", BEST)));
    });
  }
  assert.deepEqual(trained[0], trained[1]);
});

testOnWasm(
  "a run that was stopped continues after its last whole phase",
  async () => {
    await inFolder(async (whole) => {
      const config = toyConfig({ epochs: 2 });
      await run(whole, { config });
      const expected = await parametersOf(join(whole, "run", BEST));
      // In the features, in the teacher's epochs, in the student's steps.
      for (const [epoch, step] of [[1, 20], [2, 3], [2, 60]]) {
        await inFolder(async (folder) => {
          const controller = new AbortController();
          await assert.rejects(
            run(folder, {
              config,
              signal: controller.signal,
              onProgress(progress) {
                if (progress.epoch === epoch && progress.step === step) {
                  controller.abort();
                }
              },
            }),
            { name: "AbortError" },
          );
          await run(folder, { config, resume: true });
          assert.deepEqual(
            await parametersOf(join(folder, "run", BEST)),
            expected,
          );
          const lines = await readLog(join(folder, "run", "log.jsonl"));
          assert.equal(lines.filter(({ type }) => type === "epoch").length, 2);
        });
      }
      const { last } = await run(whole, { config, resume: true });
      assert.equal(last!.validationAccuracy, 1);
      await assert.rejects(run(whole, { config, resume: true, seed: 4 }), {
        name: CheckpointError.name,
        message: /started with seed 3/,
      });
    });
  },
);

testOnWasm(
  "features are read once if they fit, else twice, copies and all",
  async () => {
    for (const [bytes, times] of [[512e6, 1], [1000, 2]] as const) {
      await inFolder(async (folder) => {
        const features = new ToyFeatures();
        await run(folder, {
          config: toyConfig({ epochs: 1 }),
          features,
          memory: new Memory(bytes),
        });
        const ofTraining = features.calls.filter(({ copy }) => copy !== "");
        assert.equal(ofTraining.length, 24 * times);
        assert.equal(features.calls.length, 48 * times + 8);
      });
    }
  },
);

testOnWasm("without a change of colours there are no copies", async () => {
  await inFolder(async (folder) => {
    const features = new ToyFeatures();
    const config = teacherAlone({ epochs: 1 });
    Object.assign(config.training.augmentation, { brightness: 0, stains: 0 });
    await run(folder, { config, features });
    assert.equal(features.calls.length, 24 + 8);
  });
});

testOnWasm(
  "a grid that is too large, or none, is an error that says what to do",
  async () => {
    const dense = {
      maxLocations: 63,
      copies: 0,
      locations: 20,
      strongest: 0,
      objectWeight: 1,
      dropout: true,
    };
    const mean = toyConfig();
    mean.network.head = "mean";
    for (
      const [config, message] of [
        [
          toyConfig({ dense }),
          /0\.png: it has 64, .* raise that, set a larger/,
        ],
        [toyConfig({}, { subTileStride: null }), /set view\.tileStride=16/],
        [mean, /set network\.head=evidence/],
      ] as const
    ) {
      await inFolder(async (folder) => {
        await assert.rejects(run(folder, { config }), {
          name: ConfigError.name,
          message,
        });
      });
    }
  },
);

testOnWasm(
  "a setting that has no effect is an error that names it",
  async () => {
    const settings: [Partial<Config["training"]>, string][] = [
      [{ patience: 3 }, "patience=3"],
      [{ entropyWeight: 0.5 }, "entropyWeight=0.5"],
      [{ gradient: "ats" }, 'gradient="ats"'],
      [{ schedule: { kind: "cosine", final: 0.5 } }, "schedule={"],
      [
        { saliencyWarmStart: { steps: 1, frozenEpochs: 0 } },
        "saliencyWarmStart",
      ],
      [
        {
          augmentation: {
            ...toyConfig().training.augmentation,
            placement: true,
          },
        },
        "augmentation.placement=true",
      ],
    ];
    await inFolder(async (folder) => {
      for (const [changes, named] of settings) {
        await assert.rejects(run(folder, { config: toyConfig(changes) }), {
          name: ConfigError.name,
          message: RegExp(
            `with training\\.${
              RegExp.escape(named)
            }.* leave it at .*dense=null`,
          ),
        });
      }
    });
  },
);

testOnWasm("a loss that is no number ends the training", async () => {
  await inFolder(async (folder) => {
    const config = toyConfig({ learningRate: 1e200 });
    await assert.rejects(run(folder, { config }), {
      name: TrainingError.name,
      message: /loss of the teacher is .*; lower training\.learningRate/,
    });
  });
});

testOnWasm(
  "the encoder of the model reads the features, and its draws are scored",
  async () => {
    await inFolder(async (folder) => {
      const entries = await writePictures(folder, 0, 10);
      const cache = new ImageCache(2 ** 24);
      const { last } = await trainDense({
        classes: CLASSES,
        train: entries.slice(0, 6),
        validation: entries.slice(6),
      }, {
        folder: join(folder, "run"),
        config: toyConfig({ epochs: 2 }),
        seed: 3,
        cache,
        memory: new Memory(),
        resume: false,
        environment: {},
        featureCache: new FeatureCache(join(folder, "features"), 1e8),
      });
      cache.close();
      assert.ok(last!.teacherValidationLoss! > 0);
      assert.ok(last!.validationLoss! > 0);
      const kept = await Array.fromAsync(
        Deno.readDir(join(folder, "features")),
      );
      assert.equal(kept.length, 2 * 6 + 4);
    });
  },
);

/** Counts the features that are made in this thread. */
class CountingCache extends FeatureCache {
  made = 0;

  override features(
    source: FeatureSource,
    make: () => Promise<Float32Array>,
  ): Promise<Float32Array> {
    return super.features(source, () => {
      this.made++;
      return make();
    });
  }
}

/** Trains on 6 images with scattering, 4 for validation. */
async function runByWorkers(folder: string, workers: number) {
  const entries = await writePictures(folder, 0, 10);
  const cache = new ImageCache(2 ** 24);
  const featureCache = new CountingCache(join(folder, "features"), 1e8);
  try {
    await trainDense({
      classes: CLASSES,
      train: entries.slice(0, 6),
      validation: entries.slice(6),
    }, {
      folder: join(folder, "run"),
      config: teacherAlone({ epochs: 2 }),
      seed: 3,
      cache,
      memory: new Memory(),
      resume: false,
      environment: {},
      featureCache,
      parallel: { workers, imageBytes: 2 ** 24 },
    });
  } finally {
    cache.close();
  }
  return {
    made: featureCache.made,
    parameters: await parametersOf(join(folder, "run", BEST)),
  };
}

/** Trains on images of which two go bad: while features and views are read. */
async function runOnBadImages(
  folder: string,
  options: Partial<DenseOptions>,
): Promise<{ run: ReturnType<typeof run>; epochs: string[][] }> {
  const cache = new ImageCache(0); // holds none that is read again
  const epochs: string[][] = [];
  const spoil = (index: number) =>
    Deno.writeTextFileSync(join(folder, `${index}.png`), "no picture");
  const training = run(folder, {
    config: toyConfig({ epochs: 2 }),
    cache,
    onProgress({ epoch, step, loss }) {
      if (epoch === 1 && step === 4 && Number.isNaN(loss)) spoil(20);
      if (epoch === 2 && step === 1) spoil(3);
    },
    onEpoch({ skipped }) {
      epochs.push(skipped.map(({ image }) => image));
    },
    ...options,
  });
  await training.catch(() => {});
  cache.close();
  return { run: training, epochs };
}

testOnWasm(
  "images that go bad later are read again, then left out of the run",
  async () => {
    await inFolder(async (folder) => {
      const { run, epochs } = await runOnBadImages(folder, { skipBad: true });
      const { last } = await run;
      assert.ok(last!.studentLoss! > 0);
      assert.deepEqual(epochs, [["20.png"], ["20.png"]]);
      const lines = await readLog(join(folder, "run", "log.jsonl"));
      const skipped = lines.map(({ skipped }) =>
        (skipped as SkippedImage[] | undefined)?.map(({ image, line }) =>
          `${image} ${line}`
        )
      );
      assert.deepEqual(skipped, [
        undefined,
        ["20.png 22"],
        ["20.png 22"],
        ["20.png 22", "3.png 5"],
      ]);
    });
  },
);

testOnWasm(
  "images that go bad later stop a run that is to skip none",
  async () => {
    await inFolder(async (folder) => {
      const { run } = await runOnBadImages(folder, {});
      await assert.rejects(run, {
        name: ImageFormatError.name,
        message: /20\.png/,
      });
    });
  },
);

testOnWasm("a file that is bad for a moment changes nothing", async () => {
  await inFolder(async (whole) => {
    const config = toyConfig({ epochs: 2 });
    await run(whole, { config });
    await inFolder(async (folder) => {
      const path = join(folder, "20.png");
      let bytes: Uint8Array | undefined;
      await run(folder, {
        config,
        cache: new ImageCache(0),
        skipBad: true,
        onProgress({ epoch, step, loss }) {
          if (epoch !== 1 || !Number.isNaN(loss)) return;
          if (step === 4) {
            bytes = Deno.readFileSync(path);
            Deno.removeSync(path);
          }
        },
        features: new class extends ToyFeatures {
          override read(...args: Parameters<ToyFeatures["read"]>) {
            // Images 0 to 19 and their copies: the next one fails once.
            if (this.calls.length === 2 * 20 - 1 && bytes) {
              globalThis.setTimeout(
                () => Deno.writeFileSync(path, bytes!),
                200,
              );
            }
            return super.read(...args);
          }
        }(),
      });
      assert.deepEqual(
        await parametersOf(join(folder, "run", BEST)),
        await parametersOf(join(whole, "run", BEST)),
      );
      const lines = await readLog(join(folder, "run", "log.jsonl"));
      assert.ok(lines.every(({ skipped }) => skipped === undefined));
    });
  });
});

testOnWasm("workers share the features of the training images", async () => {
  await inFolder(async (one) => {
    await inFolder(async (other) => {
      const alone = await runByWorkers(one, 1);
      const together = await runByWorkers(other, 2);
      assert.equal(alone.made, 2 * 6 + 4);
      assert.ok(together.made < alone.made);
      assert.deepEqual(together.parameters, alone.parameters);
    });
  });
});

testOnWasm("a worker names the image that it cannot read", async () => {
  await inFolder(async (folder) => {
    const entries = await writePictures(folder, 0, 2);
    await Deno.writeTextFile(entries[0]!.path, "no picture");
    const config = toyConfig();
    const kept = keepFeatures(
      { classes: CLASSES, normalisation: null },
      entries,
      {
        config,
        seed: 1,
        memory: new Memory(),
        featureCache: new FeatureCache(join(folder, "features"), 1e8),
        parallel: { workers: 2, imageBytes: 2 ** 24 },
        readImage: (_, read) => read(),
        keep: () => Promise.resolve(), // the second one: the worker has the first
        beforeImage: () => Promise.resolve(),
        onImage() {},
      },
    );
    await assert.rejects(kept, {
      name: ImageFormatError.name,
      message: /0\.png/,
    });
  });
});
