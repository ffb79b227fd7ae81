/**
 * A baseline: the mean frozen feature of all locations of an image, under a
 * logistic regression. It has no attention and no evidence, and is what anybody
 * would try first.
 *
 * @module
 */
import { PREDICTIONS_FILE } from "../../eval/records.ts";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { foldSplit, makeFolds } from "../../data/folds.ts";
import type { ManifestEntry } from "../../data/manifest.ts";
import type { FeatureCache } from "../../encoder/cache.ts";
import { DataError, ImageError } from "../../errors.ts";
import { type LabelledImage, labelledImage } from "../../eval/evaluate.ts";
import {
  type EvaluationReport,
  labelReport,
  predictionTable,
} from "../../eval/report.ts";
import { writeFileAtomically } from "../../files.ts";
import type { ImageCache } from "../../image/image_cache.ts";
import type { Memory } from "../../memory.ts";
import type { Config } from "../../model/config.ts";
import { disposeModel } from "../../model/frozen.ts";
import { decideClass } from "../../model/targets/classes.ts";
import { startClock } from "../../train/clock.ts";
import { modelFeatures } from "../../train/dense/encoder_features.ts";
import { Locations } from "../../train/dense/locations.ts";
import type { FoldResult } from "../../train/runs/crossval.ts";
import { foldFolder } from "../../train/runs/fold_task.ts";
import { freshModel } from "../../train/trainer.ts";
import {
  fitLogisticRegression,
  type LabelledRows,
  logProbabilities,
} from "../../train/regression/logistic_regression.ts";

/** Options of {@linkcode pooledFold}. */
export interface PooledOptions {
  /** Folder of all folds: a table of predictions is written for each. */
  folder: string;
  classes: readonly string[];
  /** Its features and locations. */
  config: Config;
  seed: number;
  cache: ImageCache;
  memory: Memory;
  featureCache: FeatureCache | undefined;
  signal: AbortSignal;
}

// As scikit-learn's LogisticRegressionCV tries them.
const STRENGTHS = Array.from({ length: 9 }, (_, i) => 10 ** (4 - i));
const USUAL_STRENGTH = 1; // of too few images to choose one
const INNER_FOLDS = 5;

/**
 * Fits the baseline on all other folds and tests it on `fold`. The strength of
 * the penalty is the one with the least log loss in a cross-validation of the
 * training images.
 *
 * @throws {ImageError} If a training image cannot be read.
 */
export async function pooledFold(
  entries: readonly ManifestEntry[],
  fold: number,
  options: PooledOptions,
): Promise<FoldResult> {
  const clock = startClock();
  const task = { protocol: "held-out", fold } as const;
  const { train, test } = foldSplit(entries, fold);
  const pool = await Pool.open(train, options);
  let report: EvaluationReport;
  try {
    const rows: Float64Array[] = [];
    for (const entry of train) rows.push(await pool.meanOf(entry));
    const classify = classifierOf(train, rows, options);
    const { images, failures } = await classified(test, pool, classify);
    const { classes } = options;
    report = { ...labelReport(images, { classes, seed: 0 }), failures };
    const folder = foldFolder(options.folder, task);
    await Deno.mkdir(folder, { recursive: true });
    await writeFileAtomically(
      join(folder, PREDICTIONS_FILE),
      predictionTable(images, classes),
    );
  } finally {
    await pool.dispose();
  }
  return { ...task, bestEpoch: 0, ...clock(), report };
}

type Classify = (entry: ManifestEntry, row: Float64Array) => LabelledImage;

async function classified(
  entries: readonly ManifestEntry[],
  pool: Pool,
  classify: Classify,
): Promise<{ images: LabelledImage[] } & Pick<EvaluationReport, "failures">> {
  const images: LabelledImage[] = [];
  const failures: EvaluationReport["failures"] = [];
  for (const entry of entries) {
    try {
      images.push(classify(entry, await pool.meanOf(entry)));
    } catch (error) {
      if (!(error instanceof ImageError)) throw error;
      failures.push({ image: entry.image, error: error.message });
    }
  }
  return { images, failures };
}

/** Mean features of images. */
class Pool {
  readonly #locations: Locations;
  readonly #signal: AbortSignal;
  readonly dispose: () => Promise<void>;

