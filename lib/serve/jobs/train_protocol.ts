/**
 * What the Worker that trains is asked for, and what it says on the way.
 *
 * @module
 */
import type { BackendChoice } from "../../engine/select.ts";
import type { Config } from "../../model/config.ts";
import type { Progress } from "../../train/epoch_metrics.ts";
import type { TrainResult } from "../../train/trainer.ts";

/** A run. */
export interface TrainTask {
  /** The manifest's path. */
  data: string;
  config: Config;
  seed: number;
  /** Folder of the run; it goes on where an earlier attempt stopped. */
  folder: string;
  backend: BackendChoice;
  /** Hosts that images may be fetched from. */
  allowedHosts: readonly string[];
  /** Larger images that must be decoded whole are refused. */
  maxPixels: number;
  /** Bound on tensors and caches. */
  memoryBytes: number;
  /** Classifications under way: they go first. */
  pending: Int32Array<SharedArrayBuffer>;
}

/** The functions of the Worker. An abort ends the run at its next step. */
export type TrainMethods = {
  train(task: TrainTask): TrainResult;
};

export type TrainEvent = Progress;
