/**
 * What is said of a classified image, wherever it is said.
 *
 * @module
 */
import type { Point, Size } from "../image/geometry.ts";
import type { Georeference, Pyramid } from "../image/pyramid.ts";
import type { PredictedSubTile, PredictedTile, Prediction } from "./predict.ts";

/** One image: its label, and where the network looked; px of level 0. */
export interface Classification {
  label: string;
  /** By class. */
  probabilities: Record<string, number>;
  image: Size & {
    /** Micrometres per px. */
    mpp?: number;
    /** Where the part that was scanned begins, where the file says so. */
    bounds?: Point;
    georeference?: Georeference;
  };
  tiles: PredictedTile[];
  subTiles: PredictedSubTile[];
  /** Time by stage, ms. */
  timings: Record<string, number>;
  bytesRead: number;
  /** Reads of the file, or requests of the server. */
  requests: number;
  warnings: readonly string[];
}

/** Puts together what is known of an image that was classified. */
export function classification(
  pyramid: Pyramid,
  prediction: Prediction,
  { classes, timings }: {
    classes: readonly string[];
    timings: Record<string, number>;
  },
): Classification {
  const { label, probabilities, tiles, subTiles } = prediction;
  const { width, height, mpp, georeference, traffic, warnings } = pyramid;
  return {
    label,
    probabilities: Object.fromEntries(
      classes.map((name, i) => [name, probabilities[i]!]),
    ),
    image: {
      width,
      height,
      ...(mpp !== undefined && { mpp }),
      ...(georeference && { georeference }),
    },
    tiles,
    subTiles,
    timings,
    bytesRead: traffic.bytes,
    requests: traffic.requests,
    warnings,
  };
}
