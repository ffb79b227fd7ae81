/**
 * Light augmentation that reads no more pixels: flips and quarter turns of the
 * whole image, changes of brightness and of stain strength, and a shifted grid of
 * stage I.
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

/** Augmentation of one image in one epoch. */
export interface Augmentation {
  orientation: Orientation;
  /** Factor of all pixel values. */
  gain: number;
  /** Change of the optical densities; null: none. */
  densities: DensityMatrix | null;
  /** Start of stage I's grid in its first cell, 0 to 1; null: not shifted. */
  placement: Point | null;
}

type Settings = Config["training"]["augmentation"];

// Without turns: as it is, mirrored, turned by 180 degrees, upside down.
const FLIPS: readonly Orientation[] = [1, 2, 3, 4];
const TURNS: readonly Orientation[] = [1, 3, 6, 8];

/** The augmentation drawn under `key` (seed, epoch, image). */
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

/** The orientations that settings allow. */
export function orientations(
  { flips, turns }: Pick<Settings, "flips" | "turns">,
): readonly Orientation[] {
  if (flips && turns) return ORIENTATIONS;
  if (flips) return FLIPS;
  return turns ? TURNS : [1];
}
