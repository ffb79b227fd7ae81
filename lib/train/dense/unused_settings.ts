/**
 * Settings that training on all locations has no use for: changing one of them
 * would change nothing.
 *
 * @module
 */
import { isDeepStrictEqual } from "node:util";
import { ConfigError } from "../../errors.ts";
import type { Config, TrainingConfig } from "../../model/config.ts";
import { preset, presetNames } from "../../model/presets.ts";

/** By name, as they are set. */
function unusedOf(training: TrainingConfig): Record<string, unknown> {
  const { schedule, gradient, entropyWeight, patience } = training;
  return {
    schedule, // its own rises and falls once
    gradient,
    entropyWeight,
    patience, // the last epoch is kept
    saliencyWarmStart: training.saliencyWarmStart,
    "augmentation.placement": training.augmentation.placement,
  };
}

/**
 * Checks that they are those of the preset.
 *
 * @throws {ConfigError} Naming the first that is not.
 */
export function checkUnused({ preset: name, training }: Config): void {
  const base = preset(presetNames.includes(name) ? name : "colon");
  const defaults = unusedOf(base.training);
  for (const [field, value] of Object.entries(unusedOf(training))) {
    if (isDeepStrictEqual(value, defaults[field])) continue;
    throw new ConfigError(
      `Cannot train on all locations with training.${field}=${
        JSON.stringify(value)
      }, which has no effect on it: leave it at ${
        JSON.stringify(defaults[field])
      }, or set training.dense=null`,
    );
  }
}
