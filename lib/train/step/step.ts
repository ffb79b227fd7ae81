/**
 * One training step: look, draw, read, score, and move the parameters.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import {
  COSINE,
  HEAD,
  LOSS,
  SUB_TILE_ENTROPY,
  TILE_ENTROPY,
} from "../../../kernels/step_report/step_report.ts";
import { readLater } from "../../engine/read_later.ts";
import type { Model } from "../../model/model.ts";
import { channelsOf, meanUpdates } from "../../model/networks.ts";
import type { Parameters } from "../../model/parameters.ts";
import { lookAt } from "../../model/look/look_at.ts";
import type { AdamW, ParameterStep } from "../optimizer.ts";
import {
  backward,
  lookImages,
  type StepOptions,
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
  const report = await takeStep(model, optimizer, images, options);
  return await report();
}

/**
 * As {@linkcode trainStep}, without waiting for the report.
 *
 * @returns a function that gives the report; without a wait if the engine has
 *   read anything since.
 */
export async function takeStep(
  model: Model,
  optimizer: AdamW,
  images: readonly TrainingImage[],
  options: StepOptions,
): Promise<() => Promise<StepReport>> {
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
    const { names, squares } = move(model, optimizer, passes, options);
    const ofGradients = { names, read: readLater(squares) };
    squares.dispose();
    const ofPasses = passes.map(({ report, classes }) => ({
      classes,
      read: readLater(report),
    }));
    return () => readReport(model, ofGradients, ofPasses);
  } finally {
    passes.forEach(disposeBackward);
  }
}

/** Squared norm of the gradient of each parameter, before clipping. */
interface GradientSquares {
  names: string[];
  squares: tf.Tensor1D;
}

/** Adds the gradients up, clips them, and moves the parameters. */
function move(
  model: Model,
  optimizer: AdamW,
  passes: readonly BackwardPass[],
  { rate }: StepOptions,
): GradientSquares {
  return tf.tidy(() => {
    const gradients = [...summed(passes)];
    const steps = gradients.map(([name, gradient]) =>
      [name, parameterStep(model, name, gradient, rate)] as const
    );
    const { clipNorm } = model.config.training;
    const squares = optimizer.clippedStep(new Map(steps), clipNorm);
    const updates = meanUpdates(
      passes.map(({ updates }) => updates),
      passes.map(({ classes }) => classes.length),
    );
    for (const [name, update] of updates) {
      model.parameters.get(name)!.assign(update);
    }
    return { names: gradients.map(([name]) => name), squares };
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

/** Reads values that were copied on the engine. */
type Read = () => Promise<Float32Array>;

async function readReport(
  { config, classes }: Model,
  { names, read }: { names: readonly string[]; read: Read },
  passes: readonly { classes: number[]; read: Read }[],
): Promise<StepReport> {
  const [ofParameters, ...reports] = await Promise.all([
    read(),
    ...passes.map(({ read }) => read()),
  ]);
  const channels = channelsOf(config.network);
  const images = passes.reduce((sum, { classes }) => sum + classes.length, 0);
  const report: StepReport = {
    loss: 0,
    correct: 0,
    images,
    gradientNorms: normsOfNets(names, ofParameters!),
    tileEntropy: 0,
    subTileEntropy: 0,
    featureCosine: 0,
    liveChannels: new Array<boolean>(channels).fill(false),
  };
  for (const [i, pass] of passes.entries()) {
    const values = reports[i]!;
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

/** Norm of the gradient of each net, from the squares of its parameters. */
function normsOfNets(
  names: readonly string[],
  squares: ArrayLike<number>,
): StepReport["gradientNorms"] {
  const norms = { a: 0, b: 0, f: 0, g: 0 };
  for (const net of NETS) {
    norms[net] = Math.sqrt(names.reduce(
      (sum, name, i) => name.startsWith(`${net}/`) ? sum + squares[i]! : sum,
      0,
    ));
  }
  return norms;
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
