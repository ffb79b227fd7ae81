/**
 * One training step: look, draw, read, score, and move the parameters.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import type { Model } from "../../model/model.ts";
import { channelsOf, meanUpdates } from "../../model/networks.ts";
import type { Parameters } from "../../model/parameters.ts";
import { lookAt } from "../../model/look/look_at.ts";
import type { AdamW, ParameterStep } from "../optimizer.ts";
import {
  backward,
  COSINE,
  HEAD,
  lookImages,
  LOSS,
  type StepOptions,
  SUB_TILE_ENTROPY,
  TILE_ENTROPY,
  type TrainingImage,
} from "./micro_batch.ts";
import { type BackwardPass, disposeBackward, isAttention } from "./backward.ts";

/** The four networks, as parameter names begin. */
export const NETS = ["a", "b", "f", "g"] as const;

/** Figures of a step for the log. */
export interface StepReport {
  loss: number;
  /** Images whose class was predicted correctly. */
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

/** Runs one step on a batch of images, micro-batch by micro-batch. */
export async function trainStep(
  model: Model,
  optimizer: AdamW,
  images: readonly TrainingImage[],
  options: StepOptions,
): Promise<StepReport> {
  const passes: BackwardPass[] = [];
  try {
    const looks = lookAt(model, await lookImages(model, images, options), {
      samples: model.config.view.samples,
      draws: "seeded",
      training: true,
      exploration: options.exploration,
      memory: options.memory,
      signal: options.signal,
    });
    for await (const look of looks) {
      const classes = look.places.map((place) => images[place]!.classIndex);
      const labels = { classes, of: images.length };
      passes.push(await backward(model, look, { ...options, ...labels }));
    }
    const report = move(model, optimizer, passes, options);
    return await readReport(model, report, passes);
  } finally {
    passes.forEach(disposeBackward);
  }
}

/** Adds the gradients up, clips, and steps; returns the norm of each net's. */
function move(
  model: Model,
  optimizer: AdamW,
  passes: readonly BackwardPass[],
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
    const updates = meanUpdates(
      passes.map(({ updates }) => updates),
      passes.map(({ classes }) => classes.length),
    );
    for (const [name, update] of updates) {
      model.parameters.get(name)!.assign(update);
    }
    return tf.sqrt(tf.stack(squares)) as tf.Tensor1D;
  });
}

function summed(passes: readonly BackwardPass[]): Map<string, tf.Tensor> {
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
  passes: readonly BackwardPass[],
): Promise<StepReport> {
  const [a, b, f, g] = await norms.data();
  norms.dispose();
  const channels = channelsOf(config.network);
  const images = passes.reduce((sum, { classes }) => sum + classes.length, 0);
  const report: StepReport = {
    loss: 0,
    correct: 0,
    images,
    gradientNorms: { a: a!, b: b!, f: f!, g: g! },
    tileEntropy: 0,
    subTileEntropy: 0,
    featureCosine: 0,
    liveChannels: new Array<boolean>(channels).fill(false),
  };
  for (const pass of passes) {
    const values = await pass.report.data();
    const share = pass.classes.length / images;
    report.loss += values[LOSS]!;
    report.tileEntropy += values[TILE_ENTROPY]! * share;
    report.subTileEntropy += values[SUB_TILE_ENTROPY]! * share;
    report.featureCosine += values[COSINE]! * share;
    for (let c = 0; c < channels; c++) {
      report.liveChannels[c] ||= values[HEAD + c]! > 0;
    }
    pass.classes.forEach((classIndex, i) => {
      const start = HEAD + channels + i * classes.length;
      const logits = values.subarray(start, start + classes.length);
      if (logits.indexOf(Math.max(...logits)) === classIndex) report.correct++;
    });
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
