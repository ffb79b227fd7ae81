/**
 * Evaluates checkpoints of a cross-validation again, with other numbers of
 * sub-tiles: more samples, more accuracy, more time?
 *
 * @module
 */
import { join } from "node:path";
import { foldSplit } from "../data/folds.ts";
import { type Manifest } from "../data/manifest.ts";
import { readRegions } from "../data/regions.ts";
import { evaluate } from "../eval/evaluate.ts";
import { evaluationReport } from "../eval/report.ts";
import { writeFileAtomically } from "../files.ts";
import { ImageCache } from "../image/cache.ts";
import { readCheckpoint } from "../model/checkpoint.ts";
import { disposeParameters } from "../model/parameters.ts";
import { startClock } from "../train/clock.ts";
import { foldFolder, type FoldResult } from "../train/crossval.ts";

/**
 * The results of `folds` with `samples` sub-tiles an image. What is done is
 * kept beside the checkpoint, and only read the next time.
 *
 * @param folder that of the cross-validation.
 */
export async function rescore(
  folder: string,
  folds: readonly FoldResult[],
  { manifest, samples, signal }: {
    manifest: Manifest;
    samples: number;
    signal: AbortSignal;
  },
): Promise<FoldResult[]> {
  const results: FoldResult[] = [];
  const cache = new ImageCache(0);
  for (const fold of folds) {
    const file = join(foldFolder(folder, fold), `samples-${samples}.json`);
    const done = await Deno.readTextFile(file).catch(() => undefined);
    if (done) {
      results.push(JSON.parse(done));
      continue;
    }
    const clock = startClock();
    const { model } = await readCheckpoint(foldFolder(folder, fold));
    const { test } = foldSplit(manifest.entries, fold.fold);
    const evaluation = await evaluate(model, test, {
      cache,
      samples,
      seed: 0,
      signal,
    });
    disposeParameters(model.parameters);
    const result: FoldResult = {
      ...fold,
      ...clock(),
      report: await evaluationReport(evaluation, {
        classes: manifest.classes,
        regions: await readRegions(manifest),
        seed: 0,
      }),
    };
    await writeFileAtomically(file, `${JSON.stringify(result)}\n`);
    results.push(result);
  }
  return results;
}
