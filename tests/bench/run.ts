/**
 * A step of a whole training run, by one worker and by two: preset colon, noise
 * images of 500x500 px, the wasm engine. The images are decoded in the first
 * epoch; the last ones are timed.
 *
 * @module
 */
import { join } from "node:path";
import { readManifest } from "../../lib/data/manifest.ts";
import type { Engine } from "../../lib/engine/select.ts";
import { ImageCache } from "../../lib/image/image_cache.ts";
import { Memory } from "../../lib/memory.ts";
import { preset } from "../../lib/model/presets.ts";
import { LOG_FILE, readLog } from "../../lib/train/run_log.ts";
import { train } from "../../lib/train/trainer.ts";
import type { Bench, Benchmark } from "./measure.ts";
import { writeImages } from "./program.ts";

const EPOCHS = 16, TIMED = 8; // once the code is warm
const IMAGE_BYTES = 64 * 1024 ** 2;
// Of the sixteen: three whole steps, and one image for validation.
const TRAINED = 15;

export const runBenchmarks: Record<string, Benchmark> = {
  "run-step": runStep,
};

async function runStep({ backend }: Engine): Promise<Bench> {
  if (backend !== "wasm") return { subjects: [], dispose() {} };
  const folder = await Deno.makeTempDir({ prefix: "zoomin-bench-" });
  await writeImages(folder);
  return {
    subjects: [{
      ours: () => stepMs(folder, 2),
      stock: () => stepMs(folder, 1),
      note:
        "a step of a run, 5 of 500x500 px, N = 10, two workers; stock: one worker",
    }],
    dispose: () => Deno.removeSync(folder, { recursive: true }),
  };
}

/** Time of a step in the last epochs of a run, the median. */
async function stepMs(folder: string, workers: number): Promise<number> {
  const { entries, classes } = await readManifest(join(folder, "manifest.csv"));
  const run = await Deno.makeTempDir({ dir: folder });
  const config = preset("colon");
  config.view.foreground = "none"; // noise is no tissue
  config.training.epochs = EPOCHS;
  await train({
    classes,
    train: entries.slice(0, TRAINED),
    validation: entries.slice(TRAINED),
  }, {
    folder: run,
    config,
    seed: 1,
    cache: new ImageCache(IMAGE_BYTES),
    memory: new Memory(),
    resume: false,
    environment: {},
    parallel: { workers, imageBytes: IMAGE_BYTES },
  });
  const lines = await readLog(join(run, LOG_FILE));
  const seconds = lines.filter(({ type }) => type === "epoch").slice(-TIMED)
    .map(({ trainSeconds }) => trainSeconds as number)
    .toSorted((a, b) => a - b);
  const steps = TRAINED / config.training.batchSize;
  return 1000 * seconds[TIMED / 2]! / steps;
}
