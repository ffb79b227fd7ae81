/**
 * A model, wherever its values come from.
 *
 * @module
 */
import type { Calibration } from "./calibration.ts";
import type { Config } from "./config.ts";
import type { Encoder } from "../encoder/encoder.ts";
import type { Parameters } from "./parameters.ts";
import type { TargetFit } from "./targets/fit.ts";

/** A network with its values, as a checkpoint holds it. */
export interface Model {
  /** The configuration that it was trained with. */
  config: Config;
  /** Names of the classes, in the order of the logits. */
  classes: readonly string[];
  /** Of the training images' pixels / 255; null if input is not normalised. */
  normalisation: Normalisation | null;
  /** Applied to the logits; null if the model is not calibrated. */
  calibration: Calibration | null;
  /** What its target has learned beside the weights; nothing if omitted. */
  fitted?: TargetFit | undefined;
  /** Weights and moving statistics by name; free them when done. */
  parameters: Parameters;
  /** The frozen f; undefined if it is trained. Dispose of it when done. */
  encoder?: Encoder | undefined;
  /** Sees whole images, for attention; undefined if a and b do. */
  overview?: Encoder | undefined;
  /** Reads close-ups; undefined if the model takes none. */
  closeUp?: Encoder | undefined;
}

/** Mean and standard deviation of each colour channel, in [0, 1]. */
export interface Normalisation {
  /** Mean of red, green and blue. */
  mean: [number, number, number];
  /** Standard deviation of red, green and blue. */
  deviation: [number, number, number];
}
