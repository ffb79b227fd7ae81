/**
 * Evaluates checkpoints of a cross-validation again, with other numbers of
 * sub-tiles: more samples, more accuracy, more time?
 *
 * @module
 */
import { join } from "node:path";
import { foldSplit } from "../data/folds.ts";
import { type Manifest } from "../data/manifest.ts";
import { readRois, type RoiSource } from "../data/rois.ts";
import { evaluate } from "../eval/evaluate.ts";
import { evaluationReport } from "../eval/report.ts";
import { writeFileAtomically } from "../files.ts";
import { ImageCache } from "../image/image_cache.ts";
import { readCheckpoint } from "../model/checkpoint.ts";
import { disposeModel } from "../model/frozen.ts";
import { startClock } from "../train/clock.ts";
import type { FoldResult } from "../train/runs/crossval.ts";
import { foldFolder } from "../train/runs/fold_task.ts";
import { STUDY_LAYOUTS } from "./roi_layouts.ts";

/** Options of a rescoring. */
interface RescoreOptions {
  manifest: Manifest;
  /** Sub-tiles an image. */
  samples: number;
  signal: AbortSignal;
}

/**
 * Evaluates `folds` with `samples` sub-tiles an image, and keeps the results
 * beside the checkpoints; folds that are done are skipped.
 *
 * @param folder that of the cross-validation.
 */
export async function rescore(
  folder: string,
  folds: readonly FoldResult[],
  options: RescoreOptions,
): Promise<void> {
  const rois = await readRois(options.manifest, STUDY_LAYOUTS);
  for (const fold of folds) {
    if (await readFold(folder, fold, options.samples)) continue;
    const result = await rescoreFold(folder, fold, { ...options, rois });
    await writeFileAtomically(
      rescoredFile(folder, fold, options.samples),
      `${JSON.stringify(result)}\n`,
    );
  }
}

/** The results of a rescoring, if it is done. */
export async function readRescored(
  folder: string,
  folds: readonly FoldResult[],
  samples: number,
): Promise<FoldResult[] | undefined> {
  const results = await Promise.all(
    folds.map((fold) => readFold(folder, fold, samples)),
  );
  const done = results.filter((result) => result !== undefined);
  return done.length === folds.length ? done : undefined;
}

async function rescoreFold(
  folder: string,
  fold: FoldResult,
  { manifest, samples, signal, rois }: RescoreOptions & {
    rois: RoiSource | undefined;
  },
): Promise<FoldResult> {
  const clock = startClock();
  const { model } = await readCheckpoint(foldFolder(folder, fold));
  const { test } = foldSplit(manifest.entries, fold.fold);
  const evaluation = await evaluate(model, test, {
    cache: new ImageCache(0),
    samples,
    seed: 0,
    signal,
  });
  await disposeModel(model);
  const { classes } = manifest;
  return {
    ...fold,
    ...clock(),
    report: await evaluationReport(evaluation, {
      classes,
      rois,
      annotated: fold.report.annotated ?? null,
      seed: 0,
    }),
  };
}

async function readFold(
  folder: string,
  fold: FoldResult,
  samples: number,
): Promise<FoldResult | undefined> {
  const file = rescoredFile(folder, fold, samples);
  const text = await Deno.readTextFile(file).catch(() => undefined);
  return text === undefined ? undefined : JSON.parse(text);
}

function rescoredFile(
  folder: string,
  fold: FoldResult,
  samples: number,
): string {
  return join(foldFolder(folder, fold), `samples-${samples}.json`);
}
