/**
 * The images of a run: the sides of its split, checked, and kept in its folder
 * with its configuration, so that it continues with the same ones.
 *
 * @module
 */
import { join } from "node:path";
import { labelReader } from "../../data/goals.ts";
import { splitEntries, validationPart, writeSplits } from "../../data/folds.ts";
import { checkLeaks } from "../../data/leaks.ts";
import {
  type Manifest,
  type ManifestEntry,
  readManifest,
} from "../../data/manifest.ts";
import { DataError, UsageError } from "../../errors.ts";
import { writeJson } from "../../files.ts";
import type { Config } from "../../model/config.ts";
import { leastNames } from "../../model/targets/targets.ts";
import type { TargetName } from "../../target.ts";
import {
  type BoxOptions,
  checkLearnsFromBoxes,
  trainingBoxes,
} from "../boxes.ts";
import type { SkippedImage } from "../epoch_metrics.ts";
import type { TrainingData } from "../trainer.ts";

/** Files of a run's folder, beside the log and the checkpoints. */
export const CONFIG_FILE = "config.json";
export const SPLITS_FILE = "splits.csv";

/** Share of test images if the manifest has no split. */
export const DEFAULT_TEST = 0.2;

/** The images of a run, and the options of their split. */
export interface RunDataOptions {
  /** The labelled images. */
  manifest: Manifest;
  /** The configuration to train with. */
  config: Config;
  /** Seed of the split and of the training. */
  seed: number;
  /** Folder of the run. */
  folder: string;
  /** Share of test images if the manifest has no split. */
  test: number;
  /** Annotated objects to train on, beside the labels. */
  boxes?: BoxOptions | undefined;
  /** Images of the split that cannot be read. */
  skipped?: readonly SkippedImage[] | undefined;
  /**
   * Names images by absolute paths in the table of the split, because the run
   * moves or continues elsewhere; relative to its folder if omitted.
   */
  absolutePaths?: boolean | undefined;
  /** Continues the run, whose images must be those it was started with. */
  resume: boolean;
}

/**
 * Checks that a configuration can be trained on these labels.
 *
 * @throws {DataError | UsageError}
 */
export function checkReference(
  { target, referenceClass, training, network }: Config,
  { classes, path }: Manifest,
): void {
  if (classes.length === 0) {
    throw new DataError(
      `Cannot train on ${path}: none of its images has a label; name some, as in a;b`,
    );
  }
  if (classes.length < leastNames(target)) {
    throw new DataError(
      `Cannot train on ${path}: all its images have the label "${
        classes[0]
      }"; give images of two labels or more`,
    );
  }
  if (referenceClass === null || classes.includes(referenceClass)) return;
  const { contrastiveFrom } = training;
  if (contrastiveFrom === null && network.head === "mean") return; // not used
  throw new UsageError(
    `Cannot use the reference class "${referenceClass}" of the configuration: the labels of ${path} are ${
      classes.join(", ")
    }; name one of them with --set referenceClass=NAME, or none with --set referenceClass=null`,
  );
}

/** The images of a run by the side of the split. */
export interface RunSides {
  train: readonly ManifestEntry[];
  validation: readonly ManifestEntry[];
  /** Test images, which the run never opens. */
  aside: readonly ManifestEntry[];
}

/**
 * The manifest's own split, or one made here. It opens no image.
 *
 * @throws {DataError} If there is nothing to learn, or a picture is on two sides.
 * @throws {UsageError} If a run would continue with other images.
 */
export async function runSides(
  { manifest, config, seed, folder, test, resume }: Omit<
    RunDataOptions,
    "boxes" | "skipped"
  >,
): Promise<RunSides> {
  const { validation: fraction } = config.training;
  const hasSplit = manifest.entries.some(({ split }) => split !== undefined);
  const entries = hasSplit
    ? manifest.entries
    : splitEntries(manifest.entries, { seed, validation: 0, test });
  await checkLeaks(entries);
  let sides = {
    train: entries.filter(({ split }) => split === "train"),
    validation: entries.filter(({ split }) => split === "validation"),
  };
  checkTrainSide(sides.train, manifest);
  if (sides.validation.length === 0 && fraction > 0) {
    sides = validationPart(sides.train, { fraction, seed });
    await checkLeaks([...sides.train, ...sides.validation]);
  }
  const aside = entries.filter(({ split }) => split === "test");
  const all = { ...sides, aside };
  if (resume) {
    const file = join(folder, SPLITS_FILE);
    await checkSameEntries(file, usedOf(all), config.target);
  }
  return all;
}

/** The images of a run with their sides. */
function usedOf({ train, validation, aside }: RunSides): ManifestEntry[] {
  return [
    ...train.map((entry) => ({ ...entry, split: "train" as const })),
    ...validation.map((entry) => ({ ...entry, split: "validation" as const })),
    ...aside,
  ];
}

/**
 * What a run trains on: its sides without the images that cannot be read. Writes
 * the split into the run's folder, and `config` beside it.
 *
 * @throws {DataError} If nothing is left to learn, or there are no boxes where some
 *   are asked for.
 */
export async function runData(
  sides: RunSides,
  { manifest, config, seed, folder, boxes, skipped = [], absolutePaths }: Omit<
    RunDataOptions,
    "test" | "resume"
  >,
): Promise<TrainingData> {
  if (boxes) checkLearnsFromBoxes(config);
  const bad = new Set(skipped.map(({ path }) => path));
  const readable = {
    train: sides.train.filter(({ path }) => !bad.has(path)),
    validation: sides.validation.filter(({ path }) => !bad.has(path)),
  };
  checkTrainSide(readable.train, manifest);
  const annotated = boxes && await trainingBoxes({
    train: readable.train,
    others: [...readable.validation, ...sides.aside],
    referenceClass: config.referenceClass,
    seed,
  }, boxes);
  await Deno.mkdir(folder, { recursive: true });
  await writeSplits(join(folder, SPLITS_FILE), usedOf(sides), {
    absolutePaths,
  });
  await writeJson(join(folder, CONFIG_FILE), config);
  const { classes } = manifest;
  return { classes, ...readable, ...(annotated && { boxes: annotated }) };
}

/** @throws {DataError} If there is nothing to learn. */
function checkTrainSide(
  train: readonly ManifestEntry[],
  { path, target }: Manifest,
): void {
  if (train.length === 0) {
    throw new DataError(
      `Cannot train on ${path}: no image has the split "train"; give it to some, or omit the column`,
    );
  }
  const [label, ...others] = new Set(train.map(({ label }) => label));
  if (others.length === 0) {
    throw new DataError(
      `Cannot train on ${path}: all images of the split "train" have the label "${label}"; give it images of two labels or more`,
    );
  }
  const lacks = labelReader(target).lacks?.(train.map(({ label }) => label));
  if (lacks === undefined) return;
  throw new DataError(
    `Cannot train on ${path}: ${lacks}, of the images of the split "train"`,
  );
}

/**
 * Checks that `entries` are the images, labels, sides and folds of `file`.
 *
 * @throws {UsageError} If they are not.
 */
export async function checkSameEntries(
  file: string,
  entries: readonly ManifestEntry[],
  target: TargetName,
): Promise<void> {
  const stored = await readManifest(file, { target, missing: "kept" });
  const rows = (entries: readonly ManifestEntry[]) =>
    JSON.stringify(
      entries.map(({ path, label, split, fold }) => [path, label, split, fold]),
    );
  if (rows(entries) === rows(stored.entries)) return;
  throw new UsageError(
    `Cannot continue: the images or their split differ from ${file}; give the --data, --seed and --test or --folds that the run was started with, or another --out`,
  );
}
