/**
 * The images of a cross-validation in their folds, and what is trained on them.
 *
 * @module
 */
import {
  foldSplit,
  makeFolds,
  type SiteChoice,
  withoutTest,
} from "../../data/folds.ts";
import type { Manifest, ManifestEntry } from "../../data/manifest.ts";
import { DataError } from "../../errors.ts";
import { type FoldTask, foldTasks, type Protocol } from "./fold_task.ts";

/** Which folds are trained, and how they are judged. */
export interface FoldChoice {
  /** Number of new folds, or those of the manifest. */
  folds: number | "manifest";
  /** Of new folds. */
  seed: number;
  /** What becomes of the sites in new folds. */
  sites?: SiteChoice | undefined;
  protocols: readonly Protocol[];
  /** Only these folds; all if omitted. */
  onlyFolds?: readonly number[] | undefined;
}

/** The images of a cross-validation, and what is trained on them. */
export interface FoldPlan {
  /** Images with their folds. */
  entries: readonly ManifestEntry[];
  /** Images that no fold has, because their split is `test`. */
  aside: readonly ManifestEntry[];
  tasks: readonly FoldTask[];
}

/**
 * Puts the images of a manifest into folds.
 *
 * @throws {DataError} If there are no such folds, or too few images for them.
 */
export function planFolds(
  { entries: all, path }: Manifest,
  { folds, seed, sites, protocols, onlyFolds }: FoldChoice,
): FoldPlan {
  const kept = withoutTest(all);
  if (kept.length === 0) {
    throw new DataError(
      `No images of ${path} are left for folds: all have the split "test"; mark some as "train"`,
    );
  }
  const entries = typeof folds === "number"
    ? makeFolds(kept, { folds, seed, sites })
    : kept;
  const tasks = foldTasks(entries, { protocols, folds: onlyFolds });
  if (tasks.length === 0) {
    throw new DataError(
      `${path} has no column "fold": add one, or ask for a number of folds`,
    );
  }
  const aside = all.filter(({ split }) => split === "test");
  return { entries, aside, tasks };
}

/**
 * Checks that each fold can be trained for.
 *
 * @throws {DataError} If a fold does not exist, or leaves one class.
 */
export function checkPlan({ entries, tasks }: FoldPlan): void {
  for (const { fold } of tasks) foldSplit(entries, fold);
}
