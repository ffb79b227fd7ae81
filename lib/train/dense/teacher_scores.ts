/**
 * What the dense teacher says of images, from all their locations: figures, and
 * the shares of the locations, which the student learns.
 *
 * @module
 */
import { evaluateMetrics } from "../../eval/metrics.ts";
import type { Point } from "../../image/geometry.ts";
import type { EvidenceConfig } from "../../model/config.ts";
import type { EpochFigures } from "../epoch_metrics.ts";
import {
  classLogits,
  evidenceOf,
  evidenceShares,
  outputOf,
  probabilitiesOf,
} from "./head/bag_loss.ts";
import type { ImageBag } from "./bags.ts";
import { forward, type HeadArrays, headShape } from "./head/head_arrays.ts";
import { locationCount } from "../../model/look/location_grid.ts";

/** What a teacher decides between. */
export interface TeacherTask {
  /** Index of the background class; null: none. */
  reference: number | null;
  evidence: EvidenceConfig;
}

/** Logits of the locations of a bag as it is, `[n, outputs]`. */
function logitsOf(head: HeadArrays, { copies }: ImageBag): Float64Array {
  return forward(head, copies[0]!).logits;
}

/** Probabilities of the classes of an image, from all its locations. */
export function teacherProbabilities(
  head: HeadArrays,
  bag: ImageBag,
  { reference, evidence }: TeacherTask,
): Float64Array {
  const { outputs } = headShape(head);
  const found = evidenceOf(logitsOf(head, bag), outputs, {
    ...evidence,
    locations: bag.locations,
    total: bag.total,
  });
  return probabilitiesOf(classLogits(found, reference));
}

/**
 * Loss, accuracy and AUC, as the log names them: with `name` before each.
 *
 * @returns nothing if there are no images.
 */
export function teacherFigures(
  head: HeadArrays,
  bags: readonly ImageBag[],
  { name, ...task }: TeacherTask & { name: string },
): EpochFigures {
  if (bags.length === 0) return {};
  const { logLoss, accuracy, auc } = evaluateMetrics({
    labels: bags.map(({ classIndex }) => classIndex),
    probabilities: bags.map((bag) => teacherProbabilities(head, bag, task)),
  });
  return {
    [`${name}Loss`]: logLoss,
    [`${name}Accuracy`]: accuracy,
    [`${name}Auc`]: auc,
  };
}

/** The locations by their shares in the evidence of the image's class, largest first. */
export function strongestPlaces(
  head: HeadArrays,
  bag: ImageBag,
  task: TeacherTask,
): Point[] {
  const shares = teacherShares(head, bag, task);
  return Array.from(bag.image.indices)
    .sort((a, b) => shares[b]! - shares[a]!)
    .map((location) => bag.image.grid.places[location]!);
}

/**
 * Shares of all locations of an image in the evidence of its class, `[G]`; of a
 * background image the mean over the classes. Those that do not count have 0.
 */
export function teacherShares(
  head: HeadArrays,
  bag: ImageBag,
  { reference, evidence }: TeacherTask,
): Float64Array {
  const { outputs } = headShape(head);
  const logits = logitsOf(head, bag);
  const own = outputOf(bag.classIndex, reference);
  const wanted = own === null
    ? Array.from({ length: outputs }, (_, output) => output)
    : [own];
  const { grid, indices, places } = bag.image;
  const shares = new Float64Array(locationCount(grid));
  for (const output of wanted) {
    evidenceShares(logits, outputs, { ...evidence, output })
      .forEach((share, i) => {
        shares[indices[Math.floor(i / places)]!]! += share / wanted.length;
      });
  }
  return shares;
}
