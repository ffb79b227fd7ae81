import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { join } from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import type { ManifestEntry } from "../../lib/data/manifest.ts";
import {
  CheckpointError,
  ImageError,
  TrainingError,
} from "../../lib/errors.ts";
import { fitCalibration, LEAST_IMAGES } from "../../lib/eval/calibration.ts";
import { evaluate, scoredImages } from "../../lib/eval/evaluate.ts";
import { randomKey } from "../../kernels/random.ts";
import { lookWhole } from "../../lib/model/look/whole.ts";
import { score } from "../../lib/model/zoom_in.ts";
import { predict } from "../../lib/eval/predict.ts";
import { ImageCache } from "../../lib/image/image_cache.ts";
import { openImage } from "../../lib/image/open.ts";
import { encodePng } from "../../lib/image/formats/png.ts";
import type { Pyramid } from "../../lib/image/pyramid.ts";
import { startEngine } from "../../lib/engine/select.ts";
import { Memory } from "../../lib/memory.ts";
import {
  BEST,
  LAST,
  readCheckpoint,
  readCheckpointInfo,
} from "../../lib/model/checkpoint.ts";
import type { Config } from "../../lib/model/config.ts";
import { disposeParameters } from "../../lib/model/parameters.ts";
import { preset } from "../../lib/model/presets.ts";
import { AdamW } from "../../lib/train/optimizer.ts";
import { type LogLine, readLog } from "../../lib/train/run_log.ts";
import { trainStep } from "../../lib/train/step/step.ts";
import {
  train,
  type TrainingData,
  type TrainOptions,
} from "../../lib/train/trainer.ts";
import { ignoreGpu, testOnEngines, testOnWasm } from "../engines.ts";
import { drawnImage, JointMemory, toyModel } from "../model/toy.ts";
import { eventually } from "../waiting.ts";

const CLASSES = ["negative", "positive"];

/** A grainy image of 64 x 64 px; a positive one has a red square of 20 px. */
function picture(index: number): Pyramid {
  const [left, top] = [(index * 23) % 44, (index * 37) % 44];
  return drawnImage({ width: 64, height: 64 }, (x, y) => {
    const inside = x >= left && x < left + 20 && y >= top && y < top + 20;
    const grain = (x * 31 + y * 17 + index * 7 + (x * y) % 13) % 40;
    return index % 2 === 1 && inside
      ? [200 + grain, 40, 50]
      : [90 + grain, 110 + grain, 120];
  });
}

