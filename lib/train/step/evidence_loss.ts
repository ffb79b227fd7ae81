/**
 * The loss of the evidence head: that of the target on the image's evidence, with
 * smoothed labels; sub-tiles of background images, which are known to show
 * nothing; and the loss by which attention learns to be the proposal.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import type { Drawn } from "../../model/look/draws.ts";
import type { Attention } from "../../model/look/look.ts";
import type { Model } from "../../model/model.ts";
import type { SubTileEvidence } from "../../model/zoom_in.ts";
import { proposalLoss, rowsOf } from "../../sampling/evidence.ts";
import type { Draws } from "../../sampling/expectation.ts";
import { givenLoss, targetOf } from "../../model/targets/targets.ts";
import { SMOOTHING } from "../label_smoothing.ts";
import { type Labels, weightedSoftplus } from "./loss.ts";

// Weight of the background's sub-tiles in the loss.
const BACKGROUND = 1;
// Background images tell nothing of where objects are: what their draws resemble
// most is worth a closer look, but less.
const BACKGROUND_PROPOSAL = 0.2;

/** A look that was scored by evidence. */
export interface ScoredByEvidence {
  logits: tf.Tensor2D; // [G, classes]
  evidence: SubTileEvidence;
  attention: Attention;
}

/** The loss of a micro-batch: its terms are shares of the whole batch's. */
export function evidenceLoss(
  model: Pick<Model, "config" | "classes" | "fitted">,
  { draws }: Pick<Drawn, "draws">,
  { logits, evidence, attention }: ScoredByEvidence,
  { goals, of, given, classWeights }: Labels & {
    classWeights: readonly number[];
  },
): tf.Scalar {
  const target = targetOf(model);
  const shown = goals.map((goal) => target.shown(goal));
  const terms = [
    given ? givenLoss(logits, given) : target.loss!(logits, {
      goals,
      weights: goals.map((goal) => target.weight(goal, classWeights) / of),
      smoothing: SMOOTHING,
    }),
    weightedSoftplus(
      evidence.logits,
      backgroundWeights(draws, { shown, weight: BACKGROUND / of }),
    ),
    proposalLoss(
      sharesOf(evidence.shares, { draws, shown }),
      attention,
      draws,
      shown.map((own) => (isBackground(own) ? BACKGROUND_PROPOSAL : 1) / of),
    ),
  ];
  return terms.reduce((sum, term) => tf.add(sum, term));
}

/** `weight` spread over the sub-tiles of each image that shows nothing, `[S]`. */
function backgroundWeights(
  draws: Draws,
  { shown, weight }: { shown: Shown; weight: number },
): number[] {
  const rows = rowsOf(draws);
  const counts = new Float32Array(shown.length);
  for (const row of rows) counts[row]!++;
  return Array.from(
    rows,
    (row) => isBackground(shown[row]!) ? weight / counts[row]! : 0,
  );
}

/** Outputs that each image shows; none of background. */
type Shown = readonly (readonly number[])[];

function isBackground(shown: readonly number[]): boolean {
  return shown.length === 0;
}

/**
 * Share of each sub-tile in the evidence of what its image shows, the mean if it
 * shows several, or, if it shows nothing, the mean over all outputs: `[S]`.
 */
function sharesOf(
  shares: tf.Tensor2D,
  { draws, shown }: { draws: Draws; shown: Shown },
): tf.Tensor1D {
  const outputs = shares.shape[1];
  const wanted = Array.from(rowsOf(draws)).flatMap((row) => {
    const own = shown[row]!;
    const share = 1 / (isBackground(own) ? outputs : own.length);
    return Array.from(
      { length: outputs },
      (_, k) => isBackground(own) || own.includes(k) ? share : 0,
    );
  });
  return tf.sum(tf.mul(shares, tf.tensor2d(wanted, shares.shape)), 1);
}
