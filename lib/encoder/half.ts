/**
 * The precision in which features are held and kept.
 *
 * @module
 */

/** Values of float16, or of float32 if one is too large for it. */
export type Half = Float16Array | Float32Array;

const MAX_FLOAT16 = 65504;

/**
 * Features with the precision of float16, so that results do not depend on which
 * of them were kept; as they are if one is too large for it.
 */
export function half(features: Float32Array): Half {
  return features.every((value) => Math.abs(value) <= MAX_FLOAT16)
    ? Float16Array.from(features)
    : features;
}
