/**
 * What a target learns beside the weights: from the labels of the training images,
 * or on validation images.
 *
 * @module
 */
import { z } from "zod";

/** Numbers of a target, which a checkpoint keeps. */
export interface TargetFit {
  /** Of the target `value`: the logit is (value - mean) / deviation. */
  scale?: { mean: number; deviation: number } | undefined;
  /** Of the target `labels`: probability above which an image has each label. */
  thresholds?: readonly number[] | undefined;
}

/** The same as a checkpoint holds it. */
export const targetFitSchema: z.ZodType<TargetFit> = z.strictObject({
  scale: z.strictObject({
    mean: z.number(),
    deviation: z.number().positive(),
  }).optional(),
  thresholds: z.array(z.number().min(0).max(1)).optional(),
});
