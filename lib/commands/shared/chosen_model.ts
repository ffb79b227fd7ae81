/**
 * What `--checkpoint` names: a model, or the models of a cross-validation.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { count } from "../../data/table.ts";
import type { EnsembleRecord } from "../../eval/records.ts";
import {
  type AnnotatedCount,
  type CheckpointInfo,
  type ModelReference,
  modelReference,
  readCheckpointInfo,
} from "../../model/checkpoint.ts";
import { type Ensemble, readEnsemble } from "../../train/runs/ensemble.ts";

/** A model, or an ensemble of models of one configuration. */
export interface ChosenModel
  extends Pick<CheckpointInfo, "classes" | "config"> {
  /** As it was named. */
  path: string;
  /** Its name and version; the version of an ensemble is of all its members. */
  reference: ModelReference;
  /** Its checkpoints: one, or that of each fold. */
  members: readonly CheckpointInfo[];
  /** The largest of its members' annotated objects; null for labels alone. */
  annotated: AnnotatedCount | null;
  ensemble: Ensemble | undefined;
}

/**
 * Reads what a path names, and says which folds an ensemble is of.
 *
 * @throws {CheckpointError} If there is no checkpoint, or it is damaged.
 */
export async function readChosenModel(path: string): Promise<ChosenModel> {
  const ensemble = await readEnsemble(path);
  const members: CheckpointInfo[] = [];
  for (const run of ensemble?.runs ?? [path]) {
    members.push(await readCheckpointInfo(run));
  }
  if (ensemble) console.error(ensembleText(ensemble));
  const { classes, config, sha256 } = members[0]!;
  const [annotated = null] = members.map(({ annotated }) => annotated)
    .toSorted((a, b) => (b?.objects ?? 0) - (a?.objects ?? 0));
  return {
    path,
    classes,
    config,
    members,
    annotated,
    ensemble,
    reference: modelReference(path, ensemble ? joined(members) : sha256),
  };
}

/** An ensemble, as evaluations record it. */
export function ensembleRecord(
  { ensemble, members }: ChosenModel,
): EnsembleRecord {
  const { folder, protocol, folds } = ensemble!;
  return {
    folder,
    protocol,
    members: members.map(({ sha256 }, i) => ({ fold: folds[i]!, sha256 })),
  };
}

/** The SHA-256 of the members' hashes, one a line. */
function joined(members: readonly CheckpointInfo[]): string {
  return createHash("sha256")
    .update(members.map(({ sha256 }) => `${sha256}\n`).join(""))
    .digest("hex");
}

function ensembleText(
  { folder, protocol, folds, missing }: Ensemble,
): string {
  return `ensemble of ${
    count(folds.length, "model")
  } of ${folder}: ${protocol}, folds ${folds.join(", ")}${
    missing.length > 0 ? ` (not done: ${missing.join(", ")})` : ""
  }`;
}
