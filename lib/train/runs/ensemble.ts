/**
 * The models of a cross-validation, as an ensemble.
 *
 * @module
 */
import { basename, dirname, join } from "node:path";
import { type ManifestEntry, readManifest } from "../../data/manifest.ts";
import { CheckpointError } from "../../errors.ts";
import { exists, spelled } from "../../files.ts";
import { CROSSVAL_FILE, FOLDS_FILE } from "./crossval.ts";
import {
  foldFolder,
  foldsIn,
  type Protocol,
  PROTOCOLS,
  RESULT_FILE,
} from "./fold_task.ts";

/** The models of the folds that are done. */
export interface Ensemble {
  /** Folder of the cross-validation. */
  folder: string;
  protocol: Protocol;
  /** Folds that are done, and the folder of the run of each. */
  folds: number[];
  runs: string[];
  /** Folds that are not done. */
  missing: number[];
  /** The images that the folds were trained on. */
  entries: readonly ManifestEntry[];
}

/**
 * The ensemble at `path`: the folder of a cross-validation, or that of one of its
 * protocols in it. Of both protocols it is `held-out`, whose epochs were not chosen
 * on the folds' own test images. Undefined if there is no cross-validation.
 *
 * @throws {CheckpointError} If none of its folds is done.
 * @throws {DataError} If its table of images is damaged.
 */
export async function readEnsemble(
  path: string,
): Promise<Ensemble | undefined> {
  const given = await spelled(path);
  const named = PROTOCOLS.find((protocol) => protocol === basename(given));
  const isWhole = await exists(join(given, CROSSVAL_FILE));
  const folder = isWhole ? given : dirname(given);
  if (!isWhole && !(named && await exists(join(folder, CROSSVAL_FILE)))) {
    return undefined;
  }
  const { entries } = await readManifest(join(folder, FOLDS_FILE), {
    missing: "kept",
  });
  const known = new Set(entries.map(({ fold }) => fold!));
  const choices = isWhole ? PROTOCOLS.toReversed() : [named!];
  for (const protocol of choices) {
    const tasks = (await foldsIn(folder))
      .filter((task) => task.protocol === protocol);
    const folds: number[] = [], runs: string[] = [];
    for (const task of tasks) {
      const run = foldFolder(folder, task);
      if (!await exists(join(run, RESULT_FILE))) continue;
      folds.push(task.fold);
      runs.push(run);
    }
    if (folds.length === 0) continue;
    const missing = [...known.difference(new Set(folds))]
      .sort((a, b) => a - b);
    return { folder, protocol, folds, runs, missing, entries };
  }
  throw new CheckpointError(
    `Cannot use ${path} as an ensemble: none of its folds is done; run its training to the end`,
  );
}
