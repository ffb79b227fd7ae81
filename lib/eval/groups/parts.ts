/**
 * What a prediction leaves for the evidence of a group.
 *
 * @module
 */
import type * as tf from "@tensorflow/tfjs-core";
import { CORRECTION } from "../../model/head.ts";
import type { Drawn } from "../../model/look/draws.ts";
import type { Model } from "../../model/model.ts";
import type { GroupPart } from "./pooling.ts";

/**
 * The parts of images in their groups.
 *
 * @param logits `[images, classes]`, before the calibration.
 */
export async function groupParts(
  { config: { network }, parameters }: Pick<Model, "config" | "parameters">,
  { proposed }: Pick<Drawn, "proposed">,
  logits: tf.Tensor2D,
): Promise<GroupPart[]> {
  const rows = await logits.array();
  if (network.head !== "evidence") return rows.map((logits) => ({ logits }));
  const { sharpness, objects } = network.evidence;
  const slope = await parameters.get(CORRECTION.slope)?.data();
  return rows.map((logits, i) => ({
    logits,
    evidence: {
      sharpness: sharpness / (slope?.[0] ?? 1),
      locations: objects === null ? proposed!.locations[i]! : null,
    },
  }));
}
