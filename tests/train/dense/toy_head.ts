/** Small heads and bags by a formula. */
import { preset } from "../../../lib/model/presets.ts";
import type { Target } from "../../../lib/model/targets/target.ts";
import { targetOf } from "../../../lib/model/targets/targets.ts";
import type { HeadArrays } from "../../../lib/train/dense/head/head_arrays.ts";
import type { Bag } from "../../../lib/train/dense/teacher.ts";
import { normals } from "../../finite_differences.ts";

/** The target of `count` classes, of which `reference` is background. */
export function toyTarget(count: number, reference: number | null): Target {
  const classes = Array.from({ length: count }, (_, i) => `class ${i}`);
  const { network } = preset("colon");
  const config = {
    target: "classes" as const,
    referenceClass: reference === null ? null : classes[reference]!,
    network: { ...network, head: "evidence" as const },
  };
  return targetOf({ config, classes });
}

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
    goal: [classIndex],
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
