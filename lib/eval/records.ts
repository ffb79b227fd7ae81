/**
 * The files of an evaluation, from which a report is made.
 *
 * @module
 */
import { mkdir } from "node:fs/promises";
import { basename, join, parse, resolve } from "node:path";
import { writeFileAtomically, writeJson } from "../files.ts";
import type { Size } from "../image/geometry.ts";
import type { Calibration } from "../model/calibration.ts";
import type { EvaluatedImage, LabelledImage } from "./evaluate.ts";
import { groupTable, type PredictedGroup } from "./groups/groups.ts";
import type { PredictedSubTile } from "./predict.ts";
import { predictionTable } from "./report.ts";
import type { AnyReport } from "./targets/report.ts";

/** Figures of an evaluation by `eval`. */
export const EVALUATION_FILE = "evaluation.json";
/** A table with one classified image a line. */
export const PREDICTIONS_FILE = "predictions.csv";
/** A table with one group of images a line. */
export const GROUPS_FILE = "groups.csv";
/** Where the network looked, by image of the table, in its order. */
export const CASES_FILE = "cases.json";

/** Sub-tiles kept an image: those of most weight. */
export const CASE_SUB_TILES = 5;

/** An image, and the sub-tiles of most weight. */
export interface RecordedCase {
  /** Absolute path, or URL. */
  path: string;
  /** The patient, if images are grouped. */
  group?: string;
  /** Level-0 px. */
  size: Size;
  /** Heaviest first; level-0 px. */
  subTiles: PredictedSubTile[];
}

/** The models of a cross-validation whose mean was evaluated. */
export interface EnsembleRecord {
  /** Folder of the cross-validation. */
  folder: string;
  protocol: string;
  /** Its folds, and the SHA-256 of the checkpoint of each. */
  members: { fold: number; sha256: string }[];
}

/** An evaluation, as `eval` records it. */
export interface EvaluationRecord {
  /** SHA-256 of the checkpoint; of an ensemble, that of its members' hashes. */
  checkpoint: string;
  /** The members of an ensemble. */
  ensemble?: EnsembleRecord;
  /** The manifest. */
  data: string;
  /** Side of its split, or `all`. */
  split: string;
  /** Sub-tiles drawn an image. */
  samples: number;
  seed: number;
  calibration: Calibration | null;
  /** Machine and engine. */
  environment: Record<string, unknown>;
  seconds: number;
  cpuSeconds: number;
  /** Peak memory of the process, bytes. */
  peakBytes: number;
  report: AnyReport;
}

/** Name of an evaluation among those of a run: of its manifest and split. */
export function evaluationName(data: string, split: string): string {
  const { dir, name } = parse(resolve(data));
  return [basename(dir), name, split].filter(Boolean).join("-");
}

/** Predictions to record. */
export interface RecordedPredictions {
  images: readonly (EvaluatedImage | LabelledImage)[];
  /** Of groups of the images, if they were predicted. */
  groups?: readonly PredictedGroup[] | undefined;
}

/** Records an evaluation in `folder`, from which a report is made. */
export async function writeEvaluation(
  folder: string,
  record: EvaluationRecord,
  { images, groups }: RecordedPredictions,
): Promise<void> {
  const { classes } = record.report;
  await mkdir(folder, { recursive: true });
  await writePredictions(folder, images, classes);
  if (groups) {
    await writeFileAtomically(
      join(folder, GROUPS_FILE),
      groupTable(groups, classes),
    );
  }
  await writeJson(join(folder, EVALUATION_FILE), record);
}

/** Writes the table of the predictions, and the heaviest sub-tiles. */
export async function writePredictions(
  folder: string,
  images: readonly (EvaluatedImage | LabelledImage)[],
  classes: readonly string[],
): Promise<void> {
  await writeFileAtomically(
    join(folder, PREDICTIONS_FILE),
    predictionTable(images, classes),
  );
  const looked = images.filter(hasLooked);
  await writeJson(join(folder, CASES_FILE), looked.map(caseOf));
}

/** True if one model looked at it; an ensemble has no regions of its own. */
export function hasLooked(
  image: EvaluatedImage | LabelledImage,
): image is EvaluatedImage {
  return "subTiles" in image.classification;
}

function caseOf({ entry, classification }: EvaluatedImage): RecordedCase {
  const { path, group } = entry;
  const { image: { width, height }, subTiles } = classification;
  return {
    path,
    ...(group !== undefined && { group }),
    size: { width, height },
    subTiles: subTiles.toSorted((a, b) => b.weight - a.weight)
      .slice(0, CASE_SUB_TILES),
  };
}
