/**
 * Messages between the server and its training Worker.
 *
 * @module
 */
import type { AnnotatedImage } from "../../data/annotations/object.ts";
import type { BackendChoice } from "../../engine/select.ts";
import type { Config } from "../../model/config.ts";
import type { Progress } from "../../train/epoch_metrics.ts";
import type { TrainResult } from "../../train/trainer.ts";
import type { ScoresDocument } from "../documents.ts";

/** Settings of a run. */
export interface TrainTask {
  /** Name of the new model, for its report. */
  name: string;
  /** Path of the manifest. */
  data: string;
  config: Config;
  seed: number;
  /** Folder of the run; an earlier attempt in it continues. */
  folder: string;
  backend: BackendChoice;
  /** Most workers that share the images of a step; one a core if omitted. */
  workers: number | undefined;
  /** Hosts that images may be fetched from. */
  allowedHosts: readonly string[];
  /** Folders of the files that the manifest may name. */
  roots: readonly string[];
  /**
   * Trains on annotated objects as well: those drawn, else the manifest's own.
   */
  drawn?: readonly AnnotatedImage[] | undefined;
  /**
   * Most pixels of an image that must be decoded whole; larger ones are
   * refused.
   */
  maxPixels: number;
  /** Bound on the tensors and caches of each worker, bytes. */
  memoryBytes: number;
  /** Shared count of pending classifications, which go first. */
  pending: Int32Array<SharedArrayBuffer>;
}

/** Result of a run. */
export interface RunResult extends TrainResult {
  /** Of the chosen checkpoint; absent if there are no validation images. */
  scores?: ScoresDocument;
}

/** Functions of the Worker. An abort ends the run at its next step. */
export type TrainMethods = {
  train(task: TrainTask): RunResult;
};

export type TrainEvent = Progress;
