/**
 * What a network learns to say of an image: the outputs of its head, their loss, and
 * the result that they come to. A target has a file of its own; nothing else asks
 * which one it is.
 *
 * @module
 */
import type * as tf from "@tensorflow/tfjs-core";
import type { Goal, TargetName } from "../../target.ts";
import type { Calibration } from "../calibration.ts";
import type { Config } from "../config.ts";
import type { TargetFit } from "./fit.ts";

/** What rows of logits are to be. */
export interface Wanted {
  /** The label of each row, `[G]`. */
  goals: readonly Goal[];
  /** Weight of each row in the loss, `[G]`. */
  weights: readonly number[];
  /** Share of a label that is given to the other answer; 0 if omitted. */
  smoothing?: number | undefined;
}

/** The loss of rows, and its gradient at their logits. */
export interface RowLosses {
  /** The share of each row in the loss, weighted, `[G]`. */
  losses: number[];
  /** `[G][outputs]`. */
  gradients: Float64Array[];
}

/** What an image is said to be. */
export interface Decision {
  /** The answer as a manifest writes it. */
  label: string;
  /** By name of the model, in its order; empty if the target is a number. */
  probabilities: number[];
  /** Of the target `labels`: the labels that the image has. */
  labels?: string[] | undefined;
  /** Of the target `value`: the number. */
  value?: number | undefined;
  /** Of the target `survival`: the logarithm of the hazard ratio. */
  risk?: number | undefined;
}

/** The target of a model. */
export interface Target {
  name: TargetName;
  /** The logits of an image, by what they tell. */
  logits: readonly string[];
  /**
   * Places of the logits that the head computes of features, in their order; a
   * background class has none, and a logit of 0.
   */
  outputs: readonly number[];
  /** Outputs whose objects an image shows; none: it is known to show nothing. */
  shown(goal: Goal): readonly number[];
  /** Weight of an image in the loss, by its class. */
  weight(goal: Goal, classWeights: readonly number[]): number;
  /**
   * Weighted sum of the losses of rows of logits `[G, logits]`; null if the loss of
   * an image depends on all others of its batch: then `losses` has it.
   */
  loss: ((logits: tf.Tensor2D, wanted: Wanted) => tf.Scalar) | null;
  /** The same in main memory. */
  losses(rows: readonly ArrayLike<number>[], wanted: Wanted): RowLosses;
  /** The numbers that an image is decided by, `[G, logits]`. */
  activated(logits: tf.Tensor2D, calibration: Calibration | null): tf.Tensor2D;
  /** Those of a row, in main memory, without calibration. */
  activatedRow(logits: ArrayLike<number>): ArrayLike<number>;
  /** The result of a row of them. */
  decide(activated: ArrayLike<number>): Decision;
  /** Share of the answers that a row has right; null if there is no such thing. */
  right(logits: ArrayLike<number>, goal: Goal): number | null;
}

/** What a target is made of. */
export interface TargetModel {
  config: Pick<Config, "target" | "referenceClass" | "network">;
  /** Names of the model. */
  classes: readonly string[];
  fitted?: TargetFit | undefined;
}
