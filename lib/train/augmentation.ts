/**
 * Light augmentation that reads no pixel more: flips and quarter turns of the
 * whole image, a change of brightness, and of how strongly tissue is stained, and
 * where the grid of stage I lies.
 *
 * @module
 */
import { type Key, RandomStream } from "../../kernels/random.ts";
import type { Point } from "../image/geometry.ts";
import {
  type Orientation,
  ORIENTATIONS,
} from "../image/pyramids/orientation.ts";
import { type DensityMatrix, restaining } from "../image/stains/stains.ts";
import type { Config } from "../model/config.ts";

/** What is done to one image in one epoch. */
export interface Augmentation {
  orientation: Orientation;
  /** Factor of all pixel values. */
  gain: number;
  /** Change of the optical densities; null: none. */
  densities: DensityMatrix | null;
  /** Where the grid of stage I begins in its first cell, 0 to 1; null: nowhere. */
  placement: Point | null;
}

type Settings = Config["training"]["augmentation"];

// Without turns: as it is, mirrored, turned by 180 degrees, upside down.
const FLIPS: readonly Orientation[] = [1, 2, 3, 4];
const TURNS: readonly Orientation[] = [1, 3, 6, 8];

/** The augmentation that `key` (seed, epoch, image) stands for. */
export function augmentation(settings: Settings, key: Key): Augmentation {
  const random = new RandomStream(key);
  const choices = orientations(settings);
  const orientation = choices[random.below(choices.length)]!;
  const factor = (spread: number) => 1 + (2 * random.uniform() - 1) * spread;
  const gain = factor(settings.brightness);
  const { stains } = settings;
  const densities = stains === 0
    ? null
    : restaining({ haematoxylin: factor(stains), eosin: factor(stains) });
  const placement = settings.placement
    ? { x: random.uniform(), y: random.uniform() }
    : null;
  return { orientation, gain, densities, placement };
}

function orientations({ flips, turns }: Settings): readonly Orientation[] {
  if (flips && turns) return ORIENTATIONS;
  if (flips) return FLIPS;
  return turns ? TURNS : [1];
}
