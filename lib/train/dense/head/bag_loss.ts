/**
 * The loss of the dense teacher, with its gradient at the logits of locations:
 * that of the target on the evidence of bags, and, where objects are annotated,
 * cross-entropy of each location.
 *
 * @module
 */
import type { EvidenceConfig } from "../../../model/config.ts";
import type { Target } from "../../../model/targets/target.ts";
import type { Goal } from "../../../target.ts";
import { SMOOTHING } from "../../label_smoothing.ts";

/** How locations become evidence. */
export interface Bagging extends EvidenceConfig {
  /** Locations of the image that count, of which those given are a random part. */
  locations: number;
  /** G: what their sum is divided by if `objects` is null. */
  total: number;
}

/** A bag, and what it is compared with. */
export interface LabelledBag {
  /** Of locations, `[n, outputs]`. */
  logits: Float64Array;
  bagging: Bagging;
  goal: Goal;
  /** Weight of the bag in the loss. */
  weight: number;
}

/** The loss of a bag, and its gradient at the logits of its locations. */
export interface BagLoss {
  loss: number;
  /** `[n, outputs]`. */
  gradient: Float64Array;
  /** Share of its answers that are right; null if there is no such thing. */
  right: number | null;
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

/** The logits of an image: those of its evidence, and 0 of a background class. */
export function imageLogits(
  evidence: Float64Array,
  { logits, outputs }: Pick<Target, "logits" | "outputs">,
): Float64Array {
  const all = new Float64Array(logits.length);
  outputs.forEach((place, output) => all[place] = evidence[output]!);
  return all;
}

/**
 * The losses of the bags of a batch against their smoothed labels. With two classes,
 * one of them background, this is the binary cross-entropy of the evidence.
 */
export function bagLosses(
  bags: readonly LabelledBag[],
  target: Pick<Target, "logits" | "outputs" | "losses" | "right">,
): BagLoss[] {
  const { length: outputs } = target.outputs;
  const rows = bags.map(({ logits, bagging }) =>
    imageLogits(evidenceOf(logits, outputs, bagging), target)
  );
  const { losses, gradients } = target.losses(rows, {
    goals: bags.map(({ goal }) => goal),
    weights: bags.map(({ weight }) => weight),
    smoothing: SMOOTHING,
  });
  return bags.map(({ logits, bagging, goal }, i) => {
    const gradient = new Float64Array(logits.length);
    target.outputs.forEach((place, output) => {
      const upstream = gradients[i]![place]!;
      evidenceShares(logits, outputs, { ...bagging, output })
        .forEach((share, at) => {
          gradient[at * outputs + output] = upstream * share;
        });
    });
    return { loss: losses[i]!, gradient, right: target.right(rows[i]!, goal) };
  });
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
