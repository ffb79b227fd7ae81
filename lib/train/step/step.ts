/**
 * One training step: look, draw, read, score, and move the parameters.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { figuresOf } from "../../../kernels/step_report/step_report.ts";
import { sums } from "../../../kernels/sum/sums.ts";
import { readLater } from "../../engine/read_later.ts";
import type { Model } from "../../model/model.ts";
import { channelsOf, meanUpdates } from "../../model/networks.ts";
import type { Parameters } from "../../model/parameters.ts";
import { targetOf } from "../../model/targets/targets.ts";
import type { Goal } from "../../target.ts";
import type { AdamW, ParameterStep } from "../optimizer.ts";
import type { StepOptions, TrainingImage } from "./micro_batch.ts";
import { type BackwardPass, disposeBackward, isAttention } from "./backward.ts";
import { backwardPasses } from "./passes.ts";

/** The four networks, as parameter names begin. */
export const NETS = ["a", "b", "f", "g"] as const;

/** Figures of a step for the log. */
export interface StepReport {
  loss: number;
  /** Images whose label was predicted correctly; null if none can be. */
  correct: number | null;
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
  const { length: of } = images;
  const passes = await backwardPasses(model, images, { ...options, of });
  return stepBy(model, optimizer, passes, options);
}

/**
 * Moves the parameters by the gradients of a batch, which are added in the order
 * of `passes`; frees those.
 *
 * @returns a function that gives the report, as of {@linkcode takeStep}.
 */
export function stepBy(
  model: Model,
  optimizer: AdamW,
  passes: readonly BackwardPass[],
  options: Pick<StepOptions, "rate">,
): () => Promise<StepReport> {
  try {
    const { names, squares } = move(model, optimizer, passes, options);
    const ofGradients = { names, read: readLater(squares) };
    squares.dispose();
    const ofPasses = passes.map(({ report, goals }) => ({
      goals,
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
  { rate }: Pick<StepOptions, "rate">,
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
      passes.map(({ goals }) => goals.length),
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
  const names = [...first!.gradients.keys()];
  const totals = sums(
    passes.map(({ gradients }) => names.map((name) => gradients.get(name)!)),
  );
  return new Map(names.map((name, i) => [name, totals[i]!]));
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
  model: Model,
  { names, read }: { names: readonly string[]; read: Read },
  passes: readonly { goals: Goal[]; read: Read }[],
): Promise<StepReport> {
  const [ofParameters, ...reports] = await Promise.all([
    read(),
    ...passes.map(({ read }) => read()),
  ]);
  const figures = figuresOf(reports, channelsOf(model.config.network));
  const goals = passes.flatMap(({ goals }) => goals);
  const target = targetOf(model);
  const { length: count } = target.logits;
  const right = goals.map((goal, i) =>
    target.right(figures.logits.slice(i * count, (i + 1) * count), goal)
  ).filter((share) => share !== null);
  return {
    loss: figures.loss,
    correct: right.length > 0 ? right.reduce((a, b) => a + b) : null,
    images: goals.length,
    gradientNorms: normsOfNets(names, ofParameters!),
    tileEntropy: figures.tileEntropy,
    subTileEntropy: figures.subTileEntropy,
    featureCosine: figures.cosine,
    liveChannels: Array.from(figures.largest, (value) => value > 0),
  };
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
