/**
 * The loss and the backward pass of a micro-batch, and its figures for the log.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import type { Key } from "../../../kernels/random.ts";
import { stepReport } from "../../../kernels/step_report/step_report.ts";
import { crop } from "../../image/pyramids/crop.ts";
import { placedPart } from "../../image/level_geometry.ts";
import { orient } from "../../image/pyramids/oriented.ts";
import type { Pyramid } from "../../image/pyramid.ts";
import { composed, type DensityMatrix } from "../../image/stains/stains.ts";
import {
  type ForegroundChoice,
  foregroundOf,
} from "../../image/foreground/tissue.ts";
import type { Memory } from "../../memory.ts";
import type { Drawn, LookImage } from "../../model/look/draws.ts";
import type { Look } from "../../model/look/look.ts";
import type { Model } from "../../model/model.ts";
import { modelSpecs } from "../../model/networks.ts";
import { isTrained } from "../../model/parameters.ts";
import type { Goal } from "../../target.ts";
import { givenLoss, targetOf } from "../../model/targets/targets.ts";
import { score, type Scores } from "../../model/zoom_in.ts";
import type { Augmentation } from "../augmentation.ts";
import { addAttentionGradients } from "./block_gradients.ts";
import { evidenceLoss } from "./evidence_loss.ts";
import type { Labels } from "./loss.ts";
import {
  type BackwardPass,
  isAttention,
  record,
  runBackward,
} from "./backward.ts";

/** One image of a training batch. */
export interface TrainingImage {
  pyramid: Pyramid;
  /** What its label says. */
  goal: Goal;
  /** Optical-density transform that normalises the stains; null for none. */
  stains: DensityMatrix | null;
  augmentation: Augmentation;
  /** Key of its draws: seed, epoch, image. */
  key: Key;
}

/** Options of gradients that are constant over the steps of an epoch. */
export interface GradientOptions {
  /** Adds the contrastive term. */
  contrastive: boolean;
  /** Keeps a and b as they are (after a warm start). */
  freezeAttention: boolean;
  /** Weight of each class in the loss. */
  classWeights: readonly number[];
  /** Share of uniform draws under the head `evidence`. */
  exploration: number;
  /** Foreground that is drawn from; the configuration's if omitted. */
  foreground?: ForegroundChoice | undefined;
  /** Memory bound of the tensors. */
  memory: Memory;
  signal?: AbortSignal | undefined;
}

/** Options that are constant over the steps of an epoch. */
export interface StepOptions extends GradientOptions {
  /** Factor of both learning rates. */
  rate: number;
}

/** The images of a batch as they are looked at, augmented. */
export function lookImages(
  model: Model,
  images: readonly TrainingImage[],
  options: GradientOptions,
): Promise<LookImage[]> {
  return Promise.all(
    images.map((image) => lookImage(model, image, options)),
  );
}

async function lookImage(
  { config, classes }: Model,
  { pyramid, goal, stains, augmentation, key }: TrainingImage,
  { contrastive, foreground, signal }: GradientOptions,
): Promise<LookImage> {
  const { referenceClass } = config;
  const { orientation, gain, densities, placement } = augmentation;
  const choice = foreground ?? { kind: config.view.foreground };
  const found = await foregroundOf(pyramid, choice, signal);
  const { scale1: scale, tileStride: stride } = config.view;
  const part = placement && placedPart(pyramid, { scale, stride }, placement);
  return {
    pyramid: orient(part ? crop(pyramid, part) : pyramid, orientation),
    foreground: (part ? found?.cropped(part) : found)?.oriented(orientation),
    gain,
    densities: stains && densities
      ? composed(stains, densities)
      : stains ?? densities,
    key,
    contrastive: contrastive && referenceClass !== null &&
      classes[goal[0]!] !== referenceClass,
  };
}

/**
 * The backward pass of a look. If it was made in parts, tfjs records f and g
 * alone, with the attention of the draws as leaves; from their gradients those of
 * a and b are computed, part by part.
 */
export async function backward(
  model: Model,
  look: Look,
  options:
    & Labels
    & Pick<GradientOptions, "classWeights" | "freezeAttention">,
): Promise<BackwardPass> {
  const { goals, of } = options;
  const { parts } = look;
  const names = trainedNames(model, options.freezeAttention);
  const share = model.config.training.entropyWeight / of;
  return await runBackward(goals, async (pass) => {
    const upstream = await record(model, look, pass, {
      names,
      leaves: parts?.leaves,
      loss(how) {
        const scores = score(model, look, how);
        const entropies = look.entropies(scores.attention, share);
        const loss: tf.Scalar = tf.add(
          lossOf(model, look, scores, options),
          entropies.regulariser,
        );
        pass.report = tf.keep(
          stepReport({
            loss,
            tiles: entropies.tiles,
            subTiles: entropies.subTiles,
            features: scores.features,
            logits: scores.logits,
          }, goals.length),
        );
        return loss;
      },
    });
    if (parts && names.some(isAttention)) {
      const [tiles, subTiles] = upstream;
      await addAttentionGradients(pass.gradients, model, { ...look, parts }, {
        tiles: tiles!,
        subTiles: subTiles!,
        share,
      });
    }
  });
}

function trainedNames(
  { config, classes }: Model,
  freezeAttention: boolean,
): string[] {
  return modelSpecs(config, classes)
    .filter((spec) => isTrained(spec))
    .map(({ name }) => name)
    .filter((name) => !(freezeAttention && isAttention(name)));
}

/** The micro-batch's share of the loss, but for the regulariser. */
function lossOf(
  model: Model,
  look: Look,
  scores: Scores,
  options: Labels & Pick<GradientOptions, "classWeights">,
): tf.Scalar {
  return scores.evidence
    ? evidenceLoss(
      model,
      look,
      { ...scores, evidence: scores.evidence },
      options,
    )
    : imageLoss(model, look, scores.logits, options);
}

/** The micro-batch's share of the batch's mean loss. */
function imageLoss(
  model: Model,
  { glimpses }: Drawn,
  logits: tf.Tensor2D,
  { goals, of, given, classWeights }:
    & Labels
    & Pick<GradientOptions, "classWeights">,
): tf.Scalar {
  if (given) return givenLoss(logits, given);
  const target = targetOf(model);
  const reference = [model.classes.indexOf(model.config.referenceClass ?? "")];
  const ofRows = glimpses.map(({ image, contrastive }) =>
    contrastive ? reference : goals[image]!
  );
  const weights = glimpses.map(({ contrastive }, row) =>
    (contrastive ? 1 : target.weight(ofRows[row]!, classWeights)) / of
  );
  return target.loss!(logits, { goals: ofRows, weights });
}
