/**
 * The loss and the backward pass of a micro-batch, and its figures for the log.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import type { Key } from "../../kernels/random.ts";
import { crop } from "../image/pyramids/crop.ts";
import { placedPart } from "../image/level_geometry.ts";
import { orient } from "../image/pyramids/oriented.ts";
import type { Pyramid } from "../image/pyramid.ts";
import { composed, type DensityMatrix } from "../image/stains/stains.ts";
import {
  type ForegroundChoice,
  foregroundOf,
} from "../image/foreground/tissue.ts";
import type { Memory } from "../memory.ts";
import type { Drawn, PlanImage } from "../model/look/draws.ts";
import type { Model } from "../model/model.ts";
import { parameterSpecs } from "../model/networks.ts";
import { isTrained } from "../model/parameters.ts";
import { type Plan, plan } from "../model/look/whole.ts";
import { type BlockPlan, planInBlocks } from "../model/look/blocks.ts";
import { type DrawnScores, score, scoreDrawn } from "../model/zoom_in.ts";
import { negativeEntropy } from "../sampling/entropy.ts";
import type { Augmentation } from "./augmentation.ts";
import { addAttentionGradients } from "./block_gradients.ts";
import { crossEntropy } from "./loss.ts";
import {
  type BackwardPass,
  isAttention,
  record,
  runBackward,
} from "./backward.ts";

/** One image of a training batch. */
export interface TrainingImage {
  pyramid: Pyramid;
  classIndex: number;
  /** Optical-density transform that normalises the stains; null for none. */
  stains: DensityMatrix | null;
  augmentation: Augmentation;
  /** Key of its draws: seed, epoch, image. */
  key: Key;
}

/** Options that are constant over the steps of an epoch. */
export interface StepOptions {
  /** Factor of both learning rates. */
  rate: number;
  /** Adds the contrastive term. */
  contrastive: boolean;
  /** Keeps a and b as they are (after a warm start). */
  freezeAttention: boolean;
  /** Weight of each class in the loss. */
  classWeights: readonly number[];
  /** Foreground that is drawn from; the configuration's if omitted. */
  foreground?: ForegroundChoice | undefined;
  /** Memory bound of the tensors. */
  memory: Memory;
  signal?: AbortSignal | undefined;
}

/** The images of a micro-batch, and their classes. */
export interface MicroBatchImages {
  images: readonly PlanImage[];
  classes: readonly number[];
  /** Images of the whole batch. */
  of: number;
}

/** The images of a batch as they are looked at, augmented. */
export function planImages(
  model: Model,
  images: readonly TrainingImage[],
  options: StepOptions,
): Promise<PlanImage[]> {
  return Promise.all(
    images.map((image) => planImage(model, image, options)),
  );
}

async function planImage(
  { config, classes }: Model,
  { pyramid, classIndex, stains, augmentation, key }: TrainingImage,
  { contrastive, foreground, signal }: StepOptions,
): Promise<PlanImage> {
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
      classes[classIndex] !== referenceClass,
  };
}

/** The backward pass of images whose views are held at once. */
export async function backwardTogether(
  model: Model,
  part: MicroBatchImages,
  options: StepOptions,
): Promise<BackwardPass> {
  const planned = await plan(model, part.images, {
    samples: model.config.view.samples,
    draws: "seeded",
    memory: options.memory,
    signal: options.signal,
  });
  return await runBackward(planned, part.classes, async (pass) => {
    await record(model, planned, pass, {
      names: trainedNames(model, options.freezeAttention),
      loss(how) {
        const scores = score(model, planned, how);
        const { tileAttention, subTileAttention } = scores;
        const loss = tf.add(
          classLoss(model, planned, scores.logits, { ...part, ...options }),
          entropyLoss(model, planned, {
            tileAttention,
            subTileAttention,
            of: part.of,
          }),
        ) as tf.Scalar;
        pass.report = tf.keep(reportOf(scores, {
          loss,
          tileEntropy: tf.mean(tf.stack(tileAttention.map(meanEntropy))),
          subTileEntropy: meanEntropy(subTileAttention),
          images: part.images.length,
        }));
        return loss;
      },
    });
  });
}

/**
 * The backward pass of one image in blocks. tfjs records f and g alone, with the
 * attention of the draws as variables; from their gradients those of a and b are
 * computed, block by block.
 */
export async function backwardInBlocks(
  model: Model,
  part: MicroBatchImages,
  options: StepOptions,
): Promise<BackwardPass> {
  const planned = await planInBlocks(model, part.images[0]!, {
    samples: model.config.view.samples,
    draws: "seeded",
    entropy: true,
    memory: options.memory,
    signal: options.signal,
  });
  return await runBackward(planned, part.classes, async (pass) => {
    const names = trainedNames(model, options.freezeAttention);
    const own = names.filter((name) => !isAttention(name));
    const attention = {
      tiles: variableOf(planned.tileAttention),
      subTiles: variableOf(planned.subTileAttention),
    };
    try {
      const [tiles, subTiles] = await record(model, planned, pass, {
        names: own,
        leaves: [attention.tiles, attention.subTiles],
        loss(how) {
          const scores = scoreDrawn(model, planned, attention, how);
          const loss = classLoss(model, planned, scores.logits, {
            ...part,
            ...options,
          });
          pass.report = tf.keep(blockReport(model, planned, scores, {
            loss,
            of: part.of,
          }));
          return loss;
        },
      });
      if (names.length === own.length) return;
      const share = model.config.training.entropyWeight / part.of;
      await addAttentionGradients(pass.gradients, model, planned, {
        tiles: tiles!,
        subTiles: subTiles!,
        entropyShare: share,
        tileShares: tileShares(planned, share),
      });
    } finally {
      tf.dispose(attention);
    }
  });
}

