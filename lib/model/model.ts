/**
 * What a model is, wherever its values come from.
 *
 * @module
 */
import type { Config } from "./config.ts";
import type { Parameters } from "./parameters.ts";

/** A network with its values: what a checkpoint holds. */
export interface Model {
  config: Config;
  classes: readonly string[];
  /** Of the training images' pixels / 255; null where input is not normalised. */
  normalisation: Normalisation | null;
  parameters: Parameters;
}

/** Mean and standard deviation of each colour channel, in [0, 1]. */
export interface Normalisation {
  mean: [number, number, number];
  deviation: [number, number, number];
}
