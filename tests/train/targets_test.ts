import assert from "node:assert/strict";
import { join } from "node:path";
import type { ManifestEntry } from "../../lib/data/manifest.ts";
import { evaluate } from "../../lib/eval/evaluate.ts";
import {
  isTargetReport,
  reportOfTarget,
} from "../../lib/eval/targets/report.ts";
import { ImageCache } from "../../lib/image/image_cache.ts";
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
import { readLog } from "../../lib/train/run_log.ts";
import { train, type TrainOptions } from "../../lib/train/trainer.ts";
import type { Goal, TargetName } from "../../lib/target.ts";
import { testOnEngines, testOnWasm } from "../engines.ts";
import { inFolder, writePictures } from "./dense/toy_images.ts";

const IMAGE_BYTES = 2 ** 20;
const TRAINED = 8, ALL = 14;

type OtherTarget = Exclude<TargetName, "classes">;

/** Names of the model, label and goal of image `i`. */
const SETS: Record<
  OtherTarget,
  { classes: string[]; of: (i: number) => [label: string, goal: Goal] }
> = {
  labels: {
    classes: ["even", "red"],
    of: (i) => {
      const goal = [i % 4 < 2 ? 1 : 0, i % 2];
      const names = ["even", "red"].filter((_, k) => goal[k] === 1);
      return [names.join(";"), goal];
    },
  },
  value: { classes: ["value"], of: (i) => [`${10 * i}`, [10 * i]] },
  ordinal: { classes: ["0", "1", "2"], of: (i) => [`${i % 3}`, [i % 3]] },
  survival: {
    classes: ["risk"],
    of: (i) => {
      const time = 1 + (i * 5) % 7;
      return i % 3 === 0 ? [`${time}+`, [time, 0]] : [`${time}`, [time, 1]];
    },
  },
};

/** A small network that sees 64-px images, four images a step. */
function toyConfig(
  target: OtherTarget,
  network: Partial<Config["network"]> = {},
): Config {
  const config = preset("needle");
  Object.assign(config, { target, referenceClass: null });
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
    batchSize: 4,
    learningRate: 3e-3,
    attentionLearningRate: 3e-3,
  });
  Object.assign(config.network, network);
  return config;
}

async function entriesOf(
  folder: string,
  target: OtherTarget,
): Promise<ManifestEntry[]> {
  const entries = await writePictures(folder, 0, ALL);
  return entries.map((entry, i) => {
    const [label, goal] = SETS[target].of(i);
    return { ...entry, label, goal, classIndex: 0 };
  });
}

/** Trains in `folder`/`name` on images in `folder`. */
async function run(
  folder: string,
  config: Config,
  { name, workers = 1, ...options }: Partial<TrainOptions> & {
    name: string;
    workers?: number;
  },
) {
  const target = config.target as OtherTarget;
  const entries = await entriesOf(folder, target);
  const cache = new ImageCache(IMAGE_BYTES);
  const result = await train({
    classes: SETS[target].classes,
    train: entries.slice(0, TRAINED),
    validation: entries.slice(TRAINED),
  }, {
    folder: join(folder, name),
    config,
    seed: 3,
    cache,
    memory: new Memory(),
    resume: false,
    environment: { test: true },
    ...options,
    parallel: { imageBytes: IMAGE_BYTES, workers },
  });
  cache.close();
  return { entries, result };
}

async function checkpointsOf(folder: string): Promise<Uint8Array[]> {
  return await Promise.all(
    [BEST, LAST].map((name) => Deno.readFile(join(folder, name))),
  );
}

for (const head of ["mean", "evidence"] as const) {
  testOnWasm(
    `the Cox loss over a batch is the same bits with 1, 2 and 3 workers, head ${head}`,
    async () => {
      await inFolder(async (folder) => {
        const config = toyConfig("survival", { head });
        const results = [];
        for (const workers of [1, 2, 3]) {
          const name = `${workers}`;
          const { result } = await run(folder, config, { name, workers });
          results.push({
            last: result.last,
            files: await checkpointsOf(join(folder, name)),
          });
        }
        assert.deepEqual(results[1], results[0]);
        assert.deepEqual(results[2], results[0]);
      });
    },
  );
}

