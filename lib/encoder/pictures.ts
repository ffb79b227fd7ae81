/**
 * What encoders of our own share: pictures in groups, and the check of features.
 *
 * @module
 */
import { EncoderError } from "../errors.ts";
import type { Pictures } from "./encoder.ts";

/** Some of several pictures. */
export interface PictureGroup extends Pictures {
  /** Index of the first. */
  first: number;
}

/** Groups of at most `most` px, but at least one picture, without copying. */
export function* pictureGroups(
  { data, count, height, width }: Pictures,
  most: number,
): Generator<PictureGroup> {
  const size = height * width;
  const atOnce = Math.max(1, Math.floor(most / size));
  for (let first = 0; first < count; first += atOnce) {
    const some = Math.min(atOnce, count - first);
    yield {
      data: data.subarray(first * size * 3, (first + some) * size * 3),
      count: some,
      height,
      width,
      first,
    };
  }
}

/**
 * `features`, if they are numbers.
 *
 * @throws {EncoderError} If one is not finite.
 */
export function checkFinite(
  features: Float32Array,
  name: string,
): Float32Array {
  if (features.every(Number.isFinite)) return features;
  throw new EncoderError(
    `Cannot use the features of ${name}: one is not a finite number, so the picture or the engine is at fault; try --backend wasm`,
  );
}
