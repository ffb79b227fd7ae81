/**
 * zoomin as a library: classify an image, evaluate a table of images, train a
 * run. Start an engine first; it serves the whole process.
 *
 * @example Classify one image
 * ```ts
 * import { classifyImage, readCheckpoint, startEngine } from "zoomin";
 *
 * await startEngine("auto");
 * const { model } = await readCheckpoint("demo/run");
 * const { classification } = await classifyImage("scan.tif", model, { seed: 0 });
 * console.log(classification.label, classification.probabilities);
 * ```
 *
 * @module
 */
export {
  type BackendChoice,
  type Engine,
  startEngine,
} from "./engine/select.ts";
export {
  CheckpointError,
  ConfigError,
  DataError,
  EngineError,
  ImageError,
  TrainingError,
  UsageError,
} from "./errors.ts";
export { Memory } from "./memory.ts";

export { openImage, type OpenOptions } from "./image/open.ts";
export type { Pyramid } from "./image/pyramid.ts";
export type { Region, Size } from "./image/geometry.ts";
export { ImageCache } from "./image/image_cache.ts";

export { type Config, parseConfig, withSettings } from "./model/config.ts";
export { preset, presetNames } from "./model/presets.ts";
export { type Checkpoint, readCheckpoint } from "./model/checkpoint.ts";
export type { Model } from "./model/model.ts";

export {
  type Manifest,
  type ManifestEntry,
  readManifest,
} from "./data/manifest.ts";

export type { Classification } from "./eval/classification.ts";
export {
  type ClassifiedImage,
  classifyImage,
  type ClassifyImageOptions,
} from "./eval/classify.ts";
export { evaluate, type Evaluation } from "./eval/evaluate.ts";
export { type EvaluationReport, evaluationReport } from "./eval/report.ts";

export {
  type TrainedRun,
  trainRun,
  type TrainRunOptions,
} from "./train/run.ts";
