/**
 * Fits the calibration of a model on its predictions for validation images, with
 * softmax(z / T + b e_1) as lib/model/calibration.ts applies it.
 *
 * T and b minimise the log loss, which is convex in (1 / T, b): its derivatives
 * rise, and bisection finds where they are 0. The targets are not 0 and 1 but
 * Platt's (Advances in Large Margin Classifiers, 1999, section 2.2): with n
 * images of a class, (n + 1) / (n + 2) for it and the rest for the others. That
 * is a uniform prior: it keeps T from 0 where the classes do not overlap, and
 * fades as images are added.
 *
 * A bias moves labels, a temperature none. So the bias of two classes is kept
 * only if a likelihood-ratio test (Wilks 1938) finds it at 5 %, else it is 0.
 * It takes the place of a threshold on the probability: after it the likelier
 * class is the label, and probabilities and labels never disagree.
 *
 * @module
 */
import type { Calibration } from "../model/calibration.ts";
import type { Scored } from "./metrics.ts";

/** The predictions as the fit takes them. */
interface Samples {
  images: number;
  classes: number;
  /** `[images, classes]`, logits up to a constant of each image. */
  logits: Float64Array;
  /** `[images, classes]`, adding to 1 for each image. */
  targets: Float64Array;
}

/** 1 / T and b. */
interface Line {
  slope: number;
  bias: number;
}

/** The log loss of a line, nats, and its derivatives; sums over the images. */
interface Loss extends Line {
  value: number;
}

/** Fewer images do not tell a temperature from 1. */
export const LEAST_IMAGES = 20;

// Bounds of the searches: beyond them probabilities are 0, 1 or equal anyway.
const MAX_LOG_TEMPERATURE = Math.log(100);
const MAX_BIAS = 20;
const BISECTIONS = 32; // to 1e-8

// 95 % quantile of chi-squared with one degree of freedom.
const SIGNIFICANT = 3.841;

const TINIEST = 2 ** -126; // of float32: where its logarithm ends

/**
 * The calibration of uncalibrated predictions; null if there are fewer than
 * {@linkcode LEAST_IMAGES} images or all are of one class.
 *
 * @param scored labels, and probabilities `[images, classes]`.
 * @param samples N that they were drawn with.
 * @throws {RangeError} If a probability is not one.
 *
 * @example
 * ```ts
 * const calibration = fitCalibration(scoredImages(images, classes), 30);
 * console.log(calibration?.temperature); // 0.4: the network was too timid
 * ```
 */
export function fitCalibration(
  scored: Scored,
  samples: number,
): Calibration | null {
  const images = scored.labels.length;
  const { size: classes } = new Set(Array.from(scored.labels));
  if (images < LEAST_IMAGES || classes < 2) return null;
  const { slope, bias } = fitLine(samplesOf(scored));
  return { temperature: 1 / slope, bias, images, samples };
}

/** With a bias if there are two classes and the images show it. */
function fitLine(samples: Samples): Line {
  const plain = fitSlope(samples, () => 0);
  if (samples.classes !== 2) return plain;
  const biased = fitSlope(
    samples,
    (slope) => rootOf((bias) => loss(samples, { slope, bias }).bias, MAX_BIAS),
  );
  const gain = loss(samples, plain).value - loss(samples, biased).value;
  return 2 * gain > SIGNIFICANT ? biased : plain;
}

/** The best slope if each has the bias of `biasOf`: 0, or its own best. */
function fitSlope(samples: Samples, biasOf: (slope: number) => number): Line {
  // At the best bias its derivative is 0, so that of the slope is the whole.
  const rise = (slope: number) =>
    loss(samples, { slope, bias: biasOf(slope) }).slope;
  const slope = Math.exp(
    rootOf((log) => rise(Math.exp(log)), MAX_LOG_TEMPERATURE),
  );
  return { slope, bias: biasOf(slope) };
}

/** Where the rising `f` is 0 in [-bound, bound]; the end nearest to it. */
function rootOf(f: (x: number) => number, bound: number): number {
  let low = -bound, high = bound;
  for (let i = 0; i < BISECTIONS; i++) {
    const middle = (low + high) / 2;
    if (f(middle) < 0) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/** The loss of softmax(slope logits + bias e_1), with its derivatives. */
function loss(samples: Samples, { slope, bias }: Line): Loss {
  const { images, classes, logits, targets } = samples;
  const sum: Loss = { value: 0, slope: 0, bias: 0 };
  const scores = new Float64Array(classes);
  for (let start = 0; start < images * classes; start += classes) {
    let largest = -Infinity, total = 0;
    for (let c = 0; c < classes; c++) {
      scores[c] = slope * logits[start + c]! + (c === 1 ? bias : 0);
      largest = Math.max(largest, scores[c]!);
    }
    for (const score of scores) total += Math.exp(score - largest);
    const normaliser = largest + Math.log(total);
    for (let c = 0; c < classes; c++) {
      const log = scores[c]! - normaliser, target = targets[start + c]!;
      const excess = Math.exp(log) - target;
      sum.value -= target * log;
      sum.slope += excess * logits[start + c]!;
      if (c === 1) sum.bias += excess;
    }
  }
  return sum;
}

function samplesOf({ labels, probabilities }: Scored): Samples {
  const images = labels.length, classes = probabilities[0]!.length;
  const counts = new Int32Array(classes);
  for (let i = 0; i < images; i++) counts[labels[i]!]!++;
  const logits = new Float64Array(images * classes);
  const targets = new Float64Array(images * classes);
  for (const [i, row] of probabilities.entries()) {
    const rest = 1 / (counts[labels[i]!]! + 2);
    for (let c = 0; c < classes; c++) {
      logits[i * classes + c] = logarithm(row[c]!, i);
      targets[i * classes + c] = c === labels[i]
        ? 1 - rest
        : rest / (classes - 1);
    }
  }
  return { images, classes, logits, targets };
}

function logarithm(probability: number, image: number): number {
  if (probability >= 0 && probability <= 1) {
    return Math.log(Math.max(probability, TINIEST));
  }
  throw new RangeError(
    `Cannot calibrate: a probability of image ${image} is ${probability}; it must be in [0, 1]`,
  );
}
