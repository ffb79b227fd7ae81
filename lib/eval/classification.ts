/**
 * What is said of a classified image, wherever it is said.
 *
 * @module
 */
import type { Region, Size } from "../image/geometry.ts";
import type { Georeference, Pyramid } from "../image/pyramid.ts";
import {
  inStoredPixels,
  type PredictedSubTile,
  type PredictedTile,
  type Prediction,
} from "./predict.ts";

/** One image: its label, and where the network looked; px of level 0. */
export interface Classification {
  label: string;
  /** By class. */
  probabilities: Record<string, number>;
  image: Size & {
    /** Micrometres per px. */
    mpp?: number;
    /** The part that was scanned, where the file says so. */
    bounds?: Region;
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

/**
 * Puts together what is known of an image that was classified.
 *
 * @param opened the image as it lies in its file.
 * @param seen the image as the network saw it: `opened`, or resampled.
 */
export function classification(
  { opened, seen }: { opened: Pyramid; seen: Pyramid },
  prediction: Omit<Prediction, "attention">,
  { classes, timings }: {
    classes: readonly string[];
    timings: Record<string, number>;
  },
): Classification {
  const { label, probabilities, tiles, subTiles } = inStoredPixels(
    prediction,
    seen,
  );
  const { width, height, mpp, bounds, georeference } = opened;
  const { traffic, warnings } = seen;
  return {
    label,
    probabilities: Object.fromEntries(
      classes.map((name, i) => [name, probabilities[i]!]),
    ),
    image: {
      width,
      height,
      ...(mpp !== undefined && { mpp }),
      ...(bounds && { bounds }),
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
