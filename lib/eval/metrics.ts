/**
 * Metrics of a classifier, as pure functions of its predictions. With y_i the
 * label of image i, p_ic its probability of class c and n images:
 *
 *     accuracy          share of images with argmax_c p_ic = y_i (ties: lowest c)
 *     balancedAccuracy  mean recall of the classes that have images
 *     auc               (pairs ranked right + ties / 2) / pairs; Mann & Whitney 1947
 *     f1                2 TP / (2 TP + FP + FN)
 *     brier             mean of (p_i1 - y_i)^2; Brier 1950
 *     expectedCalibrationError
 *                       sum over 15 bins of n_b / n |accuracy_b - confidence_b|,
 *                       confidence = the largest p_ic; Guo et al., ICML 2017
 *     logLoss           mean of -log p_iy, nats
 *
 * Two classes: auc, f1 and brier are those of class 1, the positive one. More
 * classes: auc is the mean one-versus-rest over the classes that have images
 * on both sides, f1 the mean over the classes that occur (as scikit-learn's
 * "macro"), brier the mean of sum_c (p_ic - [y_i = c])^2, which is twice the
 * two-class figure.
 *
 * Each metric is computed over images with counts, so that a bootstrap
 * resample costs no copy and no sort (bootstrap.ts).
 *
 * @module
 */

/** Predictions of a model, and the true classes. */
export interface Scored {
  /** Class index of each image. */
  labels: ArrayLike<number>;
  /** `[images, classes]`. */
  probabilities: readonly ArrayLike<number>[];
}

/** The figures of one evaluation that can have an interval. */
export interface MetricValues {
  /** Share of images that are right. */
  accuracy: number;
  /** Mean recall of the classes. */
  balancedAccuracy: number;
  /** Area under the ROC curve; `null` if all images are of one class. */
  auc: number | null;
  /** Of class 1 of two; else the mean over the classes. */
  f1: number;
  /** Brier score: mean squared error of the probabilities. */
  brier: number;
  /** Expected calibration error over 15 bins. */
  expectedCalibrationError: number;
  /** Mean negative log-likelihood, nats. */
  logLoss: number;
}

/** The figures of one evaluation. */
export interface ClassifierMetrics extends MetricValues {
  /** Images of class [true][predicted]. */
  confusion: number[][];
}

/** The images in the order of their probability of one class. */
interface Ranking {
  /** Image indices, lowest probability first. */
  order: Int32Array;
  /** `[images]`, by place in `order`: 1 where a run of equal values ends. */
  endsTie: Uint8Array;
}

/** All that the metrics need of the predictions, computed once. */
export interface ScoreTable {
  images: number;
  classes: number;
  labels: Int32Array; // [images]
  predicted: Int32Array; // [images]
  confidence: Float64Array; // [images], of the predicted class
  bin: Int32Array; // [images], calibration bin of the confidence
  brier: Float64Array; // [images]
  logLoss: Float64Array; // [images]
  rankings: Map<number, Ranking>; // by class that auc is computed for
}

const CALIBRATION_BINS = 15; // Guo et al. 2017, section 2
const PROBABILITY_TOLERANCE = 1e-3; // room for float32 and for printed digits

/**
 * The metrics of `scored`.
 *
 * @throws {RangeError} If there is no image, a label is no class index, or the
 *   probabilities of an image do not add to 1.
 *
 * @example
 * ```ts
 * const { accuracy, auc } = evaluateMetrics({
 *   labels: [0, 1, 1],
 *   probabilities: [[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]],
 * });
 * console.log(accuracy, auc); // 0.667 1
 * ```
 */
export function evaluateMetrics(scored: Scored): ClassifierMetrics {
  const table = tabulate(scored);
  const counts = new Int32Array(table.images).fill(1);
  return {
    ...countedMetrics(table, counts),
    confusion: countedConfusion(table, counts),
  };
}

