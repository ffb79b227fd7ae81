/**
 * The targets by name.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import type { Goal, TargetName } from "../../target.ts";
import { classesTarget } from "./classes.ts";
import type { TargetFit } from "./fit.ts";
import { labelsTarget } from "./labels.ts";
import { ordinalTarget } from "./ordinal.ts";
import { survivalTarget } from "./survival.ts";
import type { RowLosses, Target, TargetModel } from "./target.ts";
import { fitScale, valueTarget } from "./value.ts";

/** What is particular to a target beside its outputs. */
interface TargetKind {
  make: (model: TargetModel) => Target;
  /** Names that a model needs at least. */
  leastNames: number;
  /** What it learns of the labels of the training images; nothing if omitted. */
  fit?: (goals: readonly Goal[]) => TargetFit;
}

const KINDS: Record<TargetName, TargetKind> = {
  classes: { make: classesTarget, leastNames: 2 },
  labels: { make: labelsTarget, leastNames: 1 },
  value: { make: valueTarget, leastNames: 1, fit: fitScale },
  ordinal: { make: ordinalTarget, leastNames: 2 },
  survival: { make: survivalTarget, leastNames: 1 },
};

/** The target of a model. */
export function targetOf(model: TargetModel): Target {
  return KINDS[model.config.target].make(model);
}

/** Names that a model of `target` needs at least. */
export function leastNames(target: TargetName): number {
  return KINDS[target].leastNames;
}

/** What a target learns of the labels of the training images. */
export function fittedTo(
  target: TargetName,
  goals: readonly Goal[],
): TargetFit | undefined {
  return KINDS[target].fit?.(goals);
}

/** A loss whose value and gradient at `logits` are known. */
export function givenLoss(
  logits: tf.Tensor2D,
  { losses, gradients }: RowLosses,
): tf.Scalar {
  return tf.customGrad((input) => ({
    // Of the logits in form alone, so that the graph holds together.
    value: tf.add(
      tf.mul(tf.sum(input as tf.Tensor2D), 0),
      losses.reduce((sum, loss) => sum + loss, 0),
    ) as tf.Scalar,
    gradFunc: (dy) =>
      tf.mul(
        tf.tensor2d(gradients.map((row) => Array.from(row)), logits.shape),
        dy as tf.Scalar,
      ),
  }))(logits) as tf.Scalar;
}
