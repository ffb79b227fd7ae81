/**
 * Messages between the server and an engine's Worker.
 *
 * @module
 */
import type { BackendChoice } from "../../engine/select.ts";
import type { ClassifiedImage } from "../../eval/classify.ts";
import type { RoomCounters } from "../../image/decoding_room.ts";

/** One image to classify. */
export interface ClassifyTask {
  /** SHA-256 of a loaded model. */
  model: string;
  /** A file or a URL. */
  path: string;
  /** Name of the image in messages. */
  name: string;
  /** Uploaded by a stranger: no file beside it may be read. */
  alone: boolean;
  samples?: number | undefined;
  draws?: "seeded" | "topN" | undefined;
  seed: number;
  /** Micrometres per px, in place of the file's value. */
  mpp?: number | undefined;
  heatmap: boolean;
  /** Also return the heat maps of each stage. */
  maps: boolean;
  /**
   * Most pixels of an image that must be decoded whole; larger ones are
   * refused.
   */
  maxPixels: number;
  /** Most blocks that the view of the whole image may be read from. */
  maxBlocks: number;
  /** A caller waits for the answer, so it runs before the images of jobs. */
  urgent: boolean;
}

/** How `auto` is decided where there is a GPU. */
export interface EngineTrial {
  /** Folder of the models. */
  models: string;
  /** File where what was measured is kept. */
  file: string;
  /** Engines on the CPU. */
  workers: number;
}

/** Options of an engine. */
export interface EngineSetup {
  backend: BackendChoice;
  trial: EngineTrial;
  /** Hosts that images may be fetched from. */
  allowedHosts: readonly string[];
  /** Files of encoders that are no longer where they were in training. */
  encoderFiles: readonly string[];
  /** Bound on tensors and caches, bytes. */
  memoryBytes: number;
  /** Room for pictures decoded whole, that all engines share. */
  room: RoomCounters;
  /** The engine's number in it, from 0. */
  worker: number;
}

/** Status of an engine that passed its self-test. */
export interface EngineStatus {
  backend: "webgpu" | "wasm";
  /** The engine and why it was chosen. */
  reason: string;
}

/** Images that an engine computes together. */
// On a GPU the images of a batch share its waits. On wasm eight together take as
// long as eight apart, so none needs to wait.
export const BATCH_SIZES = { webgpu: 8, wasm: 1 } as const;

/** Images that an engine opens while it computes. */
// wasm keeps the thread: what is opened gets on by one step after each image.
export const AHEAD = { webgpu: 8, wasm: 3 } as const;

/** Memory that the engine holds. */
export interface EngineUsage {
  /** Bytes of GPU buffers, including those kept for the next image. */
  gpuBytes: number;
}

/** Functions of the engine's Worker. */
export type EngineMethods = {
  start(input: EngineSetup): EngineStatus;
  /** Loads a checkpoint; fails if the file's hash is not `sha256`. */
  load(input: { path: string; sha256: string }): void;
  unload(input: { sha256: string }): void;
  classify(task: ClassifyTask): ClassifiedImage;
  usage(input: Record<string, never>): EngineUsage;
};

/** Notice that the engine cannot continue. */
export interface EngineEvent {
  failure: string;
}