  private constructor(
    locations: Locations,
    { signal }: PooledOptions,
    dispose: () => Promise<void>,
  ) {
    this.#locations = locations;
    this.#signal = signal;
    this.dispose = dispose;
  }

  /** @param train images that a dictionary is learned from. */
  static async open(
    train: readonly ManifestEntry[],
    options: PooledOptions,
  ): Promise<Pool> {
    const { classes, featureCache } = options;
    const model = await freshModel({ classes, train, validation: [] }, options);
    const locations = new Locations({
      ...options,
      features: modelFeatures(model, featureCache),
      side: options.config.network.places,
      normalisation: model.normalisation,
    });
    return new Pool(
      locations,
      options,
      () => disposeModel(model),
    );
  }

  /** The mean over the locations of an image that count: `[channels]`. */
  async meanOf(entry: ManifestEntry): Promise<Float64Array> {
    await setTimeout(0); // let signals in
    this.#signal.throwIfAborted();
    const image = await this.#locations.of(entry);
    const features = await this.#locations.features(entry, image, 0);
    const count = image.indices.length, channels = features.length / count;
    const mean = new Float64Array(channels);
    features.forEach((value, i) => mean[i % channels]! += value / count);
    return mean;
  }
}

/** The regression on standardised rows with the strength that suits them. */
function classifierOf(
  train: readonly ManifestEntry[],
  rows: readonly Float64Array[],
  { classes, seed }: PooledOptions,
): Classify {
  const options = { classes: classes.length };
  const labels = train.map(({ classIndex }) => classIndex);
  const strength = strengthFor(train, { rows, labels }, { ...options, seed });
  const predict = fitted({ rows, labels }, { ...options, strength });
  return (entry, row) =>
    labelledImage(
      entry,
      decideClass(predict(row).map(Math.exp), classes),
      classes,
    );
}

/** Fits a regression; returns its logarithms of the probabilities of a row. */
function fitted(
  { rows, labels }: LabelledRows,
  options: { classes: number; strength: number },
): (row: Float64Array) => Float64Array {
  const standardise = standardiserOf(rows);
  const regression = fitLogisticRegression(
    { rows: rows.map(standardise), labels },
    options,
  );
  return (row) => logProbabilities(regression, standardise(row));
}

/** Subtracts the mean of each channel and divides by its deviation. */
function standardiserOf(
  rows: readonly Float64Array[],
): (row: Float64Array) => Float64Array {
  const channels = rows[0]!.length;
  const mean = new Float64Array(channels), squares = new Float64Array(channels);
  for (const row of rows) {
    row.forEach((value, c) => mean[c]! += value / rows.length);
  }
  for (const row of rows) {
    row.forEach((value, c) =>
      squares[c]! += (value - mean[c]!) ** 2 / rows.length
    );
  }
  const deviation = squares.map((square) => Math.sqrt(square) || 1);
  return (row) => row.map((value, c) => (value - mean[c]!) / deviation[c]!);
}

/** The strength with the least log loss on folds of the training images. */
function strengthFor(
  train: readonly ManifestEntry[],
  { rows, labels }: LabelledRows,
  { classes, seed }: { classes: number; seed: number },
): number {
  const folds = innerFolds(train, seed);
  if (!folds) return USUAL_STRENGTH;
  const part = (within: (index: number) => boolean): LabelledRows => ({
    rows: rows.filter((_, i) => within(i)),
    labels: labels.filter((_, i) => within(i)),
  });
  const losses = STRENGTHS.map((strength) => {
    let loss = 0;
    for (const fold of new Set(folds)) {
      const predict = fitted(
        part((i) => folds[i] !== fold),
        { classes, strength },
      );
      const others = part((i) => folds[i] === fold);
      others.rows.forEach((row, i) => loss -= predict(row)[others.labels[i]!]!);
    }
    return loss;
  });
  return STRENGTHS[losses.indexOf(Math.min(...losses))]!;
}

/** The fold of each training image, as many as the classes allow, or none. */
function innerFolds(
  train: readonly ManifestEntry[],
  seed: number,
): number[] | undefined {
  for (let folds = INNER_FOLDS; folds >= 2; folds--) {
    try {
      return makeFolds(train, { folds, seed }).map(({ fold }) => fold!);
    } catch (error) {
      if (!(error instanceof DataError)) throw error;
    }
  }
}
