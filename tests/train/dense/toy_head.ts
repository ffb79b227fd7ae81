/** Small heads and bags by a formula. */
import type { HeadArrays } from "../../../lib/train/dense/head/head_arrays.ts";
import type { Bag } from "../../../lib/train/dense/teacher.ts";
import { normals } from "../../finite_differences.ts";

/** A head with random values. */
export function toyHead(
  components: number,
  hidden: number,
  outputs: number,
  seed = 1,
): HeadArrays {
  const random = (count: number, at: number) =>
    Float64Array.from(normals(count, 10 * seed + at, 0.5));
  return {
    "g/hidden/weight": random(components * hidden, 1),
    "g/hidden/bias": random(hidden, 2),
    "g/weight": random(hidden * outputs, 3),
    "g/bias": random(outputs, 4),
  };
}

/**
 * A bag of noise; in `marked` locations, `component` is high.
 *
 * @param seed of the noise.
 */
export function toyBag(
  { classIndex, locations, components, marked = [], component = 0, copies = 1 }:
    {
      classIndex: number;
      locations: number;
      components: number;
      marked?: readonly number[];
      component?: number;
      copies?: number;
    },
  seed: number,
): Bag {
  return {
    classIndex,
    locations,
    total: locations,
    objects: null,
    copies: Array.from({ length: copies }, (_, copy) => {
      const features = normals(locations * components, 100 * seed + copy, 0.5);
      for (const place of marked) features[place * components + component] = 3;
      return features;
    }),
  };
}
