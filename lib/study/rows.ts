/**
 * The table of a study: each variant's figures over folds and seeds, and its
 * difference to the variant it is compared with, fold by fold.
 *
 * @module
 */
import {
  type MeanInterval,
  meanInterval,
  pairedInterval,
} from "../eval/bootstrap.ts";
import {
  type FoldFigures,
  foldsAccuracy,
  foldsAuc,
  overFolds,
} from "../eval/intervals.ts";
import type { EvaluationReport } from "../eval/report.ts";
import type { FoldResult } from "../train/runs/crossval.ts";
import type { Protocol } from "../train/runs/fold_task.ts";
import type { Variant } from "./study.ts";

/** Results of a variant under one seed. */
export interface CellResult {
  seed: number;
  folds: readonly FoldResult[];
}

/** A mean over folds, its deviation and its 95 % interval. */
export interface Figure {
  mean: number | null;
  sd: number | null;
  low: number | null;
  high: number | null;
}

/** A figure less that of another variant, on the same folds and seeds. */
export interface Difference extends Figure {
  against: string;
  folds: number;
}

/** One line of the table. */
export interface StudyRow {
  variant: string;
  protocol: Protocol;
  baseline: boolean;
  /** True if only folds count by which no setting was chosen. */
  unseen: boolean;
  folds: number;
  seeds: number;
  /** Null if there is nothing that epochs train. */
  epochs: number | null;
  /** Sub-tiles an image at evaluation; null if all locations are seen. */
  samples: number | null;
  accuracy: Figure;
  auc: Figure;
  hitRate: Figure;
  chanceHitRate: Figure;
  accuracyDifference: Difference | null;
  secondsPerFold: number;
  cpuSecondsPerFold: number;
  peakBytes: number | null;
}

type Pick = (report: EvaluationReport) => number | null;

const accuracyOf: Pick = ({ metrics }) => metrics.accuracy.value;

/**
 * The row of `variant` under one protocol.
 *
 * @param options.other results of the variant it is compared with, if they are
 * there; `chosenBy` excludes folds.
 */
export function rowOf(
  variant: Variant,
  protocol: Protocol,
  results: readonly CellResult[],
  { samples, other, chosenBy }: {
    samples: number | null;
    other?: readonly CellResult[] | undefined;
    chosenBy?: readonly number[];
  },
): StudyRow {
  const folds = foldsOf(results, protocol)
    .filter(({ fold }) => !chosenBy?.includes(fold));
  const figures = foldFigures(folds);
  const mean = (pick: Pick) => flat(overFolds(foldMeans(folds, pick)));
  const perFold = (time: "seconds" | "cpuSeconds") =>
    folds.reduce((sum, fold) => sum + fold[time], 0) / folds.length;
  return {
    variant: variant.name,
    protocol,
    baseline: variant.baseline ?? false,
    unseen: chosenBy !== undefined,
    folds: new Set(folds.map(({ fold }) => fold)).size,
    seeds: results.length,
    epochs: variant.pooled ? null : variant.config.training.epochs,
    samples,
    accuracy: flat(foldsAccuracy(figures)),
    auc: flat(foldsAuc(figures)),
    hitRate: mean(({ attention }) => attention?.drawn.value ?? null),
    chanceHitRate: mean(({ attention }) => attention?.chance.value ?? null),
    accuracyDifference: other && variant.against
      ? difference(variant.against, results, other, protocol)
      : null,
    secondsPerFold: perFold("seconds"),
    cpuSecondsPerFold: perFold("cpuSeconds"),
    peakBytes: largest(folds.map(({ peakBytes }) => peakBytes)),
  };
}

function largest(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length > 0 ? Math.max(...known) : null;
}

/** The results of the teachers of a dense variant. */
export function teachersOf({ seed, folds }: CellResult): CellResult {
  return {
    seed,
    folds: folds.flatMap(({ teacher, ...fold }) =>
      teacher ? [{ ...fold, ...teacher }] : []
    ),
  };
}

/** All folds of a variant under one protocol. */
export function foldsOf(
  results: readonly CellResult[],
  protocol: Protocol,
): FoldResult[] {
  return results.flatMap(({ folds }) =>
    folds.filter((fold) => fold.protocol === protocol)
  );
}

/**
 * A figure of each fold, the mean of its seeds': repeating a fold with another
 * seed is no new fold, so it must not narrow the interval as one would.
 */
function foldMeans(
  results: readonly FoldResult[],
  pick: Pick,
): (number | null)[] {
  return byFold(results).map((runs) =>
    meanInterval(runs.map(({ report }) => pick(report))).mean
  );
}

/** All that the intervals over folds need; images count once for all seeds. */
function foldFigures(results: readonly FoldResult[]): FoldFigures[] {
  const accuracies = foldMeans(results, accuracyOf);
  const areas = foldMeans(results, ({ metrics }) => metrics.auc.value);
  return byFold(results).map(([first], i) => ({
    accuracy: accuracies[i]!,
    auc: areas[i]!,
    confusion: first!.report.confusion,
  }));
}

function byFold(results: readonly FoldResult[]): FoldResult[][] {
  return [...Map.groupBy(results, ({ fold }) => fold).values()];
}

/** Mean over the folds that both ran of the seeds' mean difference. */
function difference(
  against: string,
  results: readonly CellResult[],
  other: readonly CellResult[],
  protocol: Protocol,
): Difference | null {
  const pairs = results.flatMap((cell) => {
    const same = other.filter(({ seed }) => seed === cell.seed);
    const theirs = foldsOf(same, protocol);
    return foldsOf([cell], protocol).flatMap((own) => {
      const their = theirs.find(({ fold }) => fold === own.fold);
      return their ? [{ own, their }] : [];
    });
  });
  if (pairs.length === 0) return null;
  const folds = Map.groupBy(pairs, ({ own }) => own.fold);
  const values = Array.from(folds.values(), (pairs) =>
    pairedInterval(
      pairs.map(({ own }) => accuracyOf(own.report)),
      pairs.map(({ their }) => accuracyOf(their.report)),
    ).mean);
  return { against, folds: folds.size, ...flat(meanInterval(values)) };
}

function flat({ mean, sd, interval }: MeanInterval): Figure {
  const { low = null, high = null } = interval ?? {};
  return { mean, sd, low, high };
}
