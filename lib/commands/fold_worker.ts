/**
 * Worker of a cross-validation: one fold at a time.
 *
 * @module
 */
import type { PathChoice } from "../data/folds.ts";
import type { Manifest, ManifestEntry } from "../data/manifest.ts";
import { readRois } from "../data/rois.ts";
import { startEngine } from "../engine/select.ts";
import { imageCache } from "../image/image_cache.ts";
import type { ForegroundChoice } from "../image/foreground/tissue.ts";
import { Memory } from "../memory.ts";
import type { Config } from "../model/config.ts";
import { keepEncoderOpen } from "../model/frozen.ts";
import { EventFile } from "../train/event_file.ts";
import type { AnyFold } from "../train/runs/crossval.ts";
import { foldFolder, type FoldTask } from "../train/runs/fold_task.ts";
import { runFolds } from "../train/runs/folds_folder.ts";
import { type DoTask, serveTasks } from "../workers/pool.ts";
import type { NatsPlace } from "../serve/jobs/nats/place.ts";
import { openFeatureFolder } from "./shared/features.ts";
import { epochText, progressText } from "./shared/train_setup.ts";
import { type BoxChoice, boxOptions } from "./shared/boxes.ts";
import { STUDY_LAYOUTS } from "../study/roi_layouts.ts";

/** Settings shared by all folds of a cross-validation. */
export interface FoldSetup extends PathChoice {
  /** The manifest, which names the annotated objects. */
  manifest: Manifest;
  entries: readonly ManifestEntry[];
  classes: readonly string[];
  folder: string;
  config: Config;
  seed: number;
  backend: "webgpu" | "wasm";
  environment: Record<string, unknown>;
  /** Workers that share the images of a step, this one included. */
  workers: number;
  cacheBytes: number;
  memoryBytes: number | undefined;
  foreground: ForegroundChoice | undefined;
  skipBad: boolean;
  boxes: BoxChoice | undefined;
  /** Folder of TensorBoard's event files. */
  tensorboard: string | undefined;
  /** Folder of frozen features. */
  featureFolder: string | undefined;
  /** Where other hosts find them, if they do. */
  featuresShared: NatsPlace | undefined;
}

/** Results of tasks run one after the other. */
export interface FoldOutcome {
  results: AnyFold[];
  /** Remarks of the worker on the folder of features. */
  remarks: string[];
  /** Decoding warnings of the images that the worker has opened, by path. */
  warnings: [string, readonly string[]][];
}

/** What a fold says while it trains. */
export interface FoldNews {
  text: string;
  /** An epoch is done: a line of a log file. */
  isEpoch: boolean;
}

serveTasks<FoldSetup, readonly FoldTask[], FoldOutcome, FoldNews>(startFolds);

async function startFolds(
  {
    manifest,
    entries,
    backend,
    workers,
    cacheBytes,
    memoryBytes,
    featureFolder,
    featuresShared,
    tensorboard,
    ...options
  }: FoldSetup,
): Promise<DoTask<readonly FoldTask[], FoldOutcome, FoldNews>> {
  const engine = await startEngine(backend);
  const rois = await readRois(manifest, STUDY_LAYOUTS);
  const boxes = await boxOptions(options.boxes, manifest);
  await keepEncoderOpen(options.config.network);
  const memory = new Memory(memoryBytes);
  const remarks: string[] = [];
  // One for all folds: what one of them has used, the next one uses.
  const remark = (text: string) => void remarks.push(text);
  const features = await openFeatureFolder(featureFolder, {
    shared: featuresShared,
    remark,
  });
  const imageBytes = cacheBytes / workers;
  const cache = imageCache(memory, imageBytes);
  return async function runInTurn(tasks, { signal, onProgress }) {
    const events = new Map(
      tensorboard === undefined ? [] : tasks.map((task) => [
        task,
        new EventFile(foldFolder(tensorboard, task)),
      ]),
    );
    const results = await runFolds(engine, entries, tasks, {
      ...options,
      rois,
      boxes,
      featureCache: features,
      cache,
      memory,
      parallel: { workers, imageBytes },
      signal,
      onProgress: (_, progress) =>
        onProgress({ text: progressText(progress), isEpoch: false }),
      async onEpoch(task, done) {
        onProgress({ text: epochText(done), isEpoch: true });
        await events.get(task)?.add(done.epoch, done.figures);
      },
    });
    return { results, remarks, warnings: [...cache.warnings] };
  };
}
