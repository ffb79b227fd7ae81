/**
 * The prediction of a group of images, such as those of a patient:
 *
 *     mean      the mean of the images' probabilities
 *     max       those of the image that is surest of a class other than the
 *               reference class
 *     evidence  those of all sub-tiles of the group, as if they were of one image
 *
 * Under the head `evidence` an image with G locations has the evidence E_k =
 * 1/r [ log sum_i exp(r z_ik) - log G ] (lib/sampling/evidence.ts), so the sum over
 * the locations of all images i of a group is
 *
 *     E_k = 1/r [ log sum_i G_i exp(r E_ik) - log sum_i G_i ]
 *
 * and with a number C of locations that an object fills, in the place of G,
 * 1/r log sum_i exp(r E_ik). E is corrected to L = s E + o for what few draws lose
 * (model/head.ts): both sums hold for L with r / s, since o cancels. Under the head
 * `mean` the feature of the group is the mean of those of its images; logits are
 * affine in it, so they are the mean of the images' logits.
 *
 * @module
 */
import { argmax } from "../metrics.ts";

/** Ways to predict a group from its images. */
export const GROUP_POOLINGS = ["mean", "max", "evidence"] as const;

/** Name of a way to predict a group. */
export type GroupPooling = (typeof GROUP_POOLINGS)[number];

/** An image's part in the evidence of its group. */
export interface GroupPart {
  /** Before the calibration, `[classes]`. */
  logits: number[];
  /** Under the head `evidence`. */
  evidence?: {
    /** r / s. */
    sharpness: number;
    /** G; null if the evidence is that of C locations. */
    locations: number | null;
  };
}

/** The mean of the images' probabilities or logits, `[classes]`. */
export function meanOf(
  images: readonly (readonly number[])[],
): number[] {
  return images[0]!.map((_, c) =>
    images.reduce((sum, image) => sum + image[c]!, 0) / images.length
  );
}

/**
 * The probabilities of the image that is surest of a class other than the
 * reference class, `[classes]`.
 *
 * @param reference index of the reference class; -1 for none.
 */
export function surestProbabilities(
  images: readonly (readonly number[])[],
  reference: number,
): readonly number[] {
  const surest = images.map((image) =>
    Math.max(...image.filter((_, c) => c !== reference))
  );
  return images[argmax(surest)]!;
}

/**
 * The logits of a group's sub-tiles together, before the calibration, `[classes]`.
 *
 * @param parts of its images, by one model.
 * @param reference index of the reference class, which has no evidence; -1 for
 *   none.
 */
export function pooledLogits(
  parts: readonly GroupPart[],
  reference: number,
): number[] {
  const [first] = parts;
  const all = parts.map(({ logits }) => logits);
  if (!first!.evidence) return meanOf(all);
  const { sharpness } = first!.evidence;
  const weights = parts.map(({ evidence }) => evidence!.locations ?? 1);
  const isOfAll = first!.evidence.locations !== null;
  const norm = isOfAll ? weights.reduce((sum, weight) => sum + weight, 0) : 1;
  return first!.logits.map((_, c) => {
    if (c === reference) return 0;
    const terms = all.map((logits, i) =>
      sharpness * logits[c]! + Math.log(weights[i]!)
    );
    return (logSumExp(terms) - Math.log(norm)) / sharpness;
  });
}

function logSumExp(terms: readonly number[]): number {
  const largest = Math.max(...terms);
  return largest +
    Math.log(terms.reduce((sum, term) => sum + Math.exp(term - largest), 0));
}
