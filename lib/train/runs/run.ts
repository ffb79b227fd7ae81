/**
 * Trains a run: its images are checked and split; its folder gets the split, the
 * configuration, the log and the checkpoints. The command line, the server, the
 * demo and programs all train by it.
 *
 * @module
 */
import { resolve } from "node:path";
import { environment } from "../../engine/environment.ts";
import type { Engine } from "../../engine/select.ts";
import { imageCache } from "../../image/image_cache.ts";
import type { OpenOptions } from "../../image/open.ts";
import type { ForegroundChoice } from "../../image/foreground/tissue.ts";
import type { Memory } from "../../memory.ts";
import { boxesRecord, checkBoxes } from "../boxes.ts";
import type { EpochDone, Progress, SkippedImage } from "../epoch_metrics.ts";
import { runData, type RunDataOptions, runSides } from "./run_data.ts";
import { foregroundFile } from "../run_log.ts";
import type { FeatureCache } from "../../encoder/cache.ts";
import { type Parallel, runWorkers } from "../parallel/team.ts";
import type { TrainingData, TrainResult } from "../trainer.ts";
import { setAside, writeSkipped } from "./set_aside.ts";
import { trainAsConfigured } from "./training.ts";

/** Options of {@linkcode trainRun}. */
export interface TrainRunOptions extends Omit<RunDataOptions, "skipped"> {
  /** Bound on the tensors and caches of each worker. */
  memory: Memory;
  /** Bytes of decoded images kept between epochs; the bound's share if omitted. */
  imageBytes?: number | undefined;
  /** Options of opening the images. */
  opening?: Pick<OpenOptions, "fetch" | "maxPixels"> | undefined;
  /**
   * Workers that share the images of a step, on wasm: cores that are used. One a
   * core if omitted and the run is long enough; the results are the same.
   */
  workers?: number | undefined;
  /**
   * Module of Workers that open images as `opening` says, from plain data; with an
   * `opening` of their own alone there are none.
   */
  workerModule?: Pick<Parallel, "module" | "opening"> | undefined;
  /**
   * Other hosts that compute images of its steps, on wasm; see
   * {@linkcode Parallel.hosts}. The results are the same.
   */
  hosts?: Parallel["hosts"];
  /** Foreground that is drawn from; the configuration's if omitted. */
  foreground?: ForegroundChoice | undefined;
  /** Keeps frozen features on disk, for `training.dense`. */
  featureCache?: FeatureCache | undefined;
  /**
   * Goes on without images that cannot be read, for an epoch or for all; they are
   * errors if omitted.
   */
  skipBad?: boolean | undefined;
  /** Called after each image is opened, before the first epoch. */
  onOpened?: ((done: number, total: number) => void) | undefined;
  /** Called once the images are known, with those that were set aside. */
  onStart?: (data: TrainingData, skipped: readonly SkippedImage[]) => void;
  /** Called after each step. */
  onProgress?: (progress: Progress) => void;
  /** Awaited after each epoch, once it is logged. */
  onEpoch?: (done: EpochDone) => void | Promise<void>;
  /** Awaited before each step: more urgent work goes first. */
  turn?: () => Promise<void>;
  /** Stops the training; `resume` continues it after its last whole epoch. */
  signal?: AbortSignal | undefined;
}

/** A trained run. */
export interface TrainedRun extends TrainResult {
  /** Warnings of decoders by the path of the image. */
  warnings: ReadonlyMap<string, readonly string[]>;
  /** Images that could not be read, and are in no part of the run. */
  skipped: readonly SkippedImage[];
}

/**
 * Trains a run, or continues it if `resume` is set. The folder then has
 * `best.safetensors` and `last.safetensors` for {@linkcode readCheckpoint}.
 *
 * @param engine the current one, of {@linkcode startEngine}.
 * @throws {DataError} If there is nothing to learn, or a picture is on two sides
 *   of the split, or an annotated object outside of its image.
 * @throws {UsageError} If a run would continue with other images.
 * @throws {TrainingError} If the loss is no longer a number.
 * @throws {ImageError} If images cannot be read, with all of them.
 * @throws {EngineError} If the engine was lost.
 *
 * @example
 * ```ts
 * import { Memory, preset, readManifest, startEngine, trainRun } from "@zoomin/zoomin";
 *
 * const { bestEpoch } = await trainRun(await startEngine("auto"), {
 *   manifest: await readManifest("manifest.csv"),
 *   config: preset("needle"),
 *   folder: "run",
 *   memory: new Memory(),
 *   seed: 0,
 *   test: 0.2,
 *   resume: false,
 * });
 * ```
 */
export async function trainRun(
  engine: Engine,
  { onStart, onProgress, opening, ...options }: TrainRunOptions,
): Promise<TrainedRun> {
  const sides = await runSides(options); // its faults, before images are opened
  const skipped = await unreadable({ ...options, opening });
  const data = await runData(sides, { ...options, skipped });
  await writeSkipped(options.folder, skipped);
  onStart?.(data, skipped);
  const parallel = sharing(data, { ...options, opening });
  const cache = imageCache(options.memory, parallel.imageBytes, opening);
  try {
    const { boxes } = data;
    if (boxes) await checkBoxes(boxes, data.train, { ...options, cache });
    const result = await engine.whileAlive(() =>
      trainAsConfigured(data, {
        ...options,
        cache,
        parallel,
        environment: {
          ...environment(engine),
          data: resolve(options.manifest.path),
          foreground: foregroundFile(options.foreground),
          ...boxesRecord(boxes),
          ...(skipped.length > 0 && { skipped }),
        },
        onProgress(progress) {
          engine.assertAlive(); // before weights of a failed engine are saved
          onProgress?.(progress);
        },
      })
    );
    return { ...result, warnings: cache.warnings, skipped };
  } finally {
    cache.close();
  }
}

/** Opens all images; those that a run goes without. */
async function unreadable(
  { manifest, memory, opening, ...options }: Omit<
    TrainRunOptions,
    "onStart" | "onProgress"
  >,
): Promise<SkippedImage[]> {
  const cache = imageCache(memory, 0, opening);
  try {
    return await setAside(manifest.entries, { ...options, cache });
  } finally {
    cache.close();
  }
}

/** How a run is shared by its workers, who also share what keeps images. */
function sharing(
  { train }: TrainingData,
  { config, memory, imageBytes, opening, workerModule, ...options }:
    TrainRunOptions,
): Parallel {
  const workers = opening && !workerModule
    ? 1 // a function cannot be sent to a Worker
    : runWorkers(config, { images: train.length, wanted: options.workers });
  return {
    ...workerModule,
    workers,
    hosts: options.hosts,
    imageBytes: (imageBytes ?? memory.imageCacheBytes * workers) / workers,
  };
}
