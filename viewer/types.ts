/**
 * Documents of the server, as this page reads them.
 *
 * @module
 */
export type {
  ClassificationDocument as Classification,
  CrossValidatedDocument as CrossValidated,
  JobDocument as Job,
  MeanDocument as Mean,
  ObjectDocument as AnnotatedObject,
  RegionDocument as Region,
  ScoresDocument as Scores,
  SubTileDocument as SubTile,
  TableRowDocument as TableRow,
  TableRowsDocument as TableRows,
} from "../lib/serve/documents.ts";

/** `GET /v1/image`. */
export interface SeenImage {
  name: string;
  version: string;
  width: number;
  height: number;
  mpp?: number;
  tileSide: number;
  zoomLevels: number;
  firstLevel: number;
  levels: { width: number; height: number }[];
  warnings: string[];
}

/** `GET /v1/data`. */
export interface Listing {
  entries: {
    name: string;
    path: string;
    kind: "folder" | "table" | "image";
    bytes: number;
  }[];
  isCut: boolean;
}

/** A model, as far as the page shows it. */
export interface Model {
  name: string;
  version: string;
  default: boolean;
  classes: string[];
  epoch: number;
  parameterCount: number;
  metrics: Record<string, number | null>;
  calibration: {
    temperature: number;
    bias: number;
    images: number;
    samples: number;
  } | null;
  config: { preset: string; evaluation?: { samples?: number } };
}
