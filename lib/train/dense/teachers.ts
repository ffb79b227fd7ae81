/**
 * Teachers that learn side by side, each with a seed of its own, and their mean.
 *
 * @module
 */
import { TrainingError } from "../../errors.ts";
import type { Config } from "../../model/config.ts";
import { HIDDEN, RARE_BIAS } from "../../model/head.ts";
import type { EpochFigures } from "../epoch_metrics.ts";
import type { ImageBag } from "./bags.ts";
import { freshHead, type HeadArrays } from "./head/head_arrays.ts";
import { meanHead, memberSeed } from "./head/ensemble.ts";
import type { Projection } from "./projection.ts";
import {
  type TeacherEpoch,
  teacherEpochs,
  type TeacherOptions,
} from "./teacher.ts";

/** A head that learns, and its seed. */
export interface Teacher {
  head: HeadArrays;
  seed: number;
}

/** An epoch of all teachers. */
export interface TaughtEpoch {
  epoch: number;
  /** The head whose logits are the mean of theirs. */
  mean: HeadArrays;
  /** Means of their figures in training. */
  figures: EpochFigures;
}

const ADVICE = "lower training.learningRate, then start anew";

/** The teachers as they start: `network.heads` of them. */
export function freshTeachers(
  { bias }: Projection,
  { config: { network }, outputs, seed }: {
    config: Config;
    outputs: number;
    seed: number;
  },
): Teacher[] {
  const shape = { components: bias.length, hidden: HIDDEN, outputs };
  return Array.from({ length: network.heads }, (_, member) => {
    const own = memberSeed(seed, member);
    const head = freshHead(shape, {
      seed: own,
      bias: network.evidence.objects === null ? undefined : RARE_BIAS,
    });
    return { head, seed: own };
  });
}

/**
 * Trains teachers, an epoch of each at a time.
 *
 * @throws {TrainingError} If a loss is no longer a number.
 */
export async function* teachTogether(
  teachers: readonly Teacher[],
  bags: readonly ImageBag[],
  options: Omit<TeacherOptions, "seed">,
): AsyncGenerator<TaughtEpoch> {
  const members = teachers.map(({ head, seed }) =>
    teacherEpochs(head, bags, { ...options, seed })
  );
  for (let epoch = 1; epoch <= options.training.epochs; epoch++) {
    const found: TeacherEpoch[] = [];
    for (const member of members) {
      const next = await member.next();
      if (!next.done) found.push(next.value);
    }
    found.forEach(assertFinite);
    const accuracy = meanOf(found.map(({ accuracy }) => accuracy));
    yield {
      epoch,
      mean: meanHead(teachers.map(({ head }) => head)),
      figures: {
        loss: meanOf(found.map(({ loss }) => loss)),
        ...(Number.isFinite(accuracy) && { accuracy }),
        gradientNorm_g: meanOf(found.map((one) => one.gradientNorm)),
      },
    };
  }
}

function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function assertFinite({ epoch, loss, gradientNorm }: TeacherEpoch): void {
  if (Number.isFinite(loss) && Number.isFinite(gradientNorm)) return;
  throw new TrainingError(
    `Cannot continue training: the loss of the teacher is ${loss} in epoch ${epoch}; ${ADVICE}`,
  );
}
