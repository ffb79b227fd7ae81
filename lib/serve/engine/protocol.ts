/**
 * What the engine's Worker is asked for, and what it answers.
 *
 * @module
 */
import type { BackendChoice } from "../../engine/select.ts";
import type { ClassifiedImage } from "../../eval/classify.ts";

/** One image to classify. */
export interface ClassifyTask {
  /** SHA-256 of a model that was loaded. */
  model: string;
  /** A file or a URL. */
  path: string;
  /** What messages call the image. */
  name: string;
  /** It came from a stranger: no file beside it may be read. */
  alone: boolean;
  samples?: number | undefined;
  draws?: "seeded" | "topN" | undefined;
  seed: number;
  /** Micrometres per px, where the caller knows better than the file. */
  mpp?: number | undefined;
  heatmap: boolean;
  /** Larger images that must be decoded whole are refused. */
  maxPixels: number;
  /** Someone waits for the answer: it goes before the images of jobs. */
  urgent: boolean;
}

/** What an engine is started with. */
export interface EngineSetup {
  backend: BackendChoice;
  /** Hosts that images may be fetched from. */
  allowedHosts: readonly string[];
  /** Bound on tensors and caches. */
  memoryBytes: number;
}

/** An engine that passed its self-test. */
export interface EngineStatus {
  backend: "webgpu" | "wasm";
  /** Which, and why. */
  reason: string;
}

/** What the engine holds. */
export interface EngineUsage {
  /** Of its buffers, those that are kept for the next image among them. */
  gpuBytes: number;
}

/** The functions of the engine's Worker. */
export type EngineMethods = {
  start(input: EngineSetup): EngineStatus;
  /** Fails if the file's hash is not `sha256`. */
  load(input: { path: string; sha256: string }): void;
  unload(input: { sha256: string }): void;
  classify(task: ClassifyTask): ClassifiedImage;
  usage(input: Record<string, never>): EngineUsage;
};

/** The engine cannot go on. */
export interface EngineEvent {
  failure: string;
}
