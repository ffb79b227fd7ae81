/**
 * One training step: look, draw, read, score, and move the parameters.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import type { Key } from "../../kernels/random.ts";
import { orient } from "../image/orient.ts";
import type { Pyramid } from "../image/pyramid.ts";
import {
  featureChannels,
  type Parameters,
  parameterSpecs,
  type StatisticUpdates,
} from "../model/networks.ts";
import { isTrained } from "../model/parameters.ts";
import type { PlanImage } from "../model/glimpse.ts";
import { type Plan, plan } from "../model/plan.ts";
import type { Model } from "../model/model.ts";
import { score, type Scores } from "../model/zoom_in.ts";
import { negativeEntropy } from "../sampling/entropy.ts";
import type { Augmentation } from "./augmentation.ts";
import { crossEntropy } from "./loss.ts";
import type { AdamW, ParameterStep } from "./optimizer.ts";

/** The four networks, as parameter names begin. */
export const NETS = ["a", "b", "f", "g"] as const;

/** One image of a training batch. */
export interface TrainingImage {
  pyramid: Pyramid;
  classIndex: number;
  augmentation: Augmentation;
  /** Key of its draws: seed, epoch, image. */
  key: Key;
}

/** What stays the same over the steps of an epoch. */
export interface StepOptions {
  /** Factor of both learning rates. */
  rate: number;
  /** Whether the contrastive term is on. */
  contrastive: boolean;
  /** Whether a and b stay as they are (after a warm start). */
  freezeAttention: boolean;
  /** Weight of each class in the loss. */
  classWeights: readonly number[];
  signal?: AbortSignal | undefined;
}

/** What a step tells the log. */
export interface StepReport {
  loss: number;
  /** Images whose class was guessed. */
  correct: number;
  images: number;
  /** Norm of the gradient of each net, before clipping. */
  gradientNorms: Record<(typeof NETS)[number], number>;
  /** Mean entropy of the attention maps, nats. */
  tileEntropy: number;
  subTileEntropy: number;
  /** Mean cosine between the features of two sub-tiles. */
  featureCosine: number;
  /** Which feature channels were above zero, `[K]`. */
  liveChannels: boolean[];
}

/** Runs one step on a batch of images and returns what it saw. */
export async function trainStep(
  model: Model,
  optimizer: AdamW,
  images: readonly TrainingImage[],
  options: StepOptions,
): Promise<StepReport> {
  const { batchSize, imagesPerPass } = model.config.training;
  const size = Math.min(imagesPerPass ?? batchSize, images.length);
  const passes: Pass[] = [];
  try {
    for (let at = 0; at < images.length; at += size) {
      const part = images.slice(at, at + size);
      passes.push(
        await runPass(model, part, { ...options, of: images.length }),
      );
    }
    const report = move(model, optimizer, passes, options);
    return await readReport(model, report, passes);
  } finally {
    for (const { gradients, report, updates } of passes) {
      tf.dispose([...gradients.values(), report, ...updates.values()]);
    }
  }
}

/** Gradients of some images of the batch, and what their log needs. */
interface Pass {
  gradients: Map<string, tf.Tensor>;
  report: tf.Tensor1D;
  updates: StatisticUpdates;
  classes: number[];
}

async function runPass(
  model: Model,
  images: readonly TrainingImage[],
  options: StepOptions & { of: number },
): Promise<Pass> {
  const planned = await plan(
    model,
    images.map((image) => planImage(model, image, options.contrastive)),
    {
      samples: model.config.view.samples,
      draws: "seeded",
      ...(options.signal && { signal: options.signal }),
    },
  );
  const names = trainedNames(model, options.freezeAttention);
  const variables = names.map((name) => model.parameters.get(name)!);
  const updates: StatisticUpdates = new Map();
  let report: tf.Tensor1D | undefined;
  const { value, grads } = tf.variableGrads(() => {
    const scores = score(model, planned, { updates });
    for (const update of updates.values()) tf.keep(update);
    const loss = totalLoss(model, planned, scores, { images, ...options });
    report = tf.keep(reportOf(scores, planned, loss));
    return loss;
  }, variables);
  value.dispose();
  planned.dispose();
  const gradients = new Map<string, tf.Tensor>();
  names.forEach((name, i) => {
    const gradient = grads[variables[i]!.name];
    if (gradient) gradients.set(name, gradient);
  });
  return {
    gradients,
    report: report!,
    updates,
    classes: images.map(({ classIndex }) => classIndex),
  };
}

