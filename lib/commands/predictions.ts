/**
 * Predictions of many images, and of groups of them, by a model or an ensemble.
 *
 * @module
 */
import {
  type EnsembleClassification,
  EnsembleMean,
  meanGroups,
} from "../eval/ensemble.ts";
import {
  checkedGroupModel,
  type GroupMember,
  type ImageGroup,
  type PredictedGroup,
  predictGroups,
} from "../eval/groups/groups.ts";
import type { ModelClassification } from "../eval/classification.ts";
import type { GroupPooling } from "../eval/groups/pooling.ts";
import { UsageError } from "../errors.ts";
import {
  type ClassifierSetup,
  classifyImages,
  defaultWorkers,
  type ImageTask,
  type Outcome,
} from "./classifier.ts";
import type { ChosenModel } from "./shared/chosen_model.ts";

/** An image as a model or an ensemble classifies it, or why that failed. */
export type Prediction =
  | {
    classification: ModelClassification | EnsembleClassification;
    /** Path of the heat map of its evidence, if that was written. */
    evidence?: string | undefined;
    error?: never;
  }
  | { error: string; classification?: never; evidence?: never };

/** Groups to predict, and how. */
export interface Grouping {
  by: GroupPooling;
  groups: readonly ImageGroup[];
}

/** Where outcomes come from: workers here, or the parts that shards recorded. */
export type ImageSource = {
  setup: Omit<ClassifierSetup, "checkpoints" | "groupPart">;
  /** A default number if omitted. */
  workers: number | undefined;
  signal: AbortSignal;
} | { recorded: readonly Outcome[] };

/** Options of {@linkcode predictImages}. */
export interface PredictImagesOptions {
  model: ChosenModel;
  source: ImageSource;
  grouping: Grouping | undefined;
  /** Called in the order of the images. */
  onPrediction: (prediction: Prediction, place: number) => void;
  /** Called after each image of each model. */
  onProgress: (done: number, total: number) => void;
}

/**
 * Checks that a model can do what is asked of it.
 *
 * @throws {UsageError} If it cannot.
 */
export function checkChosenModel(
  { path, members, config: { target }, ensemble }: ChosenModel,
  { by, isShard, outputs }: {
    by: GroupPooling | undefined;
    isShard: boolean;
    /** Flags of files that show where a model looked. */
    outputs: readonly string[];
  },
): void {
  if (target !== "classes" && (by || ensemble)) {
    throw new UsageError(
      `Cannot ${
        by ? "predict by group" : "take the mean of folds"
      } with ${path}: its target is ${target}, and only classes can be; ${
        by ? "leave out --by-group" : "give the checkpoint of a fold"
      }`,
    );
  }
  if (isShard && (by === "evidence" || ensemble)) {
    throw new UsageError(
      `Cannot do a shard of ${
        ensemble
          ? `the ensemble ${path}: give the checkpoint of a fold`
          : "--by-group evidence: give mean or max"
      }`,
    );
  }
  if (by) checkedGroupModel(by, members[0]!);
  if (ensemble && outputs.length > 0) {
    throw new UsageError(
      `Cannot write --${
        outputs[0]
      } of an ensemble: it shows where one model looked; give that of a fold, such as --checkpoint ${
        ensemble.runs[0]
      }`,
    );
  }
}

/**
 * Predicts images, and returns the predictions of their groups, if there are any.
 * The models of an ensemble are held one after the other.
 */
export async function predictImages(
  tasks: readonly ImageTask[],
  { model, source, grouping, onPrediction, onProgress }: PredictImagesOptions,
): Promise<PredictedGroup[] | undefined> {
  const { path, members, classes, ensemble, reference } = model;
  const byEvidence = grouping?.by === "evidence";
  const mean = ensemble && new EnsembleMean(reference, members.length);
  const failed = new Set<number>();
  // Of each model, or of the mean of all, by place of the image.
  const groupMembers = (byEvidence ? members : members.slice(0, 1))
    .map(() => new Array<GroupMember | undefined>(tasks.length));
  const note = (
    member: number,
    place: number,
    { classification, part }: {
      classification: EnsembleClassification;
      part?: GroupMember["part"];
    },
  ) => {
    const { probabilities } = classification;
    groupMembers[member]![place] = {
      probabilities: classes.map((name) => probabilities[name]!),
      part,
    };
  };
  let done = 0;
  const onOutcome = (
    { classification, evidence, groupPart, error }: Outcome,
    place: number,
    member: number,
  ) => {
    onProgress(++done, tasks.length * members.length);
    if (failed.has(place)) return; // under an earlier model
    if (!classification) {
      failed.add(place);
      for (const own of groupMembers) own[place] = undefined;
      onPrediction({ error }, place);
      return;
    }
    if (byEvidence) note(member, place, { classification, part: groupPart });
    const result = mean ? mean.add(place, classification) : classification;
    if (result === undefined) return; // more models follow
    if (!byEvidence) note(0, place, { classification: result });
    onPrediction({ classification: result, evidence }, place);
  };
  if ("recorded" in source) {
    source.recorded.forEach((outcome, place) => onOutcome(outcome, place, 0));
  } else {
    const { setup, workers = defaultWorkers(tasks.length, setup) } = source;
    const checkpoints = ensemble?.runs ?? [path];
    await classifyImages(tasks, {
      setup: { ...setup, checkpoints, groupPart: byEvidence },
      workers,
      signal: source.signal,
      onOutcome,
    });
  }
  if (!grouping) return undefined;
  const { by, groups } = grouping;
  const predicted: PredictedGroup[][] = [];
  for (const [member, own] of groupMembers.entries()) {
    const model = checkedGroupModel(by, members[member]!);
    predicted.push(await predictGroups(groups, own, model));
  }
  return meanGroups(predicted, classes);
}
