/**
 * The loss of the dense teacher, with its gradient at the logits of locations:
 * cross-entropy of the evidence of a bag, and, where objects are annotated, of
 * each location.
 *
 * @module
 */
import type { EvidenceConfig } from "../../../model/config.ts";
import { SMOOTHING } from "../../label_smoothing.ts";

/** How locations become evidence. */
export interface Bagging extends EvidenceConfig {
  /** Locations of the image that count, of which those given are a random part. */
  locations: number;
  /** G: what their sum is divided by if `objects` is null. */
  total: number;
}

/** What a bag is compared with. */
export interface BagTarget {
  classIndex: number;
  /** Index of the background class, whose logit is 0; null: none. */
  reference: number | null;
  /** Weight of the bag in the loss. */
  weight: number;
}

/** A loss, and its gradient at the logits. */
export interface LossAndGradient {
  loss: number;
  gradient: Float64Array;
}

/**
 * E of each class, the log-mean-exp over the locations (see ../../sampling/
 * evidence.ts): from logits `[n, K]` of n of them, chosen uniformly.
 */
export function evidenceOf(
  logits: Float64Array,
  outputs: number,
  { sharpness, objects, locations, total }: Bagging,
): Float64Array {
  const count = logits.length / outputs;
  const offset = Math.log(locations / count) - Math.log(objects ?? total);
  return Float64Array.from({ length: outputs }, (_, k) => {
    let most = -Infinity, sum = 0;
    for (let i = k; i < logits.length; i += outputs) {
      most = Math.max(most, logits[i]!);
    }
    for (let i = k; i < logits.length; i += outputs) {
      sum += Math.exp(sharpness * (logits[i]! - most));
    }
    return most + (Math.log(sum) + offset) / sharpness;
  });
}

/**
 * Shares of the locations in the evidence of a class: softmax of r z, which the
 * best proposal is.
 *
 * @returns `[n]`, adding to 1.
 */
export function evidenceShares(
  logits: Float64Array,
  outputs: number,
  { sharpness, output }: { sharpness: number; output: number },
): Float64Array {
  const count = logits.length / outputs;
  const shares = new Float64Array(count);
  let most = -Infinity, sum = 0;
  for (let i = 0; i < count; i++) {
    most = Math.max(most, logits[i * outputs + output]!);
  }
  for (let i = 0; i < count; i++) {
    shares[i] = Math.exp(sharpness * (logits[i * outputs + output]! - most));
    sum += shares[i]!;
  }
  return shares.map((share) => share / sum);
}

/** Logits of all classes: those of the evidence, and 0 for the background. */
export function classLogits(
  evidence: Float64Array,
  reference: number | null,
): Float64Array {
  if (reference === null) return evidence;
  const logits = new Float64Array(evidence.length + 1);
  logits.set(evidence.subarray(0, reference));
  logits.set(evidence.subarray(reference), reference + 1);
  return logits;
}

/** Place of a class among those with evidence; null for the background. */
export function outputOf(
  classIndex: number,
  reference: number | null,
): number | null {
  if (classIndex === reference) return null;
  return reference !== null && classIndex > reference
    ? classIndex - 1
    : classIndex;
}

/** Softmax. */
export function probabilitiesOf(logits: Float64Array): Float64Array {
  const most = Math.max(...logits);
  const weights = logits.map((logit) => Math.exp(logit - most));
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return weights.map((weight) => weight / sum);
}

/**
 * Cross-entropy of the classes of a bag against its smoothed label. With two
 * classes, one of them background, this is the binary one of the evidence.
 */
export function bagLoss(
  logits: Float64Array,
  outputs: number,
  { bagging, target }: { bagging: Bagging; target: BagTarget },
): LossAndGradient & { correct: boolean } {
  const { classIndex, reference, weight } = target;
  const evidence = evidenceOf(logits, outputs, bagging);
  const scores = classLogits(evidence, reference);
  const probabilities = probabilitiesOf(scores);
  const gradient = new Float64Array(logits.length);
  let loss = 0;
  probabilities.forEach((p, c) => {
    const wanted = c === classIndex
      ? 1 - SMOOTHING
      : SMOOTHING / (probabilities.length - 1);
    loss -= weight * wanted * Math.log(Math.max(p, Number.MIN_VALUE));
    const output = outputOf(c, reference);
    if (output === null) return;
    const upstream = weight * (p - wanted);
    const shares = evidenceShares(logits, outputs, { ...bagging, output });
    shares.forEach((share, i) => {
      gradient[i * outputs + output] = upstream * share;
    });
  });
  const correct = scores.every((score) => score <= scores[classIndex]!);
  return { loss, gradient, correct };
}

/** Locations of an image whose objects are known. */
export interface KnownLocations {
  /** `[n, K]`. */
  logits: Float64Array;
  /** 1 on an object, 0 elsewhere, `[n]`. */
  objects: Uint8Array;
  /** Place of the class of its objects among those with evidence. */
  output: number | null;
}

/**
 * Loss of locations whose objects are known: the mean of softplus(-z) of an
 * object's class where it lies, plus the mean of softplus(z) of all else. Both
 * means count the same, as objects are rare.
 *
 * @returns gradients, one for each of `known`.
 */
export function objectLoss(
  known: readonly KnownLocations[],
  outputs: number,
): { loss: number; gradients: Float64Array[] } {
  const total = { objects: 0, elsewhere: 0 };
  visit(known, outputs, (_, __, isObject) => {
    total[isObject ? "objects" : "elsewhere"]++;
  });
  const gradients = known.map(({ logits }) => new Float64Array(logits.length));
  let loss = 0;
  visit(known, outputs, (image, at, isObject) => {
    const sign = isObject ? -1 : 1;
    const weight = 1 / total[isObject ? "objects" : "elsewhere"];
    const z = sign * known[image]!.logits[at]!;
    loss += weight * softplus(z);
    gradients[image]![at] = sign * weight / (1 + Math.exp(-z));
  });
  return { loss, gradients };
}

function visit(
  known: readonly KnownLocations[],
  outputs: number,
  each: (image: number, at: number, isObject: boolean) => void,
): void {
  known.forEach(({ logits, objects, output }, image) => {
    for (let at = 0; at < logits.length; at++) {
      const place = Math.floor(at / outputs);
      each(image, at, objects[place] === 1 && at % outputs === output);
    }
  });
}

function softplus(z: number): number {
  return Math.max(z, 0) + Math.log1p(Math.exp(-Math.abs(z)));
}
