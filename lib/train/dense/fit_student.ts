/**
 * All that follows the teacher: attention that finds what it found, the correction
 * of the evidence of draws, and close-ups.
 *
 * @module
 */
import type { FeatureCache } from "../../encoder/cache.ts";
import { CLOSE_UP } from "../../model/close_up/parameters.ts";
import { CORRECTION } from "../../model/head.ts";
import type { Model } from "../../model/model.ts";
import { OVERVIEW } from "../../model/networks.ts";
import type { TrainingBoxes } from "../boxes.ts";
import type { EpochFigures } from "../epoch_metrics.ts";
import { ALONE, Team } from "../parallel/team.ts";
import type { TrainOptions } from "../trainer.ts";
import type { ImageBag } from "./bags.ts";
import { fitCloseUp } from "./close_up/fit_close_up.ts";
import { fitLookalikes } from "./close_up/lookalikes.ts";
import { fitDrawCorrection } from "./draw_correction.ts";
import { encoderFeatures } from "./encoder_features.ts";
import { assign, type HeadArrays } from "./head/head_arrays.ts";
import { Locations } from "./locations.ts";
import { fitOverview } from "./overview_student.ts";
import { distil } from "./student.ts";
import type { StudentTarget } from "./student_gradients.ts";
import { StudentViews } from "./student_views.ts";
import {
  strongestPlaces,
  teacherShares,
  type TeacherTask,
} from "./teacher_scores.ts";

/** Options of {@linkcode fitStudent}. */
export interface StudentOptions extends
  Pick<
    TrainOptions,
    | "config"
    | "seed"
    | "cache"
    | "memory"
    | "foreground"
    | "signal"
    | "parallel"
  > {
  /** Keeps frozen features on disk. */
  featureCache?: FeatureCache | undefined;
  /** What the teacher decides between. */
  task: TeacherTask;
  /** Must be given if the model takes close-ups. */
  boxes: TrainingBoxes | undefined;
  /** Weight of each class in the loss. */
  classWeights: readonly number[];
  /** Lets signals, messages and more urgent work in; may throw. */
  breathe: () => Promise<void>;
  /** Called after each step. */
  onStep: (progress: { step: number; steps: number; loss?: number }) => void;
}

/**
 * Fits what is not yet trained of `model`, by the teacher's head; returns the
 * figures.
 *
 * @throws {DataError} If an object of a close-up is a point.
 * @throws {ImageError} If an image cannot be read.
 */
export async function fitStudent(
  model: Model,
  bags: readonly ImageBag[],
  head: HeadArrays,
  options: StudentOptions,
): Promise<EpochFigures> {
  const figures: EpochFigures = {};
  if (model.overview) {
    figures.studentLoss = await fitToOverview(model, bags, head, options);
  } else if (model.config.network.attention === "learned") {
    figures.studentLoss = await fitAttention(model, bags, head, options);
  }
  Object.assign(figures, await correctDraws(model, bags, head, options));
  if (model.closeUp) await learnCloseUp(model, bags, head, options);
  return figures;
}

/** Fits networks a and b; returns their loss. */
async function fitAttention(
  model: Model,
  bags: readonly ImageBag[],
  head: HeadArrays,
  options: StudentOptions,
): Promise<number> {
  const { seed, memory, task, signal, breathe, onStep } = options;
  const views = new StudentViews(model, options);
  const targets = bags.map(({ entry, image: { grid, allowed } }, i) => ({
    entry,
    grid,
    allowed,
    shares: teacherShares(head, bags[i]!, task),
  }));
  const images = targets.map((target) => ({
    ...target,
    views: () => views.of(target.entry, target.grid),
  }));
  const team = await studentTeam(model, targets, options);
  try {
    return await distil(model, images, {
      seed,
      memory,
      team,
      signal,
      beforeStep: breathe,
      onStep,
    });
  } finally {
    team.close();
  }
}

/** Workers that share the steps of the student, with its images. */
async function studentTeam(
  { classes, normalisation, fitted }: Model,
  targets: readonly StudentTarget[],
  { config, seed, foreground, memory, parallel = ALONE, signal }:
    StudentOptions,
): Promise<Team> {
  const team = await Team.start(parallel, {
    model: { config, classes, normalisation, fitted },
    seed,
    train: [],
    foreground,
    memoryBytes: memory.bytes,
  }, signal);
  try {
    await team.tell("learn", targets, signal);
    return team;
  } catch (error) {
    team.close();
    throw error;
  }
}

/** Fits attention by the encoder; returns its loss. */
async function fitToOverview(
  { overview, normalisation, parameters }: Model,
  bags: readonly ImageBag[],
  head: HeadArrays,
  options: StudentOptions,
): Promise<number> {
  const { config, seed, featureCache: cache, task, breathe, onStep } = options;
  const features = encoderFeatures(overview!, {
    cache,
    windowSize: config.view.subTileSize,
  });
  const locations = new Locations({
    ...options,
    boxes: undefined,
    features,
    side: 1,
    normalisation,
  });
  const images = bags.map((bag) => {
    const shares = teacherShares(head, bag, task);
    return {
      shares: Float64Array.from(bag.image.indices, (i) => shares[i]!),
      features: () => locations.features(bag.entry, bag.image, 0),
    };
  });
  const { weight, loss } = await fitOverview(images, {
    channels: features.channels,
    seed,
    beforeStep: breathe,
    onStep,
  });
  assign(parameters, OVERVIEW, weight);
  return loss;
}

/** Corrects the evidence of draws by what they lose on the training images. */
async function correctDraws(
  model: Model,
  bags: readonly ImageBag[],
  head: HeadArrays,
  options: StudentOptions,
): Promise<EpochFigures> {
  const { slope, offset } = await fitDrawCorrection(model, head, bags, {
    ...options,
    beforeImage: options.breathe,
  });
  assign(model.parameters, CORRECTION.slope, Float32Array.of(slope));
  assign(model.parameters, CORRECTION.offset, Float32Array.of(offset));
  return { correctionSlope: slope, correctionOffset: offset };
}

/** Learns to find, place and read the object in the heaviest sub-tile. */
async function learnCloseUp(
  model: Model,
  bags: readonly ImageBag[],
  head: HeadArrays,
  options: StudentOptions,
): Promise<void> {
  const { config, seed, task, breathe, onStep } = options;
  const lookalikes = fitLookalikes(bags, seed);
  const images = bags.map((bag) => ({
    entry: bag.entry,
    strongest: strongestPlaces(head, bag, task),
    lookalikes: bag.entry.label === config.referenceClass
      ? lookalikes(bag)
      : [],
  }));
  const fitted = await fitCloseUp(model, images, {
    ...options,
    boxes: options.boxes!,
    beforeImage: breathe,
    onImage: (step, steps) => onStep({ step, steps }),
  });
  for (const [name, { weight, bias }] of Object.entries(fitted)) {
    const own = CLOSE_UP[name as keyof typeof CLOSE_UP];
    assign(model.parameters, `${own}/weight`, weight);
    assign(model.parameters, `${own}/bias`, bias);
  }
}
