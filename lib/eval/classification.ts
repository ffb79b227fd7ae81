/**
 * The result of classifying one image, as the command line prints it, the server
 * answers it and a program gets it.
 *
 * @module
 */
import type { Region, Size } from "../image/geometry.ts";
import type { Georeference, Pyramid } from "../image/pyramid.ts";
import type { ModelReference } from "../model/checkpoint.ts";
import {
  inStoredPixels,
  type PredictedSubTile,
  type PredictedTile,
  type Prediction,
} from "./predict.ts";

/** A classified image: its label, and where the network looked; level-0 px. */
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

/** A classified image, and the model that classified it. */
export interface ModelClassification extends Classification {
  model: ModelReference;
}

/**
 * Joins a prediction with the facts of its image.
 *
 * @param image.file the image as it lies in its file.
 * @param image.seen the image as the network saw it: `file`, or resampled.
 * @param image.mpp micrometres per px of the file.
 */
export function classification(
  { file, seen, mpp }: {
    file: Pyramid;
    seen: Pyramid;
    mpp: number | undefined;
  },
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
  const { width, height, bounds, georeference } = file;
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