function planImage(
  { config, classes }: Model,
  { pyramid, classIndex, augmentation, key }: TrainingImage,
  contrastive: boolean,
): PlanImage {
  const { referenceClass } = config;
  return {
    pyramid: orient(pyramid, augmentation.orientation),
    gain: augmentation.gain,
    densities: augmentation.densities,
    key,
    contrastive: contrastive && referenceClass !== null &&
      classes[classIndex] !== referenceClass,
  };
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

function isAttention(name: string): boolean {
  return name.startsWith("a/") || name.startsWith("b/");
}

/** The pass's share of the batch's mean loss. */
function totalLoss(
  { config, classes }: Model,
  { glimpses, draws }: Plan,
  { logits, tileAttention, subTileAttention }: Scores,
  { images, of, classWeights }: {
    images: readonly TrainingImage[];
    of: number;
    classWeights: readonly number[];
  },
): tf.Scalar {
  const targets = glimpses.map(({ image, contrastive }) =>
    contrastive
      ? classes.indexOf(config.referenceClass!)
      : images[image]!.classIndex
  );
  const weights = glimpses.map(({ contrastive }, row) =>
    (contrastive ? 1 : classWeights[targets[row]!]!) / of
  );
  let loss = crossEntropy(logits, { targets, weights });
  const { entropyWeight } = config.training;
  if (entropyWeight === 0) return loss;
  const share = entropyWeight / of;
  for (const attention of tileAttention) {
    loss = tf.add(loss, negativeEntropy(attention, [share]));
  }
  // The mean over an image's tiles, so that the weight does not grow with N.
  const ofTiles = Array.from(draws.rowOf, (row) => {
    const { contrastive, tiles } = glimpses[row]!;
    return contrastive ? 0 : share / tiles.length;
  });
  return tf.add(loss, negativeEntropy(subTileAttention, ofTiles));
}

// Order of the numbers in a report: these, then K channel maxima, then logits.
const LOSS = 0, TILE_ENTROPY = 1, SUB_TILE_ENTROPY = 2, COSINE = 3, HEAD = 4;

/** All that the log wants of a pass, as one tensor: one read-back a pass. */
function reportOf(
  { features, logits, tileAttention, subTileAttention }: Scores,
  { groups }: Plan,
  loss: tf.Scalar,
): tf.Tensor1D {
  const images = groups.reduce((sum, group) => sum + group.images.length, 0);
  const tileEntropy = tf.mul(
    tf.sum(tf.stack(tileAttention.map(meanEntropy))),
    1 / images,
  );
  const count = features.shape[0];
  const length = tf.sum(tf.square(tf.sum(features, 0))); // |sum of unit rows|^2
  const cosine = count > 1
    ? tf.div(tf.sub(length, count), count * (count - 1))
    : tf.scalar(1);
  return tf.concat1d([
    tf.stack([loss, tileEntropy, meanEntropy(subTileAttention), cosine]),
    tf.max(features, 0),
    tf.reshape(tf.slice(logits, [0, 0], [images, -1]), [-1]),
  ] as tf.Tensor1D[]);
}

function meanEntropy(attention: tf.Tensor2D): tf.Tensor {
  const logs = tf.log(tf.add(attention, 1e-30));
  return tf.mul(tf.sum(tf.mul(attention, logs)), -1 / attention.shape[0]);
}

/** Adds the passes up, clips, and steps; returns the gradient norm of each net. */
function move(
  model: Model,
  optimizer: AdamW,
  passes: readonly Pass[],
  { rate }: StepOptions,
): tf.Tensor1D {
  return tf.tidy(() => {
    const gradients = summed(passes);
    const squares = NETS.map((net) => {
      const parts = [...gradients]
        .filter(([name]) => name.startsWith(`${net}/`))
        .map(([, gradient]) => tf.sum(tf.square(gradient)));
      // Not addN: on webgpu it fails beyond the buffers a shader may bind.
      return parts.length ? tf.sum(tf.stack(parts)) : tf.scalar(0);
    });
    const { training } = model.config;
    const norm = tf.sqrt(tf.sum(tf.stack(squares)));
    const factor = tf.minimum(1, tf.div(training.clipNorm, norm));
    optimizer.step(
      new Map(
        [...gradients].map(([name, gradient]) => [
          name,
          parameterStep(model, name, tf.mul(gradient, factor), rate),
        ]),
      ),
    );
    const images = passes.reduce((sum, pass) => sum + pass.classes.length, 0);
    for (const name of passes[0]!.updates.keys()) {
      const shares = passes.map(({ updates, classes }) =>
        tf.mul(updates.get(name)!, classes.length / images)
      );
      model.parameters.get(name)!.assign(
        shares.reduce((sum, share) => tf.add(sum, share)),
      );
    }
    return tf.sqrt(tf.stack(squares)) as tf.Tensor1D;
  });
}

function summed(passes: readonly Pass[]): Map<string, tf.Tensor> {
  const [first, ...rest] = passes;
  if (rest.length === 0) return first!.gradients;
  return new Map(
    [...first!.gradients].map(([name, gradient]) => [
      name,
      rest.reduce(
        (sum, pass) => tf.add(sum, pass.gradients.get(name)!),
        gradient,
      ),
    ]),
  );
}

function parameterStep(
  { config, parameters }: Model,
  name: string,
  gradient: tf.Tensor,
  rate: number,
): ParameterStep {
  const { learningRate, attentionLearningRate, weightDecay } = config.training;
  const base = isAttention(name) ? attentionLearningRate : learningRate;
  return {
    variable: parameters.get(name)!,
    gradient,
    learningRate: base * rate,
    // Biases and scales are left alone: decay would only pull them off centre.
    weightDecay: name.endsWith("/weight") ? weightDecay : 0,
  };
}

async function readReport(
  { config, classes }: Model,
  norms: tf.Tensor1D,
  passes: readonly Pass[],
): Promise<StepReport> {
  const [a, b, f, g] = await norms.data();
  norms.dispose();
  const channels = featureChannels[config.network.features];
  const report: StepReport = {
    loss: 0,
    correct: 0,
    images: 0,
    gradientNorms: { a: a!, b: b!, f: f!, g: g! },
    tileEntropy: 0,
    subTileEntropy: 0,
    featureCosine: 0,
    liveChannels: new Array<boolean>(channels).fill(false),
  };
  for (const pass of passes) {
    const values = await pass.report.data();
    report.loss += values[LOSS]!;
    report.tileEntropy += values[TILE_ENTROPY]! / passes.length;
    report.subTileEntropy += values[SUB_TILE_ENTROPY]! / passes.length;
    report.featureCosine += values[COSINE]! / passes.length;
    for (let c = 0; c < channels; c++) {
      report.liveChannels[c] ||= values[HEAD + c]! > 0;
    }
    pass.classes.forEach((classIndex, i) => {
      const start = HEAD + channels + i * classes.length;
      const logits = values.subarray(start, start + classes.length);
      if (logits.indexOf(Math.max(...logits)) === classIndex) report.correct++;
    });
    report.images += pass.classes.length;
  }
  return report;
}

/** Parameters of one net, by name. */
export function netParameters(
  parameters: Parameters,
  net: (typeof NETS)[number],
): Map<string, tf.Variable> {
  return new Map(
    [...parameters].filter(([name]) => name.startsWith(`${net}/`)),
  );
}
