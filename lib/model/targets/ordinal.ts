/**
 * Grades in order: for each but the first a logit says whether the image is of it or
 * above, a binary cross-entropy each (Niu et al., CVPR 2016; CORAL of Cao, Mirjalili
 * & Raschka 2020 with weights of their own). Where a probability is above that of a
 * lower grade, it counts as that one.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import type { Goal } from "../../target.ts";
import { binaryCrossEntropy, binaryRowLosses, sigmoid } from "./labels.ts";
import type { Target, TargetModel, Wanted } from "./target.ts";

/** The target of a model of grades. */
export function ordinalTarget({ classes }: TargetModel): Target {
  const above = classes.slice(1);
  /** 1 of each grade above the first that the image reaches. */
  const reached = ([grade]: Goal) =>
    above.map((_, place) => place < grade! ? 1 : 0);
  const binary = ({ goals, ...wanted }: Wanted): Wanted => ({
    ...wanted,
    goals: goals.map(reached),
  });
  return {
    name: "ordinal",
    logits: above,
    outputs: Array.from(above.keys()),
    shown: ([grade]) => Array.from({ length: grade! }, (_, place) => place),
    weight: () => 1,
    loss: (logits, wanted) => binaryCrossEntropy(logits, binary(wanted)),
    losses: (rows, wanted) => binaryRowLosses(rows, binary(wanted)),
    activated: (logits) => tf.sigmoid(logits),
    activatedRow: (logits) => Float64Array.from(logits, sigmoid),
    decide(activated) {
      const cumulative = falling(activated);
      const probabilities = classes.map((_, grade) =>
        (grade === 0 ? 1 : cumulative[grade - 1]!) -
        (cumulative[grade] ?? 0)
      );
      const grade = cumulative.filter((p) => p > 0.5).length;
      return { label: classes[grade]!, probabilities };
    },
    right(logits, [grade]) {
      const found = falling(logits).filter((logit) => logit > 0).length;
      return found === grade ? 1 : 0;
    },
  };
}

/** The values, none above one before it. */
function falling(values: ArrayLike<number>): number[] {
  let least = Infinity;
  return Array.from(values, (value) => least = Math.min(least, value));
}
