/**
 * Messages between the server and its training Worker.
 *
 * @module
 */
import type { BackendChoice } from "../../engine/select.ts";
import type { Config } from "../../model/config.ts";
import type { Progress } from "../../train/epoch_metrics.ts";
import type { TrainResult } from "../../train/trainer.ts";

/** Settings of a run. */
export interface TrainTask {
  /** Path of the manifest. */
  data: string;
  config: Config;
  seed: number;
  /** Folder of the run; an earlier attempt in it continues. */
  folder: string;
  backend: BackendChoice;
  /** Hosts that images may be fetched from. */
  allowedHosts: readonly string[];
  /**
   * Most pixels of an image that must be decoded whole; larger ones are
   * refused.
   */
  maxPixels: number;
  /** Bound on tensors and caches, bytes. */
  memoryBytes: number;
  /** Shared count of pending classifications, which go first. */
  pending: Int32Array<SharedArrayBuffer>;
}

/** Functions of the Worker. An abort ends the run at its next step. */
export type TrainMethods = {
  train(task: TrainTask): TrainResult;
};

export type TrainEvent = Progress;
