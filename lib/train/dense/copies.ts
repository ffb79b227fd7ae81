/**
 * Copies of a training image in other colours. Frozen features are computed once
 * for each, so there are few, and they are the same in every fold and run.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { randomKey, RandomStream } from "../../../kernels/random.ts";
import {
  DARKEST,
  type DensityMatrix,
  restaining,
  USUAL,
} from "../../image/stains/stains.ts";
import type { AugmentationConfig } from "../../model/config.ts";

/** A change of colours. */
export interface Recolouring {
  /** Tells it from all others: part of the key of cached features. */
  key: string;
  /** Changes RGB in [0, 1], px by px, in place. */
  apply(pixels: Float32Array): void;
}

/** The settings that copies depend on. */
export type CopySettings = Pick<AugmentationConfig, "stains" | "brightness">;

// Largest change of a stain's amount, as a share of that of its strength.
const OFFSET_SHARE = 2 / 15;
const COPIES = 108; // word of the random keys
const CHANNELS = 3;

/** True if the settings change colours at all. */
export function changesColours({ stains, brightness }: CopySettings): boolean {
  return stains > 0 || brightness > 0;
}

/**
 * The colours of copy `copy`, counted from 1, of the image named `image`: each
 * stain stronger or weaker and shifted, or else each channel brighter or darker.
 * The logarithms of the factors are uniform up to the setting.
 */
export function recolouring(
  image: string,
  copy: number,
  { stains, brightness }: CopySettings,
): Recolouring {
  const random = new RandomStream(randomKey(numberOf(image), COPIES, copy));
  const spread = (most: number) => (2 * random.uniform() - 1) * most;
  return stains > 0
    ? stainChange(
      [0, 1].map(() => Math.exp(spread(stains))),
      [0, 1].map(() => spread(OFFSET_SHARE * stains)),
    )
    : gainChange([0, 1, 2].map(() => Math.exp(spread(brightness))));
}

/** A whole number that follows from a text. */
function numberOf(text: string): number {
  return createHash("sha256").update(text).digest().readUInt32LE();
}

/** Densities D become D M + o: haematoxylin and eosin scaled and shifted. */
function stainChange(
  factors: readonly number[],
  amounts: readonly number[],
): Recolouring {
  const matrix = restaining({ haematoxylin: factors[0]!, eosin: factors[1]! });
  const offset = [0, 1, 2].map((c) =>
    amounts[0]! * USUAL.haematoxylin[c]! + amounts[1]! * USUAL.eosin[c]!
  );
  return {
    key: `stains ${keyOf([...factors, ...amounts])}`,
    apply: (pixels) => changeDensities(pixels, matrix, offset),
  };
}

function changeDensities(
  pixels: Float32Array,
  matrix: DensityMatrix,
  offset: readonly number[],
): void {
  const densities = [0, 0, 0];
  for (let at = 0; at < pixels.length; at += CHANNELS) {
    for (let c = 0; c < CHANNELS; c++) {
      densities[c] = -Math.log(Math.max(DARKEST, pixels[at + c]!));
    }
    for (let c = 0; c < CHANNELS; c++) {
      const density = densities[0]! * matrix[c]! +
        densities[1]! * matrix[3 + c]! + densities[2]! * matrix[6 + c]! +
        offset[c]!;
      pixels[at + c] = Math.exp(-Math.max(0, density));
    }
  }
}

function gainChange(gains: readonly number[]): Recolouring {
  return {
    key: `gains ${keyOf(gains)}`,
    apply(pixels) {
      for (let i = 0; i < pixels.length; i++) {
        pixels[i] = Math.min(1, pixels[i]! * gains[i % CHANNELS]!);
      }
    },
  };
}

/** Six digits: more than any feature shows. */
function keyOf(values: readonly number[]): string {
  return values.map((value) => value.toFixed(6)).join(" ");
}
