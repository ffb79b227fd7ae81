/**
 * zoomin as a library: classify an image, evaluate a table of images, train a
 * run. Start an engine first; it serves the whole process.
 *
 * @example Classify one image
 * ```ts
 * import { classifyImage, readCheckpoint, startEngine } from "@zoomin/zoomin";
 *
 * await startEngine("auto");
 * const { model } = await readCheckpoint("demo/run");
 * const { classification } = await classifyImage("scan.tif", model, { seed: 0 });
 * console.log(classification.label, classification.probabilities);
 * ```
 *
 * @example Train a run, then score it on its test images
 * ```ts
 * import {
 *   evaluate,
 *   evaluationReport,
 *   ImageCache,
 *   Memory,
 *   preset,
 *   readCheckpoint,
 *   readManifest,
 *   startEngine,
 *   trainRun,
 *   withSettings,
 * } from "@zoomin/zoomin";
 *
 * const engine = await startEngine("auto");
 * await trainRun(engine, {
 *   manifest: await readManifest("manifest.csv"),
 *   config: withSettings(preset("needle"), ["training.epochs=30"]),
 *   seed: 0,
 *   folder: "runs/first",
 *   test: 0.2,
 *   resume: false,
 *   memory: new Memory(),
 * });
 * const { model } = await readCheckpoint("runs/first");
 * const { classes } = model;
 * const { entries } = await readManifest("runs/first/splits.csv", { classes });
 * const test = entries.filter(({ split }) => split === "test");
 * const evaluation = await evaluate(model, test, {
 *   cache: new ImageCache(0),
 *   seed: 0,
 * });
 * const { metrics } = await evaluationReport(evaluation, {
 *   classes,
 *   rois: undefined,
 *   seed: 0,
 * });
 * console.log(metrics.accuracy);
 * ```
 *
 * @example Read a region of a remote slide
 * ```ts
 * import { openImage } from "@zoomin/zoomin";
 *
 * const slide = await openImage("https://slides.example.org/a.tif");
 * const region = { x: 0, y: 0, width: 256, height: 256 };
 * const { data } = await slide.read(region, 0); // RGBA, row after row
 * console.log(data.length, slide.traffic.bytes);
 * slide.close();
 * ```
 *
 * @module
 */
export {
  type BackendChoice,
  BACKENDS,
  type Engine,
  startEngine,
} from "./engine/select.ts";
export type { AdapterDescription } from "./engine/webgpu.ts";
export {
  CheckpointError,
  ConfigError,
  DataError,
  EngineError,
  ImageError,
  NamedError,
  TrainingError,
  UsageError,
} from "./errors.ts";
export { Memory, type WithDefaultMemory } from "./memory.ts";

export { openImage, type OpenOptions } from "./image/open.ts";
export type {
  Backdrop,
  Georeference,
  GeoTag,
  Level,
  Pixels,
  Pyramid,
} from "./image/pyramid.ts";
export type { Point, Region, Size } from "./image/geometry.ts";
export type { Fetch } from "./image/bytes/http_client.ts";
export type { Traffic } from "./image/bytes/source.ts";
export type { Polygon } from "./image/foreground/polygons.ts";
export type { ForegroundChoice } from "./image/foreground/tissue.ts";
export { ImageCache } from "./image/image_cache.ts";
export type {
  BlockCache,
  BlockKey,
  BlockUse,
} from "./image/pyramids/block_cache.ts";

export { parseConfig, withSettings } from "./model/config.ts";
export type {
  AugmentationConfig,
  CloseUpConfig,
  Config,
  CosineSchedule,
  DenseConfig,
  EvaluationConfig,
  EvidenceConfig,
  NetworkConfig,
  OverviewConfig,
  StepSchedule,
  TrainingConfig,
  ViewConfig,
  WarmStartConfig,
} from "./model/config_types.ts";
export type {
  Encoder,
  EncoderConfig,
  EncoderOutput,
  Pictures,
} from "./encoder/encoder.ts";
export { FeatureCache, type FeatureSource } from "./encoder/cache.ts";
export { encoderSettings, type ObjectSize } from "./encoder/inspect.ts";
export { withFrozenFeatures } from "./model/frozen_settings.ts";
export type { FrozenFeatures } from "./model/config.ts";
export { preset, presetNames } from "./model/presets.ts";
export {
  type AnnotatedCount,
  type Checkpoint,
  readCheckpoint,
  type ReadCheckpointOptions,
} from "./model/checkpoint.ts";
export type { Calibration } from "./model/calibration.ts";
export type { Model, Normalisation } from "./model/model.ts";
export type { Parameters, Variable } from "./model/parameters.ts";
export type { TargetFit } from "./model/targets/fit.ts";
export type { StoredTensor } from "./model/safetensors.ts";

export { type Goal, type TargetName, TARGETS } from "./target.ts";

export {
  type Manifest,
  type ManifestEntry,
  readManifest,
  type Split,
  type TableImage,
  type TableLayout,
} from "./data/manifest.ts";
export {
  type AnnotatedObject,
  readRois,
  readRoisOf,
  type RoiLayout,
  type RoiSource,
} from "./data/rois.ts";

export type { Answer } from "./eval/answer.ts";
export type { Classification } from "./eval/classification.ts";
export {
  type ClassifiedImage,
  classifyImage,
  type ClassifyImageOptions,
  type ClassifyOpenedOptions,
  type OpenForModelOptions,
} from "./eval/classify.ts";
export {
  GROUP_POOLINGS,
  type GroupPart,
  type GroupPooling,
} from "./eval/groups/pooling.ts";
export type { HeatMaps } from "./eval/heatmap/stages.ts";
export type { Heatmap } from "./eval/heatmap/heatmap.ts";
export {
  evaluate,
  type EvaluatedImage,
  type EvaluateOptions,
  type Evaluation,
  type FailedImage,
} from "./eval/evaluate.ts";
export type { AttentionHitsSummary, Estimate } from "./eval/attention_hits.ts";
export type { BootstrapInterval } from "./eval/bootstrap.ts";
export type { MetricValues } from "./eval/metrics.ts";
export type {
  PredictedSubTile,
  PredictedTile,
  PredictOptions,
} from "./eval/predict.ts";
export type { Interval } from "./eval/proportion.ts";
export {
  type EvaluationReport,
  evaluationReport,
  type GroupReport,
  type MetricWithInterval,
} from "./eval/report.ts";
export {
  type AnyReport,
  type AnyReportOptions,
  reportOfTarget,
  type TargetReport,
} from "./eval/targets/report.ts";
export type { OtherTarget, TargetMetrics } from "./eval/targets/scoring.ts";
export type { LabelMetrics } from "./eval/targets/labels.ts";
export type { Metrics } from "./eval/targets/metric.ts";

export type { BoxOptions, TrainingBoxes } from "./train/boxes.ts";
export type {
  EpochDone,
  EpochFigures,
  Progress,
  SkippedImage,
} from "./train/epoch_metrics.ts";
export {
  type TrainedRun,
  trainRun,
  type TrainRunOptions,
} from "./train/runs/run.ts";
export type { RunDataOptions } from "./train/runs/run_data.ts";
export type { ChoosingImages } from "./train/epoch_choice.ts";
export type { HostsOptions } from "./train/hosts/hosts.ts";
export type {
  HostsConnection,
  HostsMessage,
  HostsSubscription,
} from "./train/hosts/mail.ts";
export type { Parallel } from "./train/parallel/team.ts";
export type { TrainingData, TrainResult } from "./train/trainer.ts";
