/**
 * Light augmentation that reads no pixel more: flips and quarter turns of the
 * whole image, and a change of brightness.
 *
 * @module
 */
import { type Key, RandomStream } from "../../kernels/random.ts";
import { type Orientation, ORIENTATIONS } from "../image/geometry.ts";
import type { Config } from "../model/config.ts";

/** What is done to one image in one epoch. */
export interface Augmentation {
  orientation: Orientation;
  /** Factor of all pixel values. */
  gain: number;
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
  const shift = (2 * random.uniform() - 1) * settings.brightness;
  return { orientation, gain: 1 + shift };
}

function orientations({ flips, turns }: Settings): readonly Orientation[] {
  if (flips && turns) return ORIENTATIONS;
  if (flips) return FLIPS;
  return turns ? TURNS : [1];
}