testOnWasm("a survival run with a bad image goes on without it", async () => {
  await inFolder(async (folder) => {
    const config = toyConfig("survival");
    config.network.normaliseInput = false; // reads no image before the steps do
    const entries = await entriesOf(folder, "survival");
    await Deno.writeTextFile(entries[2]!.path, "no image");
    const cache = new ImageCache(IMAGE_BYTES);
    const { epochs } = await train({
      classes: ["risk"],
      train: entries.slice(0, TRAINED),
      validation: [],
    }, {
      folder: join(folder, "run"),
      config,
      seed: 3,
      cache,
      memory: new Memory(),
      resume: false,
      environment: { test: true },
      skipBad: true,
    });
    assert.equal(epochs, 2);
    const lines = await readLog(join(folder, "run", "log.jsonl"));
    const skipped = lines.at(-1)!.skipped as { image: string }[];
    assert.deepEqual(skipped.map(({ image }) => image), ["2.png"]);
    cache.close();
  });
});

const FIGURES: Record<OtherTarget, string[]> = {
  labels: ["Loss", "Auc", "AveragePrecision"],
  value: ["Loss", "Mae", "Spearman", "R2"],
  ordinal: ["Loss", "Accuracy", "Kappa", "Mae"],
  survival: ["Loss", "Concordance"],
};

for (const target of Object.keys(SETS) as OtherTarget[]) {
  testOnEngines(
    `a run of ${target} is trained, read again and scored`,
    async () => {
      await inFolder(async (folder) => {
        for (const head of ["mean", "evidence"] as const) {
          const config = toyConfig(target, { head });
          const { entries, result } = await run(folder, config, { name: head });
          for (const name of FIGURES[target]) {
            assert.ok(`validation${name}` in result.last!, name);
          }
          assert.ok(Number.isFinite(result.last!.loss));
          const hasAccuracy = target === "labels" || target === "ordinal";
          assert.equal("accuracy" in result.last!, hasAccuracy);

          const path = join(folder, head, BEST);
          const { fitted } = await readCheckpointInfo(path);
          assert.equal(fitted?.scale !== undefined, target === "value");
          assert.equal(fitted?.thresholds !== undefined, target === "labels");
          if (target === "value") assert.equal(fitted!.scale!.mean, 35);

          const { model } = await readCheckpoint(path);
          const { classes } = SETS[target];
          const cache = new ImageCache(IMAGE_BYTES);
          const evaluation = await evaluate(model, entries, { cache, seed: 0 });
          const report = await reportOfTarget(evaluation, {
            target,
            classes,
            rois: undefined,
            seed: 0,
          });
          assert.ok(isTargetReport(report));
          assert.equal(report.images, ALL);
          assert.equal(report.byLabel !== undefined, target === "labels");
          assert.equal(report.confusion !== undefined, target === "ordinal");
          cache.close();
          disposeParameters(model.parameters);
        }
      });
    },
  );
}

testOnWasm(
  "a value is scaled by the training images, however it is continued",
  async () => {
    await inFolder(async (folder) => {
      const config = toyConfig("value");
      await run(folder, config, { name: "whole" });
      const controller = new AbortController();
      const stopped = run(folder, config, {
        name: "stopped",
        signal: controller.signal,
        onProgress: ({ epoch, step }) =>
          epoch === 2 && step === 1 && controller.abort(new Error("stop")),
      });
      await assert.rejects(stopped, /^Error: stop$/);
      await run(folder, config, { name: "stopped", resume: true, workers: 2 });
      assert.deepEqual(
        await checkpointsOf(join(folder, "stopped")),
        await checkpointsOf(join(folder, "whole")),
      );
    });
  },
);
