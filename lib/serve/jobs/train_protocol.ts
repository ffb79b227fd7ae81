/**
 * Messages between the server and its training Worker.
 *
 * @module
 */
import type { AnnotatedImage } from "../../data/annotations/object.ts";
import type { BackendChoice } from "../../engine/select.ts";
import type { Config } from "../../model/config.ts";
import type { Progress } from "../../train/epoch_metrics.ts";
import type { FoldChoice } from "../../train/runs/fold_plan.ts";
import type { FoldTask } from "../../train/runs/fold_task.ts";
import type { TrainResult } from "../../train/trainer.ts";
import type { CrossValidatedDocument, ScoresDocument } from "../documents.ts";
import type { FeaturePlace } from "./features.ts";

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
  /** Frozen features, if hosts share them. */
  features: FeaturePlace | undefined;
  /** Shared count of pending classifications, which go first. */
  pending: Int32Array<SharedArrayBuffer>;
}

/** Settings of a cross-validation. */
export interface FoldsTask extends TrainTask {
  choice: FoldChoice;
}

/** Settings of some folds of a cross-validation. */
export interface PieceTask extends FoldsTask {
  /** The folds to train, one after the other. */
  tasks: readonly FoldTask[];
}

/** Result of a run. */
export interface RunResult extends TrainResult {
  /** Of the chosen checkpoint; absent if there are no validation images. */
  scores?: ScoresDocument;
  /** Why the run lacks its scores or its report, a line each; absent if it has both. */
  warnings?: string[];
}

/** Functions of the Worker. An abort ends the run at its next step. */
export type TrainMethods = {
  train(task: TrainTask): RunResult;
  crossValidate(task: FoldsTask): CrossValidatedDocument;
  /** Begins a cross-validation; returns folds in groups for one host each. */
  beginFolds(task: FoldsTask): FoldTask[][];
  trainPiece(task: PieceTask): void;
  /** Ends the cross-validation whose folds are all in the folder. */
  endFolds(task: TrainTask): CrossValidatedDocument;
};

/** Progress of a run, or of the training of a fold. */
export type TrainEvent = Progress & Partial<FoldProgress>;

/** The fold that is trained. */
export interface FoldProgress {
  /** Its number. */
  fold: number;
  /** Number of folds. */
  folds: number;
  /** Trainings that are done, of all folds under all protocols. */
  done: number;
  /** Number of those trainings. */
  total: number;
}