function variableOf(values: Float32Array): tf.Variable<tf.Rank.R1> {
  return tf.tidy(() => tf.variable(tf.tensor1d(values)));
}

function trainedNames(
  { config, classes }: Model,
  freezeAttention: boolean,
): string[] {
  return parameterSpecs(
    config.network.features,
    classes.length,
    config.network,
  )
    .filter((spec) => isTrained(spec))
    .map(({ name }) => name)
    .filter((name) => !(freezeAttention && isAttention(name)));
}

/** The micro-batch's share of the batch's mean cross-entropy. */
function classLoss(
  { config, classes }: Model,
  { glimpses }: Drawn,
  logits: tf.Tensor2D,
  { classes: labels, of, classWeights }:
    & Pick<MicroBatchImages, "classes" | "of">
    & {
      classWeights: readonly number[];
    },
): tf.Scalar {
  const targets = glimpses.map(({ image, contrastive }) =>
    contrastive ? classes.indexOf(config.referenceClass!) : labels[image]!
  );
  const weights = glimpses.map(({ contrastive }, row) =>
    (contrastive ? 1 : classWeights[targets[row]!]!) / of
  );
  return crossEntropy(logits, { targets, weights });
}

/** Its share of the entropy regulariser, over maps that are held at once. */
function entropyLoss(
  { config }: Model,
  planned: Plan,
  { tileAttention, subTileAttention, of }: {
    tileAttention: readonly tf.Tensor2D[];
    subTileAttention: tf.Tensor2D;
    of: number;
  },
): tf.Scalar {
  const { entropyWeight } = config.training;
  if (entropyWeight === 0) return tf.scalar(0);
  const share = entropyWeight / of;
  return tileAttention.reduce(
    (loss, attention) => tf.add(loss, negativeEntropy(attention, [share])),
    negativeEntropy(subTileAttention, tileShares(planned, share)),
  );
}

/**
 * Weight of each tile's entropy: together as much as that of the tile map, so
 * that it does not grow with N.
 */
function tileShares({ draws, glimpses }: Drawn, share: number): number[] {
  return Array.from(draws.rowOf, (row) => {
    const { contrastive, tiles } = glimpses[row]!;
    return contrastive ? 0 : share / tiles.length;
  });
}

/** Order of the numbers in a report: these, K channel maxima, then logits. */
export const LOSS = 0,
  TILE_ENTROPY = 1,
  SUB_TILE_ENTROPY = 2,
  COSINE = 3,
  HEAD = 4;

/** A micro-batch's figures for the log as one tensor: one read-back each. */
function reportOf(
  { features, logits }: DrawnScores,
  { loss, tileEntropy, subTileEntropy, images }: {
    loss: tf.Tensor;
    tileEntropy: tf.Tensor;
    subTileEntropy: tf.Tensor;
    images: number;
  },
): tf.Tensor1D {
  const count = features.shape[0];
  const length = tf.sum(tf.square(tf.sum(features, 0))); // |sum of unit rows|^2
  const cosine = count > 1
    ? tf.div(tf.sub(length, count), count * (count - 1))
    : tf.scalar(1);
  return tf.concat1d([
    tf.stack([loss, tileEntropy, subTileEntropy, cosine]),
    tf.max(features, 0),
    tf.reshape(tf.slice(logits, [0, 0], [images, -1]), [-1]),
  ] as tf.Tensor1D[]);
}

function meanEntropy(attention: tf.Tensor2D): tf.Tensor {
  const logs = tf.log(tf.add(attention, 1e-30));
  return tf.mul(tf.sum(tf.mul(attention, logs)), -1 / attention.shape[0]);
}

/** The report of one image in blocks, whose entropies are known. */
function blockReport(
  { config }: Model,
  planned: BlockPlan,
  scores: DrawnScores,
  { loss, of }: { loss: tf.Scalar; of: number },
): tf.Tensor1D {
  const { tileMap, tiles } = planned.entropy!;
  const share = config.training.entropyWeight / of;
  const shares = tileShares(planned, share);
  const regulariser = tiles.reduce(
    (sum, { negative }, i) => sum + shares[i]! * negative,
    share * tileMap.negative,
  );
  const entropies = tiles.reduce((sum, { entropy }) => sum + entropy, 0);
  return reportOf(scores, {
    loss: tf.add(loss, regulariser),
    tileEntropy: tf.scalar(tileMap.entropy),
    subTileEntropy: tf.scalar(entropies / tiles.length),
    images: 1,
  });
}