/** Index of the largest value; the lowest index if several are equal. */
export function argmax(values: ArrayLike<number>): number {
  let best = 0;
  for (let c = 1; c < values.length; c++) {
    if (values[c]! > values[best]!) best = c;
  }
  return best;
}

/**
 * Computes once all that does not depend on the counts of the images.
 *
 * @throws {RangeError} As {@linkcode evaluateMetrics}.
 */
export function tabulate(scored: Scored): ScoreTable {
  assertScored(scored);
  const { labels, probabilities } = scored;
  const images = probabilities.length;
  const classes = probabilities[0]!.length;
  const table: ScoreTable = {
    images,
    classes,
    labels: Int32Array.from(labels),
    predicted: new Int32Array(images),
    confidence: new Float64Array(images),
    bin: new Int32Array(images),
    brier: new Float64Array(images),
    logLoss: new Float64Array(images),
    rankings: new Map(),
  };
  probabilities.forEach((row, i) => {
    const label = labels[i]!;
    const predicted = argmax(row);
    table.predicted[i] = predicted;
    table.confidence[i] = row[predicted]!;
    table.bin[i] = calibrationBin(row[predicted]!);
    table.brier[i] = brierScore(row, label);
    // A probability of 0 would cost infinity, so epsilon is taken instead.
    table.logLoss[i] = -Math.log(Math.max(row[label]!, Number.EPSILON));
  });
  const ranked = classes === 2 ? [1] : Array.from({ length: classes }).keys();
  for (const c of ranked) table.rankings.set(c, rank(probabilities, c));
  return table;
}

/**
 * The metrics if image i counts `counts[i]` times. At least one count is
 * positive.
 */
export function countedMetrics(
  table: ScoreTable,
  counts: Int32Array,
): MetricValues {
  const confusion = countedConfusion(table, counts);
  return {
    accuracy: accuracy(confusion),
    balancedAccuracy: balancedAccuracy(confusion),
    auc: countedAuc(table, counts),
    f1: f1(confusion),
    brier: countedMean(table.brier, counts),
    expectedCalibrationError: countedCalibrationError(table, counts),
    logLoss: countedMean(table.logLoss, counts),
  };
}

function assertScored({ labels, probabilities }: Scored): void {
  if (labels.length === 0 || labels.length !== probabilities.length) {
    throw new RangeError(
      `Cannot compute metrics of ${labels.length} labels and ${probabilities.length} rows of probabilities: give one of each for every image, and at least one image`,
    );
  }
  const classes = probabilities[0]!.length;
  probabilities.forEach((row, i) => {
    const label = labels[i]!;
    if (!Number.isInteger(label) || label < 0 || label >= classes) {
      throw new RangeError(
        `Cannot compute metrics: the label of image ${i} is ${label}; it must be an integer in [0, ${classes})`,
      );
    }
    if (row.length !== classes || !isDistribution(row)) {
      throw new RangeError(
        `Cannot compute metrics: the probabilities of image ${i} are [${
          Array.from(row).join(", ")
        }]; they must be ${classes} that add to 1`,
      );
    }
  });
}

function isDistribution(row: ArrayLike<number>): boolean {
  let sum = 0;
  for (let c = 0; c < row.length; c++) {
    if (!(row[c]! >= 0)) return false;
    sum += row[c]!;
  }
  return Math.abs(sum - 1) <= PROBABILITY_TOLERANCE;
}

/** Bin b holds the confidences in (b / 15, (b + 1) / 15], as in the paper. */
function calibrationBin(confidence: number): number {
  const bin = Math.ceil(confidence * CALIBRATION_BINS) - 1;
  return Math.min(Math.max(bin, 0), CALIBRATION_BINS - 1);
}

function brierScore(row: ArrayLike<number>, label: number): number {
  if (row.length === 2) return (row[1]! - label) ** 2;
  let sum = 0;
  for (let c = 0; c < row.length; c++) {
    sum += (row[c]! - (c === label ? 1 : 0)) ** 2;
  }
  return sum;
}