/** A folder that is gone after the test. */
async function inFolder(test: (folder: string) => Promise<void>) {
  const folder = await Deno.makeTempDir();
  try {
    await test(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Images by name in a folder of their own. */
async function writeImages(
  folder: string,
  draw: (index: number) => Pyramid,
  count: number,
): Promise<ManifestEntry[]> {
  return await Promise.all(Array.from({ length: count }, async (_, i) => {
    const { width, height, read } = pyramidReader(draw(i));
    const path = join(folder, `${i}.png`);
    await Deno.writeFile(path, await encodePng(await read({ width, height })));
    return {
      image: `${i}.png`,
      path,
      label: CLASSES[i % 2]!,
      classIndex: i % 2,
      stains: null,
      manifest: "manifest.csv",
      line: i + 2,
    };
  }));
}

function pyramidReader(pyramid: Pyramid) {
  const { width, height } = pyramid;
  return {
    width,
    height,
    read: (size: { width: number; height: number }) =>
      pyramid.read({ x: 0, y: 0, ...size }, 0),
  };
}

/** A small network that sees 64-px images, two images a step. */
function toyConfig(
  training: Partial<Config["training"]> = {},
  network: Partial<Config["network"]> = {},
): Config {
  const config = preset("needle");
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
    batchSize: 2,
    learningRate: 3e-3,
    attentionLearningRate: 3e-3,
    contrastiveFrom: 2,
  }, training);
  Object.assign(config.network, network);
  return config;
}

/** Runs a training in `folder` on images kept beside it. */
async function run(
  folder: string,
  { entries, validation = [], config, ...rest }:
    & { entries: readonly ManifestEntry[]; validation?: ManifestEntry[] }
    & { config: Config }
    & Partial<TrainOptions>,
) {
  const cache = new ImageCache(2 ** 24);
  const data: TrainingData = { classes: CLASSES, train: entries, validation };
  try {
    return await train(data, {
      folder,
      config,
      seed: 3,
      cache,
      memory: new Memory(),
      resume: false,
      environment: { test: true },
      ...rest,
    });
  } finally {
    cache.close();
  }
}

/** Epoch lines without times. */
async function traceOf(folder: string): Promise<Partial<LogLine>[]> {
  const lines = await readLog(join(folder, "log.jsonl"));
  return lines.filter(({ type }) => type === "epoch").map(
    (
      {
        trainSeconds: _,
        seconds: __,
        cpuSeconds: ___,
        peakBytes: ____,
        ...figures
      },
    ) => figures,
  );
}

/** A digest of every parameter of a checkpoint, by name. */
async function parametersOf(path: string): Promise<Map<string, string>> {
  const { model } = await readCheckpoint(path);
  const values = new Map<string, string>();
  for (const [name, variable] of model.parameters) {
    values.set(
      name,
      createHash("sha256").update(await variable.data()).digest("hex"),
    );
  }
  disposeParameters(model.parameters);
  return values;
}

testOnWasm("training lowers the loss", async () => {
  await inFolder(async (folder) => {
    const entries = await writeImages(folder, picture, 8);
    const epochs = 16;
    const out = join(folder, "run");
    const result = await run(out, {
      entries,
      config: toyConfig({ epochs, batchSize: 4, contrastiveFrom: null }),
    });
    assert.equal(result.epochs, epochs);
    const losses = (await traceOf(out)).map(({ loss }) => loss as number);
    assert.equal(losses.length, epochs);
    const mean = (part: number[]) =>
      part.reduce((a, b) => a + b, 0) / part.length;
    const first = mean(losses.slice(0, 2)), last = mean(losses.slice(-2));
    assert.ok(last < first - 0.05, `${losses}`);
  });
});

testOnWasm("a seed gives one trace, another seed another", async () => {
  await inFolder(async (folder) => {
    const entries = await writeImages(folder, picture, 5);
    const config = toyConfig();
    const traces = [];
    for (const [i, seed] of [3, 3, 4].entries()) {
      const out = join(folder, `run ${i}`);
      await run(out, {
        entries: entries.slice(0, 4),
        validation: entries.slice(4),
        config,
        seed,
      });
      traces.push(await traceOf(out));
    }
    assert.deepEqual(traces[1], traces[0]);
    assert.notDeepEqual(traces[2], traces[0]);
    assert.deepEqual(
      await parametersOf(join(folder, "run 1", LAST)),
      await parametersOf(join(folder, "run 0", LAST)),
    );
  });
});

/** Four images to train on and twenty for validation. */
async function calibrationSet(folder: string) {
  const images = await writeImages(folder, picture, 4 + LEAST_IMAGES);
  return { entries: images.slice(0, 4), validation: images.slice(4) };
}

testOnWasm(
  "checkpoints are calibrated on their epoch's validation images",
  async () => {
    await inFolder(async (folder) => {
      const { entries, validation } = await calibrationSet(folder);
      const [whole, cut] = [join(folder, "whole"), join(folder, "cut")];
      const config = toyConfig({ epochs: 3 });
      await run(whole, { entries, validation, config });
      const { model } = await readCheckpoint(join(whole, LAST));
      const { images } = await evaluate(
        { ...model, calibration: null },
        validation,
        { cache: new ImageCache(0), seed: 0 },
      );
      disposeParameters(model.parameters);
      assert.ok(model.calibration!.temperature > 0);
      assert.deepEqual(
        model.calibration,
        fitCalibration(scoredImages(images, CLASSES), 3),
      );

      // Resumed from a calibrated checkpoint, it trains as if it were not one.
      const first = toyConfig({ epochs: 1 });
      await run(cut, { entries, validation, config: first });
      await run(cut, { entries, validation, config, resume: true });
      assert.deepEqual(await traceOf(cut), await traceOf(whole));
      for (const name of [BEST, LAST]) {
        const [one, other] = await Promise.all(
          [cut, whole].map((run) => readCheckpointInfo(join(run, name))),
        );
        assert.deepEqual(one!.calibration, other!.calibration);
        assert.notEqual(one!.calibration, null);
      }
    });
  },
);

testOnWasm(
  "without validation images a model gives the softmax of its logits",
  async () => {
    await inFolder(async (folder) => {
      const { entries } = await calibrationSet(folder);
      await run(folder, { entries, config: toyConfig({ epochs: 1 }) });
      const { model } = await readCheckpoint(folder);
      assert.equal(model.calibration, null);
      const image = picture(1), seed = 5;
      const memory = new Memory();
      const look = await lookWhole(model, [{
        pyramid: image,
        key: randomKey(seed, 201), // that of classification
        densities: null,
      }], { ...model.config.evaluation, memory });
      const expected = tf.tidy(() =>
        tf.softmax(score(model, look).logits).arraySync() as number[][]
      );
      look.dispose();
      const { predictions } = await predict(model, [image], { seed, memory });
      assert.deepEqual(predictions[0]!.probabilities, expected[0]);
      disposeParameters(model.parameters);
    });
  },
);

testOnEngines(
  "a run that was cut off continues as if it had not been",
  async () => {
    await inFolder(async (folder) => {
      const images = await writeImages(folder, picture, 5);
      const entries = images.slice(0, 4), validation = images.slice(4);
      const config = toyConfig({ epochs: 3 });
      const [whole, cut] = [join(folder, "whole"), join(folder, "cut")];
      const wholeResult = await run(whole, { entries, validation, config });

      const interrupt = new AbortController();
      const cutOff = run(cut, {
        entries,
        validation,
        config,
        signal: interrupt.signal,
        onProgress: ({ epoch, step }) => {
          if (epoch === 2 && step === 1) interrupt.abort(new Error("cut off"));
        },
      });
      await assert.rejects(cutOff, /^Error: cut off$/);
      assert.equal((await traceOf(cut)).length, 1);
      // A crash in the middle of a line leaves this behind.
      await Deno.writeTextFile(join(cut, "log.jsonl"), '{"type":"epo', {
        append: true,
      });
      const result = await run(cut, {
        entries,
        validation,
        config,
        resume: true,
      });

      assert.deepEqual(result, wholeResult);
      assert.deepEqual(await traceOf(cut), await traceOf(whole));
      for (const name of [BEST, LAST]) {
        assert.deepEqual(
          await parametersOf(join(cut, name)),
          await parametersOf(join(whole, name)),
        );
      }
      const runs = (await readLog(join(cut, "log.jsonl")))
        .filter(({ type }) => type === "run");
      assert.equal(runs.length, 2);
    });
  },
);

testOnEngines(
  "a resumed run takes the training settings it is given",
  async () => {
    await inFolder(async (folder) => {
      const entries = await writeImages(folder, picture, 4);
      await run(folder, { entries, config: toyConfig({ epochs: 1 }) });
      const before = await parametersOf(join(folder, LAST));
      await run(folder, {
        entries,
        resume: true,
        config: toyConfig({
          epochs: 2,
          learningRate: 1e-20, // no number of float32 moves
          attentionLearningRate: 1e-20,
          weightDecay: 0,
        }),
      });
      const after = await parametersOf(join(folder, LAST));
      assert.deepEqual(
        after.get("f/conv2/weight"),
        before.get("f/conv2/weight"),
      );
      assert.deepEqual(
        after.get("a/conv1/weight"),
        before.get("a/conv1/weight"),
      );
      const { model, epoch } = await readCheckpoint(join(folder, LAST));
      assert.equal(epoch, 2);
      assert.equal(model.config.training.learningRate, 1e-20);
      disposeParameters(model.parameters);
    });
  },
);

testOnWasm("the last epoch is the best where nothing chooses it", async () => {
  await inFolder(async (folder) => {
    const entries = await writeImages(folder, picture, 2);
    const config = toyConfig({ epochs: 3 });
    const out = join(folder, "run");
    const { bestEpoch } = await run(out, { entries, config });
    assert.equal(bestEpoch, 3);
    const best = await readCheckpoint(join(out, BEST));
    assert.equal(best.epoch, 3);
    disposeParameters(best.model.parameters);
  });
});

testOnWasm(
  "the published protocol takes the first epoch of the best accuracy",
  async () => {
    await inFolder(async (folder) => {
      const images = await writeImages(folder, picture, 14);
      const data: TrainingData = {
        classes: CLASSES,
        train: images.slice(0, 4),
        validation: [],
        chosenOnTest: images.slice(4),
      };
      const cache = new ImageCache(2 ** 24);
      const { bestEpoch } = await train(data, {
        folder: join(folder, "run"),
        seed: 3,
        cache,
        memory: new Memory(),
        resume: false,
        config: toyConfig({ epochs: 6, learningRate: 0.02 }),
        environment: {},
      });
      cache.close();
      const trace = await traceOf(join(folder, "run"));
      const found = trace.map(({ testAccuracy }) => testAccuracy as number);
      assert.ok(new Set(found).size > 1, `all are alike: ${found}`);
      assert.equal(bestEpoch, 1 + found.indexOf(Math.max(...found)));
    });
  },
);

testOnWasm("the contrastive term is on from its epoch on", async () => {
  await inFolder(async (folder) => {
    const entries = await writeImages(folder, picture, 2);
    const losses = async (contrastiveFrom: number | null) => {
      const out = join(folder, `from ${contrastiveFrom}`);
      await run(out, {
        entries,
        config: toyConfig({ epochs: 2, contrastiveFrom }),
      });
      return (await traceOf(out)).map(({ loss }) => loss as number);
    };
    const [never, first, second] = [
      await losses(null),
      await losses(1),
      await losses(2),
    ];
    assert.ok(first[0]! > never[0]! + 0.1, "a term more");
    assert.equal(second[0], never[0]);
    assert.ok(second[1]! > never[1]! + 0.1);
  });
});

testOnEngines("a run is not resumed under another seed", async () => {
  await inFolder(async (folder) => {
    const entries = await writeImages(folder, picture, 2);
    const config = toyConfig({ epochs: 0 });
    await run(folder, { entries, config });
    await assert.rejects(
      run(folder, { entries, config, seed: 9, resume: true }),
      (error: Error) =>
        error instanceof CheckpointError &&
        /seed 9.*seed 3/.test(error.message),
    );
  });
});

testOnEngines("zero epochs write the start as best and last", async () => {
  await inFolder(async (folder) => {
    const entries = await writeImages(folder, picture, 2);
    const config = toyConfig({ epochs: 0 });
    const result = await run(folder, { entries, config });
    assert.deepEqual(result, { epochs: 0, bestEpoch: 0, last: undefined });
    const best = await parametersOf(join(folder, BEST));
    assert.deepEqual(await parametersOf(join(folder, LAST)), best);
    assert.deepEqual(await traceOf(folder), []);
  });
});

testOnEngines(
  "image by image the gradients add up to the batch's",
  async () => {
    await inFolder(async (folder) => {
      const entries = await writeImages(folder, picture, 4);
      const losses: number[][] = [];
      // a and b see at most 160 px of an image: all four, one, and three.
      for (const pixels of [640, 160, 480]) {
        const out = join(folder, `${pixels}`);
        const config = toyConfig({ batchSize: 4 });
        await run(out, { entries, config, memory: new JointMemory(pixels) });
        losses.push((await traceOf(out)).map(({ loss }) => loss as number));
      }
      for (const other of losses.slice(1)) {
        other.forEach((loss, epoch) => {
          const whole = losses[0]![epoch]!;
          // A draw that falls the other way by rounding would show as 0.01.
          assert.ok(Math.abs(loss - whole) < 1e-4, `${loss}, not ${whole}`);
        });
      }
    });
  },
);

testOnEngines("a warm start on flat pictures leaves weights", async () => {
  await inFolder(async (folder) => {
    const flat = () =>
      drawnImage({ width: 64, height: 64 }, () => [255, 255, 255]);
    const entries = await writeImages(folder, flat, 2);
    const saliencyWarmStart = { steps: 3, frozenEpochs: 0 };
    const config = toyConfig(
      { epochs: 0, saliencyWarmStart },
      { normaliseInput: false },
    );
    await run(join(folder, "run"), { entries, config });
    const { model } = await readCheckpoint(join(folder, "run", LAST));
    for (const [name, variable] of model.parameters) {
      assert.ok((await variable.data()).every(Number.isFinite), name);
    }
    disposeParameters(model.parameters);
  });
});

testOnWasm("a warm start looks where training does", async () => {
  await inFolder(async (folder) => {
    const entries = await writeImages(folder, picture, 2);
    const corner = drawnImage(
      { width: 64, height: 64 },
      (x, y) => x < 16 && y < 16 ? [255, 255, 255] : [0, 0, 0],
    );
    const path = join(folder, "mask.png");
    const size = { width: 64, height: 64 };
    const mask = await pyramidReader(corner).read(size);
    await Deno.writeFile(path, await encodePng(mask));
    const saliencyWarmStart = { steps: 3, frozenEpochs: 0 };
    const config = toyConfig({ epochs: 0, saliencyWarmStart });
    const weights = async (foreground?: TrainOptions["foreground"]) => {
      const out = join(folder, foreground?.kind ?? "everywhere");
      await run(out, { entries, config, foreground });
      return (await parametersOf(join(out, LAST))).get("b/conv1/weight");
    };
    const everywhere = await weights();
    assert.deepEqual(await weights({ kind: "none" }), everywhere);
    assert.notDeepEqual(await weights({ kind: "mask", path }), everywhere);
  });
});

testOnWasm(
  "after a warm start attention stays frozen, then moves",
  async () => {
    await inFolder(async (folder) => {
      const entries = await writeImages(folder, picture, 4);
      const parameters = [];
      for (const epochs of [0, 1, 2]) {
        const out = join(folder, `${epochs}`);
        const saliencyWarmStart = { steps: 2, frozenEpochs: 1 };
        await run(out, {
          entries,
          config: toyConfig({ epochs, saliencyWarmStart }),
        });
        parameters.push(await parametersOf(join(out, LAST)));
      }
      const [start, frozen, free] = parameters;
      for (const name of ["a/conv1/weight", "b/conv3/weight", "a/conv2/bias"]) {
        assert.deepEqual(frozen!.get(name), start!.get(name), name);
        assert.notDeepEqual(free!.get(name), start!.get(name), name);
      }
      assert.notDeepEqual(frozen!.get("g/weight"), start!.get("g/weight"));
      assert.notDeepEqual(
        frozen!.get("f/conv1/weight"),
        start!.get("f/conv1/weight"),
      );
      // The warm start itself did move it.
      const cold = join(folder, "cold");
      await run(cold, { entries, config: toyConfig({ epochs: 0 }) });
      assert.notDeepEqual(
        (await parametersOf(cold)).get("a/conv1/weight"),
        start!.get("a/conv1/weight"),
      );
    });
  },
);

testOnWasm("training stops when validation gets no better", async () => {
  await inFolder(async (folder) => {
    const images = await writeImages(folder, picture, 6);
    const config = toyConfig({
      epochs: 9,
      patience: 2,
      learningRate: 1e-20, // nothing moves: no epoch beats the first
      attentionLearningRate: 1e-20,
      weightDecay: 0,
    }, { centreFeatures: false });
    const result = await run(folder, {
      entries: images.slice(0, 4),
      validation: images.slice(4),
      config,
    });
    assert.equal(result.bestEpoch, 1);
    assert.equal(result.epochs, 3);
    const best = await readCheckpoint(join(folder, BEST));
    assert.equal(best.epoch, 1);
    disposeParameters(best.model.parameters);
    // Resumed, it is still over.
    const again = await run(folder, {
      entries: images.slice(0, 4),
      validation: images.slice(4),
      config,
      resume: true,
    });
    assert.equal(again.epochs, 3);
  });
});

testOnWasm("a validation image is opened before the first step", async () => {
  await inFolder(async (folder) => {
    const images = await writeImages(folder, picture, 5);
    await Deno.writeTextFile(images[4]!.path, "no image");
    const out = join(folder, "run");
    let steps = 0;
    const training = run(out, {
      entries: images.slice(0, 4),
      validation: images.slice(4),
      config: toyConfig(),
      onProgress: () => steps++,
    });
    await assert.rejects(
      training,
      (error: Error) =>
        error instanceof ImageError && /4\.png/.test(`${error}`),
    );
    assert.equal(steps, 0);
    await assert.rejects(Deno.stat(join(out, LAST)), Deno.errors.NotFound);
  });
});

testOnEngines(
  "a step leaves nothing behind, the 30th as the 3rd",
  async ({ backend }) => {
    await inFolder(async (folder) => {
      const entries = await writeImages(folder, picture, 2);
      const epochs = backend === "wasm" ? 30 : 6; // a step each
      const tensors: number[] = [], bytes: number[] = [];
      await run(join(folder, "run"), {
        entries,
        config: toyConfig({ epochs }),
        onProgress: () => {
          const memory = tf.memory() as tf.MemoryInfo & {
            numBytesInGPU?: number;
          };
          tensors.push(memory.numTensors);
          bytes.push(memory.numBytesInGPU ?? memory.numBytes);
        },
      });
      assert.equal(tensors.length, epochs);
      assert.equal(tensors.at(-1), tensors[2]);
      assert.equal(bytes.at(-1), bytes[2]);
    });
  },
);

testOnEngines(
  "a rate that ruins the weights ends the run by name",
  async () => {
    await inFolder(async (folder) => {
      const images = await writeImages(folder, picture, 4);
      // Found in the second step, by its draws, or after the last step; where
      // all of the image is one tile, by the draws of stage II.
      const dense = { tileStride: 8, tileSize: 16 };
      const one = { tileStride: 64, tileSize: 64 };
      for (
        const { rate, count, view } of [
          { rate: NaN, count: 4, view: dense },
          { rate: 1e30, count: 4, view: dense },
          { rate: NaN, count: 2, view: dense },
          { rate: 1e12, count: 4, view: one },
        ]
      ) {
        const entries = images.slice(0, count);
        const config = toyConfig({
          learningRate: view === dense ? rate : 3e-3,
          attentionLearningRate: rate,
        });
        Object.assign(config.view, view);
        await assert.rejects(
          run(await Deno.makeTempDir({ dir: folder }), { entries, config }),
          (error: Error) => {
            assert.ok(error instanceof TrainingError, `${error}`);
            assert.match(error.message, /epoch 1.*learningRate/);
            return true;
          },
        );
      }
    });
  },
);

testOnWasm("an image that cannot be read ends the run by name", async () => {
  await inFolder(async (folder) => {
    const entries = await writeImages(folder, picture, 4);
    await Deno.writeTextFile(entries[3]!.path, "not a picture");
    for (const normaliseInput of [true, false]) {
      const config = toyConfig({}, { normaliseInput });
      await assert.rejects(
        run(join(folder, `${normaliseInput}`), { entries, config }),
        (error: Error) =>
          error instanceof ImageError && error.message.includes("3.png"),
      );
    }
  });
});

testOnEngines("a run closes every image, cut off or not", async () => {
  await inFolder(async (folder) => {
    const entries = await writeImages(folder, picture, 6);
    for (const cutAt of [undefined, 1]) {
      let open = 0;
      const cache = new ImageCache(0, (path) => {
        open++;
        const image = picture(
          entries.findIndex((entry) => entry.path === path),
        );
        const close = image.close.bind(image);
        image.close = () => {
          open--;
          close();
        };
        return Promise.resolve(image);
      });
      const interrupt = new AbortController();
      const training = run(join(folder, `${cutAt}`), {
        entries,
        config: toyConfig({ epochs: 1 }),
        cache,
        signal: interrupt.signal,
        onProgress: ({ step }) => {
          if (step === cutAt) interrupt.abort(new Error("cut off"));
        },
      });
      if (cutAt === undefined) await training;
      else await assert.rejects(training, /^Error: cut off$/);
      cache.close();
      await eventually(`all are closed, cut at ${cutAt}`, () => open === 0);
    }
  });
});

testOnWasm("balanced class weights count each class alike", async () => {
  await inFolder(async (folder) => {
    // Black as the padding: the logits do not depend on the draws.
    const black = () => drawnImage({ width: 64, height: 64 }, () => [0, 0, 0]);
    const entries = await writeImages(folder, black, 4);
    entries[3]!.classIndex = 0; // three to one
    const network = {
      normaliseInput: false,
      initialisation: "pytorch",
    } as const;
    const losses: number[] = [];
    for (const classWeights of ["none", "balanced"] as const) {
      const out = join(folder, classWeights);
      const config = toyConfig(
        { epochs: 1, batchSize: 4, classWeights, entropyWeight: 0 },
        network,
      );
      await run(out, { entries, config });
      losses.push((await traceOf(out))[0]!.loss as number);
    }
    const start = join(folder, "start");
    await run(start, { entries, config: toyConfig({ epochs: 0 }, network) });
    const { model } = await readCheckpoint(start);
    const { predictions } = await predict(model, [black()], {
      seed: 0,
      memory: new Memory(),
    });
    const [negative, positive] = predictions[0]!.probabilities.map(Math.log);
    disposeParameters(model.parameters);
    const expected = [
      -(3 * negative! + positive!) / 4,
      -(3 * (4 / 6) * negative! + (4 / 2) * positive!) / 4,
    ];
    losses.forEach((loss, i) => {
      assert.ok(Math.abs(loss - expected[i]!) < 1e-5, `${losses}: ${expected}`);
    });
  });
});

testOnEngines(
  "a step with the residual network reports its gradient",
  async () => {
    const model = toyModel({
      network: { features: "resnet" },
      view: { subTileSize: 9 },
    });
    const optimizer = new AdamW();
    const statistic = model.parameters.get("f/block1/norm1/movingMean")!;
    const images = [0, 1].map((i) => ({
      pyramid: picture(i),
      goal: [i],
      stains: null,
      augmentation: {
        orientation: 1,
        gain: 1,
        densities: null,
        placement: null,
      } as const,
      key: [1, i] as const,
    }));
    const report = await trainStep(model, optimizer, images, {
      rate: 1,
      contrastive: true,
      freezeAttention: false,
      exploration: 1,
      classWeights: [1, 1],
      memory: new Memory(),
    });
    for (const [net, norm] of Object.entries(report.gradientNorms)) {
      assert.ok(norm > 1e-6 && norm < 1e3, `${net}: ${norm}`);
    }
    assert.equal(report.images, 2);
    assert.ok(Number.isFinite(report.loss));
    assert.ok((await statistic.data()).some((value) => value !== 0));
    optimizer.dispose();
    disposeParameters(model.parameters);
  },
);

Deno.test({
  name: "wasm and webgpu train alike",
  ignore: ignoreGpu,
  fn: () =>
    inFolder(async (folder) => {
      const entries = await writeImages(folder, picture, 4);
      const losses: number[] = [];
      for (const backend of ["wasm", "webgpu"] as const) {
        await startEngine(backend);
        const out = join(folder, backend);
        const config = toyConfig({ epochs: 2, batchSize: 4 });
        const { last } = await run(out, { entries, config });
        losses.push(last!.loss!);
      }
      // The second epoch: after one step of Adam, which magnifies rounding.
      assert.ok(Math.abs(losses[0]! - losses[1]!) < 1e-3, `${losses}`);
    }),
});

/** Names of the images that were skipped in each epoch. */
async function skippedOf(folder: string): Promise<string[][]> {
  return (await traceOf(folder)).map(({ skipped = [] }) =>
    (skipped as { image: string }[]).map(({ image }) => image).sort()
  );
}

testOnWasm(
  "files that go bad are skipped for the epoch, if that is wanted",
  async () => {
    await inFolder(async (folder) => {
      const images = await writeImages(folder, picture, 8);
      const [entries, validation] = [images.slice(0, 6), images.slice(6)];
      const files = [entries[1]!, validation[0]!].map(({ path }) => path);
      const good = await Promise.all(files.map((path) => Deno.readFile(path)));
      const options = {
        entries,
        validation,
        config: toyConfig({ epochs: 3, contrastiveFrom: null }),
        cache: new ImageCache(0), // every epoch opens the files
        async onEpoch({ epoch }: { epoch: number }) {
          for (const [i, path] of files.entries()) {
            if (epoch === 1) await Deno.writeTextFile(path, "no image");
            else await Deno.writeFile(path, good[i]!);
          }
        },
      };
      const kept = join(folder, "kept");
      const { epochs } = await run(kept, { ...options, skipBad: true });
      assert.equal(epochs, 3);
      assert.deepEqual(await skippedOf(kept), [[], ["1.png", "6.png"], []]);

      const stopped = join(folder, "stopped");
      await assert.rejects(run(stopped, options), {
        name: "ImageFormatError",
        message: /1\.png/,
      });
    });
  },
);

testOnWasm(
  "images whose pixels cannot be read a second time are left out of a step",
  async () => {
    await inFolder(async (folder) => {
      const entries = await writeImages(folder, picture, 6);
      const failures = new Map([[entries[2]!.path, 1], [entries[4]!.path, 99]]);
      const cache = new ImageCache(0, async (path) => {
        const image = await openImage(path);
        const read = image.read.bind(image);
        image.read = (...region) => {
          const left = failures.get(path) ?? 0;
          if (left === 0) return read(...region);
          failures.set(path, left - 1);
          throw new ImageError(`Cannot read ${image.source}: as if damaged`);
        };
        return image;
      });
      const config = toyConfig({ epochs: 1, contrastiveFrom: null });
      const out = join(folder, "run");
      await run(out, { entries, config, cache, skipBad: true });
      assert.deepEqual(await skippedOf(out), [["4.png"]]);
    });
  },
);
