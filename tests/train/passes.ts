/**
 * The backward pass of a micro-batch, whole or in blocks as a test wants it.
 *
 * @module
 */
import { lookInBlocks } from "../../lib/model/look/blocks.ts";
import type { LookImage, LookOptions } from "../../lib/model/look/draws.ts";
import type { Look } from "../../lib/model/look/look.ts";
import { lookWhole } from "../../lib/model/look/whole.ts";
import type { Model } from "../../lib/model/model.ts";
import {
  figuresOf,
  type ReportFigures,
} from "../../kernels/step_report/step_report.ts";
import { channelsOf } from "../../lib/model/networks.ts";
import type { BackwardPass } from "../../lib/train/step/backward.ts";
import type { Labels } from "../../lib/train/step/loss.ts";
import {
  backward,
  type StepOptions,
} from "../../lib/train/step/micro_batch.ts";

/** The images of a micro-batch, and their classes. */
export interface MicroBatchImages extends Labels {
  images: readonly LookImage[];
}

/** The backward pass of images whose views are held at once. */
export async function backwardTogether(
  model: Model,
  { images, ...labels }: MicroBatchImages,
  options: StepOptions,
): Promise<BackwardPass> {
  const look = await lookWhole(model, images, lookOptions(model, options));
  return await backwardOf(model, look, { ...options, ...labels });
}

/** The backward pass of one image in blocks. */
export async function backwardInBlocks(
  model: Model,
  { images, ...labels }: MicroBatchImages,
  options: StepOptions,
): Promise<BackwardPass> {
  const how = lookOptions(model, options);
  const look = await lookInBlocks(model, images[0]!, how);
  return await backwardOf(model, look, { ...options, ...labels });
}

/** What the report of a backward pass tells. */
export async function figuresOfPass(
  { config }: Model,
  { report }: Pick<BackwardPass, "report">,
): Promise<ReportFigures> {
  const values = await report.data() as Float32Array;
  return figuresOf([values], channelsOf(config.network));
}

function lookOptions(
  { config }: Model,
  { memory, exploration, signal }: StepOptions,
): LookOptions {
  const { samples } = config.view;
  return {
    samples,
    draws: "seeded",
    training: true,
    exploration,
    memory,
    signal,
  };
}

async function backwardOf(
  model: Model,
  look: Look,
  options: StepOptions & Labels,
): Promise<BackwardPass> {
  try {
    return await backward(model, look, options);
  } finally {
    look.dispose();
  }
}
