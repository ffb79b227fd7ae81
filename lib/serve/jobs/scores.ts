/**
 * Scores of a finished run on its validation images, recorded in its folder, and
 * its report.
 *
 * @module
 */
import { join } from "node:path";
import type { ManifestEntry } from "../../data/manifest.ts";
import { environment } from "../../engine/environment.ts";
import type { Engine } from "../../engine/select.ts";
import { calibrationCurve } from "../../eval/curves.ts";
import { evaluate, type EvaluatedImage } from "../../eval/evaluate.ts";
import { evaluationName, writeEvaluation } from "../../eval/records.ts";
import { isTargetReport, reportOfTarget } from "../../eval/targets/report.ts";
import { imageCache } from "../../image/image_cache.ts";
import type { OpenOptions } from "../../image/open.ts";
import type { Memory } from "../../memory.ts";
import { readCheckpoint, readCheckpointInfo } from "../../model/checkpoint.ts";
import { disposeModel } from "../../model/frozen.ts";
import { EVALUATIONS_FOLDER } from "../../report/records.ts";
import { startClock } from "../../train/clock.ts";
import type { ScoresDocument } from "../documents.ts";

/** Options of {@linkcode scoreRun}. */
export interface ScoreOptions {
  /** Folder of the run. */
  folder: string;
  /** The manifest, for the record. */
  data: string;
  engine: Engine;
  seed: number;
  memory: Memory;
  opening: Pick<OpenOptions, "fetch" | "maxPixels">;
  /** Awaited before each image: more urgent work goes first. */
  turn: () => Promise<void>;
  signal: AbortSignal;
}

const SPLIT = "validation";

/**
 * Classifies the validation images by the chosen checkpoint and records what came
 * of it; undefined if there are none.
 */
export async function scoreRun(
  validation: readonly ManifestEntry[],
  { folder, data, engine, seed, memory, opening, turn, signal }: ScoreOptions,
): Promise<ScoresDocument | undefined> {
  const clock = startClock();
  const { sha256, annotated } = await readCheckpointInfo(folder);
  const { model } = await readCheckpoint(folder);
  const cache = imageCache(memory, undefined, opening);
  try {
    const evaluation = await engine.whileAlive(() =>
      evaluate(model, validation, { cache, memory, seed, turn, signal })
    );
    if (evaluation.images.length === 0) return undefined;
    const { classes, config, calibration } = model;
    const report = await reportOfTarget(evaluation, {
      target: config.target,
      classes,
      rois: undefined,
      annotated,
      seed,
    });
    const name = evaluationName(data, SPLIT);
    await writeEvaluation(join(folder, EVALUATIONS_FOLDER, name), {
      checkpoint: sha256,
      data,
      split: SPLIT,
      samples: config.evaluation.samples,
      seed,
      calibration,
      environment: environment(engine),
      ...clock(),
      report,
    }, evaluation);
    const { images, confusion = [], metrics } = report;
    return {
      split: SPLIT,
      images,
      classes,
      confusion,
      metrics,
      calibration: isTargetReport(report)
        ? []
        : classes.map((name) =>
          calibrationCurve(scoredFor(name, evaluation.images))
            .map((point) => [...point])
        ),
    };
  } finally {
    cache.close();
    await disposeModel(model);
  }
}

/** The images as those of a class, or not. */
function scoredFor(name: string, images: readonly EvaluatedImage[]) {
  return images.map(({ entry, classification }) => ({
    probability: classification.probabilities[name]!,
    positive: entry.label === name,
  }));
}
