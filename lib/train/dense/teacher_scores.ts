/**
 * What the dense teacher says of images, from all their locations: figures, and
 * the shares of the locations, which the student learns.
 *
 * @module
 */
import { type LabelledImage, labelledImage } from "../../eval/evaluate.ts";
import { epochFiguresOf } from "../../eval/targets/scoring.ts";
import type { Point } from "../../image/geometry.ts";
import type { EvidenceConfig } from "../../model/config.ts";
import type { EpochFigures } from "../epoch_metrics.ts";
import type { Target } from "../../model/targets/target.ts";
import { evidenceOf, evidenceShares, imageLogits } from "./head/bag_loss.ts";
import type { ImageBag } from "./bags.ts";
import { forward, type HeadArrays, headShape } from "./head/head_arrays.ts";
import { locationCount } from "../../model/look/location_grid.ts";

/** What a teacher learns to say. */
export interface TeacherTask {
  target: Target;
  /** Names of the model. */
  classes: readonly string[];
  evidence: EvidenceConfig;
}

/** Logits of the locations of a bag as it is, `[n, outputs]`. */
function logitsOf(head: HeadArrays, { copies }: ImageBag): Float64Array {
  return forward(head, copies[0]!).logits;
}

/** What a teacher says of an image, from all its locations. */
export function teacherSays(
  head: HeadArrays,
  bag: ImageBag,
  { target, classes, evidence }: TeacherTask,
): LabelledImage {
  const { outputs } = headShape(head);
  const found = evidenceOf(logitsOf(head, bag), outputs, {
    ...evidence,
    locations: bag.locations,
    total: bag.total,
  });
  const activated = target.activatedRow(imageLogits(found, target));
  return labelledImage(bag.entry, target.decide(activated), classes);
}

/**
 * Loss and metrics, as the log names them: with `name` before each.
 *
 * @returns nothing if there are no images.
 */
export function teacherFigures(
  head: HeadArrays,
  bags: readonly ImageBag[],
  { name, ...task }: TeacherTask & { name: string },
): EpochFigures {
  if (bags.length === 0) return {};
  const images = bags.map((bag) => teacherSays(head, bag, task));
  return epochFiguresOf(task.target.name, images, task.classes, name);
}

/** The locations by their shares in the evidence of the image's class, largest first. */
export function strongestPlaces(
  head: HeadArrays,
  bag: ImageBag,
  task: Pick<TeacherTask, "target" | "evidence">,
): Point[] {
  const shares = teacherShares(head, bag, task);
  return Array.from(bag.image.indices)
    .sort((a, b) => shares[b]! - shares[a]!)
    .map((location) => bag.image.grid.places[location]!);
}

/**
 * Shares of all locations of an image in the evidence of what it shows, `[G]`, the
 * mean over several; of a background image over all outputs. Those that do not count
 * have 0.
 */
export function teacherShares(
  head: HeadArrays,
  bag: ImageBag,
  { target, evidence }: Pick<TeacherTask, "target" | "evidence">,
): Float64Array {
  const { outputs } = headShape(head);
  const logits = logitsOf(head, bag);
  const own = target.shown(bag.goal);
  const wanted = own.length === 0
    ? Array.from({ length: outputs }, (_, output) => output)
    : own;
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
