/**
 * The result of classifying one image: the command line prints it, the server
 * answers with it, and a program gets it.
 *
 * @module
 */
import type { Region, Size } from "../image/geometry.ts";
import type { Georeference, Pyramid } from "../image/pyramid.ts";
import type { ModelReference } from "../model/checkpoint.ts";
import { type Answer, answerOf } from "./answer.ts";
import type { HeatKind } from "./heatmap/heatmap.ts";
import {
  inStoredPixels,
  type PredictedSubTile,
  type PredictedTile,
  type Prediction,
} from "./predict.ts";

/** A classified image: its label, and the regions that were drawn; level-0 px. */
export interface Classification extends Answer {
  /** Size and place of the image in its file. */
  image: Size & {
    /** Micrometres per px. */
    mpp?: number;
    /** The part that was scanned, if the file names one. */
    bounds?: Region;
    /** The image's place on a map, if it has one. */
    georeference?: Georeference;
  };
  /** Tiles that were drawn in stage I. */
  tiles: PredictedTile[];
  /** Sub-tiles that were read, each with its share of the result. */
  subTiles: PredictedSubTile[];
  /** The object that decided, as a close-up placed it, if the model takes them. */
  object?: Region;
  /** Time by stage, ms; of images classified together, that of all of them. */
  timings: Record<string, number>;
  /** Bytes read of the file, or fetched from the server. */
  bytesRead: number;
  /** Reads of the file, or requests to the server. */
  requests: number;
  /** Changes that decoding made, and doubts about the file. */
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
 * @param image.seen the image that the network saw: `file`, or resampled.
 * @param image.mpp micrometres per px of the file.
 */
export function classification(
  { file, seen, mpp }: {
    file: Pyramid;
    seen: Pyramid;
    mpp: number | undefined;
  },
  prediction: Omit<Prediction, HeatKind | "stages">,
  { classes, timings }: {
    classes: readonly string[];
    timings: Record<string, number>;
  },
): Classification {
  const { tiles, subTiles, object } = inStoredPixels(prediction, seen);
  const { width, height, bounds, georeference } = file;
  const { traffic, warnings } = seen;
  return {
    ...answerOf(prediction, classes),
    image: {
      width,
      height,
      ...(mpp !== undefined && { mpp }),
      ...(bounds && { bounds }),
      ...(georeference && { georeference }),
    },
    tiles,
    subTiles,
    ...(object && { object }),
    timings,
    bytesRead: traffic.bytes,
    requests: traffic.requests,
    warnings,
  };
}
