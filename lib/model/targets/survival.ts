/**
 * Time to an event: one risk an image, trained by Cox's partial likelihood over the
 * images of a batch.
 *
 * @module
 */
import { coxLoss } from "./cox.ts";
import type { Target, TargetModel } from "./target.ts";

// Digits of a risk as a label: a float32 has no more.
const DIGITS = 6;

/** The target of a model of risk. */
export function survivalTarget({ classes }: TargetModel): Target {
  return {
    name: "survival",
    logits: classes,
    outputs: [0],
    shown: () => [0],
    weight: () => 1,
    loss: null, // of an image it depends on who else is at risk
    losses(rows, { goals }) {
      const { losses, gradient } = coxLoss(rows.map((row) => row[0]!), goals);
      return {
        losses,
        gradients: Array.from(gradient, (one) => Float64Array.of(one)),
      };
    },
    activated: (logits) => logits.clone(),
    activatedRow: (logits) => logits,
    decide(activated) {
      const risk = activated[0]!;
      return {
        label: String(Number(risk.toPrecision(DIGITS))),
        probabilities: [],
        risk,
      };
    },
    right: () => null,
  };
}
