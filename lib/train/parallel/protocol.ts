/**
 * Messages between a run and the Workers that compute with it: weights go out,
 * gradients of some images come in.
 *
 * @module
 */
import type { CachePlace } from "../../encoder/shared_cache.ts";
import type { ManifestEntry } from "../../data/manifest.ts";
import type { LabelledImage } from "../../eval/evaluate.ts";
import type { ForegroundChoice } from "../../image/foreground/tissue.ts";
import type { Model } from "../../model/model.ts";
import type { RowLosses } from "../../model/targets/target.ts";
import type { Goal } from "../../target.ts";
import type {
  StudentOrder,
  StudentTarget,
} from "../dense/student_gradients.ts";
import type { GradientOptions } from "../step/micro_batch.ts";

/** Values of tensors by name. */
export type TensorValues = ReadonlyMap<string, {
  shape: readonly number[];
  data: Float32Array;
}>;

/** Settings of a Worker that stay the same in a run. */
export interface WorkerSetup {
  model: Pick<Model, "config" | "classes" | "normalisation" | "fitted">;
  seed: number;
  /** The images that are trained on. */
  train: readonly ManifestEntry[];
  foreground: ForegroundChoice | undefined;
  /** Bound of the Worker's tensors and caches, bytes. */
  memoryBytes: number;
  /** Bytes of decoded images that it keeps. */
  imageBytes: number;
  /** How its module opens images. */
  opening: unknown;
}

/** Images whose gradients are wanted, under these weights. */
export interface GradientTask
  extends Omit<GradientOptions, "memory" | "foreground" | "signal"> {
  weights: TensorValues;
  epoch: number;
  /** Places among the images that are trained on. */
  images: readonly number[];
  /** Images that will be asked for next, to open them meanwhile. */
  next: readonly number[];
  /** Images of the whole batch, of whose loss theirs are shares. */
  of: number;
  /** The loss of each, where it depends on all images of the batch. */
  given?: RowLosses | undefined;
}

/** Images whose logits are wanted, as a gradient would see them. */
export type LogitsTask = Omit<GradientTask, "next" | "of" | "given">;

/** The backward pass of an image. */
export interface PassValues {
  gradients: TensorValues;
  updates: TensorValues;
  report: Float32Array;
  goals: Goal[];
}

/** Images that are to be scored, under these weights. */
export interface ScoreTask {
  weights: TensorValues;
  entries: readonly ManifestEntry[];
  evaluationSeed: number;
}

/** Images that a student learns from, and its gradients at some of them. */
export interface StudentTask extends StudentOrder {
  weights: TensorValues;
  /** Places among the images given before. */
  images: readonly number[];
}

/** An image whose frozen features are made, and the cache that keeps them. */
export interface KeepTask {
  entry: ManifestEntry;
  place: CachePlace;
}

/** The loss of an image, and its gradients. */
export interface StudentValues {
  loss: number;
  gradients: TensorValues;
}

/** Functions of a Worker. An abort ends them at their next stage. */
export type ShareMethods = {
  start(setup: WorkerSetup): void;
  gradients(task: GradientTask): PassValues[];
  logits(task: LogitsTask): number[][];
  score(task: ScoreTask): LabelledImage["classification"][];
  learn(images: readonly StudentTarget[]): void;
  student(task: StudentTask): StudentValues[];
  keep(task: KeepTask): void;
  /** Closes the network that `keep` has opened. */
  release(input: null): void;
};
