/**
 * The files of a cell's runs.
 *
 * @module
 */
import { parse } from "csv-parse/sync";
import { join } from "node:path";
import type { FoldResult } from "../train/runs/crossval.ts";
import { foldFolder, type Protocol } from "../train/runs/fold_task.ts";
import { LOG_FILE, type LogLine, readLog } from "../train/run_log.ts";
import { PREDICTIONS_FILE } from "../eval/records.ts";
import type { ScoredImage } from "../eval/curves.ts";

/** The logs of all folds of a cell under one protocol. */
export async function foldLogs(
  folder: string,
  protocol: Protocol,
  folds: readonly FoldResult[],
): Promise<LogLine[][]> {
  return await Promise.all(
    folds.filter((fold) => fold.protocol === protocol).map((fold) =>
      readLog(join(foldFolder(folder, fold), LOG_FILE))
    ),
  );
}

/** Every tested image of a cell, and its probability of `positive`. */
export async function foldPredictions(
  folder: string,
  protocol: Protocol,
  { folds, positive }: { folds: readonly FoldResult[]; positive: string },
): Promise<ScoredImage[]> {
  const tables = await Promise.all(
    folds.filter((fold) => fold.protocol === protocol).map(async (fold) =>
      parse(
        await Deno.readTextFile(
          join(foldFolder(folder, fold), PREDICTIONS_FILE),
        ),
        { columns: true },
      ) as Record<string, string>[]
    ),
  );
  return tables.flat().map((row) => ({
    probability: Number(row[`p(${positive})`]),
    positive: row.label === positive,
  }));
}