function rank(
  probabilities: readonly ArrayLike<number>[],
  positive: number,
): Ranking {
  const values = Float64Array.from(probabilities, (row) => row[positive]!);
  const order = Int32Array.from(values.keys());
  order.sort((a, b) => values[a]! - values[b]!);
  const endsTie = Uint8Array.from(
    order,
    (image, place) => values[image] === values[order[place + 1]!] ? 0 : 1,
  );
  return { order, endsTie };
}

function countedConfusion(
  { classes, images, labels, predicted }: ScoreTable,
  counts: Int32Array,
): number[][] {
  const confusion = Array.from(
    { length: classes },
    () => new Array<number>(classes).fill(0),
  );
  for (let i = 0; i < images; i++) {
    confusion[labels[i]!]![predicted[i]!]! += counts[i]!;
  }
  return confusion;
}

function accuracy(confusion: number[][]): number {
  return sum(confusion.map((row, c) => row[c]!)) / sum(confusion.flat());
}

function balancedAccuracy(confusion: number[][]): number {
  const recalls = confusion
    .map((row, c) => row[c]! / sum(row))
    .filter((recall) => !Number.isNaN(recall)); // 0 / 0: a class without images
  return sum(recalls) / recalls.length;
}

function f1(confusion: number[][]): number {
  const scores = confusion.map((row, c) => {
    const occurrences = sum(row) + sum(confusion.map((other) => other[c]!));
    return occurrences === 0 ? null : 2 * row[c]! / occurrences;
  });
  if (scores.length === 2) return scores[1] ?? 0;
  const present = scores.filter((score) => score !== null);
  return sum(present) / present.length;
}

function countedAuc(table: ScoreTable, counts: Int32Array): number | null {
  const areas: number[] = [];
  for (const [positive, ranking] of table.rankings) {
    const area = rankingArea(ranking, table.labels, { positive, counts });
    if (area !== null) areas.push(area);
  }
  return areas.length === 0 ? null : sum(areas) / areas.length;
}

/** Share of (negative, positive) pairs in the right order; a tie is half. */
function rankingArea(
  { order, endsTie }: Ranking,
  labels: Int32Array,
  { positive, counts }: { positive: number; counts: Int32Array },
): number | null {
  let positives = 0, negatives = 0, right = 0;
  let tiedPositives = 0, tiedNegatives = 0;
  for (let place = 0; place < order.length; place++) {
    const image = order[place]!;
    if (labels[image] === positive) tiedPositives += counts[image]!;
    else tiedNegatives += counts[image]!;
    if (endsTie[place] === 0) continue;
    right += tiedPositives * (negatives + tiedNegatives / 2);
    positives += tiedPositives;
    negatives += tiedNegatives;
    tiedPositives = tiedNegatives = 0;
  }
  const pairs = positives * negatives;
  return pairs === 0 ? null : right / pairs;
}

function countedMean(values: Float64Array, counts: Int32Array): number {
  let total = 0, weight = 0;
  for (let i = 0; i < values.length; i++) {
    total += values[i]! * counts[i]!;
    weight += counts[i]!;
  }
  return total / weight;
}

function countedCalibrationError(
  { images, labels, predicted, confidence, bin }: ScoreTable,
  counts: Int32Array,
): number {
  // n_b |accuracy_b - confidence_b| is |right in b - sum of confidence in b|.
  const gaps = new Float64Array(CALIBRATION_BINS);
  let weight = 0;
  for (let i = 0; i < images; i++) {
    const right = labels[i] === predicted[i] ? 1 : 0;
    gaps[bin[i]!]! += counts[i]! * (right - confidence[i]!);
    weight += counts[i]!;
  }
  return sum(gaps.map(Math.abs)) / weight;
}

function sum(values: ArrayLike<number>): number {
  let total = 0;
  for (let i = 0; i < values.length; i++) total += values[i]!;
  return total;
}
