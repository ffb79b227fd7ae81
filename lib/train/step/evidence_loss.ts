/**
 * The loss of the evidence head: cross-entropy of the image's evidence against
 * smoothed labels; sub-tiles of background images, which are known to show
 * nothing; and the loss by which attention learns to be the proposal.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { evidenceClasses } from "../../model/head.ts";
import type { Drawn } from "../../model/look/draws.ts";
import type { Attention } from "../../model/look/look.ts";
import type { Model } from "../../model/model.ts";
import type { SubTileEvidence } from "../../model/zoom_in.ts";
import { proposalLoss, rowsOf } from "../../sampling/evidence.ts";
import type { Draws } from "../../sampling/expectation.ts";
import { SMOOTHING } from "../label_smoothing.ts";
import { crossEntropy, weightedSoftplus } from "./loss.ts";

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
  { config, classes }: Pick<Model, "config" | "classes">,
  { draws }: Pick<Drawn, "draws">,
  { logits, evidence, attention }: ScoredByEvidence,
  { classes: labels, of, classWeights }: {
    /** Class of each image. */
    classes: readonly number[];
    /** Images of the whole batch. */
    of: number;
    classWeights: readonly number[];
  },
): tf.Scalar {
  const own = evidenceClasses(config, classes);
  const shown = labels.map((label) => own.indexOf(classes[label]!)); // -1: none
  const terms = [
    crossEntropy(logits, {
      targets: labels,
      weights: labels.map((label) => classWeights[label]! / of),
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
      shown.map((own) => (own < 0 ? BACKGROUND_PROPOSAL : 1) / of),
    ),
  ];
  return terms.reduce((sum, term) => tf.add(sum, term));
}

/** `weight` spread over the sub-tiles of each image that shows nothing, `[S]`. */
function backgroundWeights(
  draws: Draws,
  { shown, weight }: { shown: readonly number[]; weight: number },
): number[] {
  const rows = rowsOf(draws);
  const counts = new Float32Array(shown.length);
  for (const row of rows) counts[row]!++;
  return Array.from(rows, (row) => shown[row]! < 0 ? weight / counts[row]! : 0);
}

/**
 * Share of each sub-tile in the evidence of the class that its image shows, or, if
 * it shows nothing, the mean over the classes: `[S]`.
 */
function sharesOf(
  shares: tf.Tensor2D,
  { draws, shown }: { draws: Draws; shown: readonly number[] },
): tf.Tensor1D {
  const classes = shares.shape[1];
  const wanted = Array.from(rowsOf(draws)).flatMap((row) =>
    Array.from(
      { length: classes },
      (_, k) => shown[row]! < 0 ? 1 / classes : shown[row] === k ? 1 : 0,
    )
  );
  return tf.sum(tf.mul(shares, tf.tensor2d(wanted, shares.shape)), 1);
}
