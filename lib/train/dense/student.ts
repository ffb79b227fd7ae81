/**
 * The student: a and b learn to find what the dense teacher found. Their targets
 * are its shares of the locations in the evidence, softmax(r z), which is the
 * best proposal for the draws: the sum over each tile for a, and the shares
 * within a tile for b.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { randomKey, RandomStream } from "../../../kernels/random.ts";
import type { Memory } from "../../memory.ts";
import type { Model } from "../../model/model.ts";
import type { Parameters } from "../../model/parameters.ts";
import { orientations } from "../augmentation.ts";
import { inOrder, sharesOf } from "../batches.ts";
import { AdamW } from "../optimizer.ts";
import type { Team } from "../parallel/team.ts";
import { tensorsOf, valuesOf } from "../parallel/values.ts";
import { netParameters } from "../step/step.ts";
import { oneCycle } from "./head/one_cycle.ts";
import {
  disposeStudent,
  STUDENT,
  STUDENT_BATCH,
  type StudentGradients,
  studentGradients,
  type StudentImage,
  type StudentOrder,
} from "./student_gradients.ts";

/** Options of {@linkcode distil}. */
export interface DistilOptions {
  seed: number;
  memory: Memory;
  /** Shares each step, once it has been given the images to `learn`. */
  team?: Team | undefined;
  signal?: AbortSignal | undefined;
  /** Awaited before each step. */
  beforeStep?: () => Promise<void>;
  /** Called after each step, with its loss. */
  onStep?: (progress: { step: number; steps: number; loss: number }) => void;
}

/** Steps of a distillation. */
export const STUDENT_STEPS = 150;

const WEIGHT_DECAY = 1e-4;
const RISING = 0.3; // share of the steps in which the learning rate rises

/**
 * Fits a and b of `model`.
 *
 * @returns the mean loss of the last tenth of the steps: cross-entropies of a and
 *   b together, nats.
 */
export async function distil(
  model: Model,
  images: readonly StudentImage[],
  { seed, beforeStep, onStep, ...options }: DistilOptions,
): Promise<number> {
  const choices = orientations(model.config.training.augmentation);
  const optimizer = new AdamW();
  const losses: number[] = [];
  try {
    for (let step = 0; step < STUDENT_STEPS; step++) {
      await beforeStep?.();
      const random = new RandomStream(randomKey(seed, STUDENT, step));
      const batch = random.shuffle([...images.keys()]).slice(0, STUDENT_BATCH);
      const orientation = choices[random.below(choices.length)]!;
      const order = { seed, step, orientation, of: batch.length };
      const done = await sharedGradients(model, images, {
        ...options,
        batch,
        order,
      });
      const rate = oneCycle(step, STUDENT_STEPS, RISING);
      const loss = await moveAttention(model, optimizer, done, rate);
      losses.push(loss);
      onStep?.({ step: step + 1, steps: STUDENT_STEPS, loss });
    }
  } finally {
    optimizer.dispose();
  }
  const last = losses.slice(-Math.ceil(STUDENT_STEPS / 10));
  return last.reduce((sum, loss) => sum + loss, 0) / last.length;
}

/** The gradients at the images of a step, in the order of the batch. */
async function sharedGradients(
  model: Model,
  images: readonly StudentImage[],
  { batch, order, memory, team, signal }:
    & Pick<DistilOptions, "memory" | "team" | "signal">
    & { batch: readonly number[]; order: StudentOrder },
): Promise<StudentGradients[]> {
  const here = (places: readonly number[]) =>
    studentGradients(
      model,
      places.map((place) => ({ ...images[place]!, place })),
      { ...order, memory, signal },
    );
  if (!team || team.workers === 1) return await here(batch);
  const [first, ...others] = sharesOf(batch, team.workers);
  const weights = await valuesOf(attentionOf(model.parameters));
  const theirs = team.ask(
    "student",
    others.map((images) => ({ ...order, weights, images })),
    signal,
  );
  const own = await here(first!);
  try {
    const values = (await theirs).flat();
    const made = values.map(({ loss, gradients }) => ({
      loss: tf.scalar(loss),
      gradients: tensorsOf(gradients),
    }));
    return inOrder(batch, [first!, ...others], [...own, ...made]);
  } catch (error) {
    own.forEach(disposeStudent);
    throw error;
  }
}

function attentionOf(parameters: Parameters): Map<string, tf.Variable> {
  return new Map([
    ...netParameters(parameters, "a"),
    ...netParameters(parameters, "b"),
  ]);
}

/** One step of a and b, which frees the gradients; returns its loss. */
async function moveAttention(
  { config, parameters }: Model,
  optimizer: AdamW,
  done: readonly StudentGradients[],
  rate: number,
): Promise<number> {
  const learningRate = config.training.attentionLearningRate * rate;
  const loss = tf.tidy(() => {
    const gradientOf = (name: string) =>
      done.map(({ gradients }) => gradients.get(name)!)
        .reduce((sum, gradient) => tf.add(sum, gradient));
    optimizer.step(
      new Map(
        [...attentionOf(parameters)].map(([name, variable]) => [name, {
          variable,
          gradient: gradientOf(name),
          learningRate,
          weightDecay: name.endsWith("/weight") ? WEIGHT_DECAY : 0,
        }]),
      ),
    );
    return done.map(({ loss }) => loss).reduce((a, b) => tf.add(a, b));
  });
  try {
    return (await loss.data())[0]!;
  } finally {
    loss.dispose();
    done.forEach(disposeStudent);
  }
}
