/**
 * JSON documents that the server sends, as its callers see them. The schemas in
 * schemas.ts are checked against these types.
 *
 * @module
 */

/** A rectangle, level-0 px. */
export interface RegionDocument {
  /** Left edge. */
  x: number;
  /** Upper edge. */
  y: number;
  /** Width. */
  width: number;
  /** Height. */
  height: number;
}

/** A tile that was examined. */
export interface TileDocument extends RegionDocument {
  /** Number of times that the tile was drawn. */
  count: number;
}

/** A sub-tile that was read at full resolution. */
export interface SubTileDocument extends RegionDocument {
  /** Weight of the sub-tile in the result. */
  weight: number;
}

/** A version of a model. */
export interface ModelDocument {
  /** Name: the entry in the folder of models. */
  name: string;
  /** First characters of the hash. */
  version: string;
  /** Hash of the checkpoint. */
  sha256: string;
}

/** Position of an image in a map. */
export interface GeoreferenceDocument {
  /**
   * Coordinate reference system, such as `EPSG:32633`, if the file names one.
   */
  crs?: string | undefined;
  /** Affine transform of pixels to map coordinates, six numbers. */
  transform: number[];
}

/** Facts about an image. */
export interface ImageDocument {
  /** Width, level-0 px. */
  width: number;
  /** Height, level-0 px. */
  height: number;
  /** Micrometres per px, if known. */
  mpp?: number | undefined;
  /** The scanned area of a slide, if the file states it. */
  bounds?: RegionDocument | undefined;
  /** Position in a map, if the file states it. */
  georeference?: GeoreferenceDocument | undefined;
}

/** A heat map: attention mass, or evidence, per level-0 px. */
export interface MapDocument {
  /** Columns of the map, which covers the whole image. */
  width: number;
  /** Rows of the map. */
  height: number;
  /**
   * `[height, width]` float32 values, little-endian, compressed by gzip, as
   * base64.
   */
  values: string;
}

/** Heat maps of an image, by what they show. */
export interface MapsDocument {
  /** Attention of stage I, over the whole image. */
  stage1: MapDocument;
  /** Attention of stage II, in the tiles that were drawn. */
  stage2: MapDocument;
  /** Evidence of the sub-tiles; of models with the head `evidence` alone. */
  evidence?: MapDocument | undefined;
}

/** A classified image. */
export interface ClassificationDocument {
  /** Id of the request, or of the job. */
  id: string;
  /** The model that classified the image. */
  model: ModelDocument;
  /** The most probable class; of several labels all, as `a;b`; a number's digits. */
  label: string;
  /** Probability of each class or label; empty if the model gives a number. */
  probabilities: Record<string, number>;
  /** The labels that the image has, of models of several. */
  labels?: string[] | undefined;
  /** The number, of models of a value. */
  value?: number | undefined;
  /** Logarithm of the hazard ratio, of models of time to an event. */
  risk?: number | undefined;
  /** Size and position of the image. */
  image: ImageDocument;
  /** Tiles that were drawn from the image. */
  tiles: TileDocument[];
  /** Sub-tiles that were read. */
  subTiles: SubTileDocument[];
  /** The object that decided, of models with close-ups. */
  object?: RegionDocument | undefined;
  /** Time by stage, ms. */
  timings: Record<string, number>;
  /** Bytes read from the file or its server. */
  bytesRead: number;
  /** Number of reads of the file, or of requests to its server. */
  requests: number;
  /** Changes that decoding made, such as grey expanded to RGB. */
  warnings: string[];
  /** Heat maps, if asked for by `maps`. */
  maps?: MapsDocument | undefined;
}

/** An image of a table. */
export interface TableRowDocument {
  /** The image, as the table names it. */
  image: string;
  /** Its label. */
  label: string;
  /** Side of the split, if the table states it. */
  split?: "train" | "validation" | "test" | undefined;
  /** The image as a request names it: a file in a folder of data, */
  path?: string | undefined;
  /** or a URL. */
  uri?: string | undefined;
  /** The table's own files state its objects. */
  annotated: boolean;
  /** Number of objects that were saved, if any were. */
  drawn?: number | undefined;
}

/** The first images of a table. */
export interface TableRowsDocument {
  /** In the order of the table. */
  rows: TableRowDocument[];
  /** There are more. */
  isCut: boolean;
}

/** An annotated object: a box, or a point, which has no width and height. */
export interface ObjectDocument extends RegionDocument {
  /** Kind of object; its image's label if omitted. */
  type?: string | undefined;
  /** Its parts, each an outline and its holes. */
  polygons?: { x: number; y: number }[][][] | undefined;
}

/** How well the images of a split are told apart. */
export interface ScoresDocument {
  /** The images: those by which the checkpoint was chosen. */
  split: "validation";
  /** Number of images. */
  images: number;
  /** Names of the classes, in the order of `confusion`. */
  classes: readonly string[];
  /** Images of class [true][predicted]. */
  confusion: number[][];
  /** Each metric with its 95 % interval. */
  metrics: Record<
    string,
    { value: number | null; interval: { low: number; high: number } | null }
  >;
  /**
   * By class: (mean probability, share of the class) of ten bins of equal width,
   * without the empty ones.
   */
  calibration: number[][][];
}

/** A metric over folds. */
export interface MeanDocument {
  /** Null if no fold has a value. */
  mean: number | null;
  /** Standard deviation over the folds; null for fewer than two values. */
  sd: number | null;
  /** 95 % interval of the mean; null for fewer than two values. */
  interval: { low: number; high: number } | null;
  /** Number of folds that have a value. */
  count: number;
}

/** A fold that was tested. */
export interface FoldDocument extends Pick<ScoresDocument, "metrics"> {
  /** Number of the fold. */
  fold: number;
  /** Number of images that were tested. */
  images: number;
  /** Epoch whose checkpoint was tested. */
  bestEpoch: number;
  /** Time of training and test, s. */
  seconds: number;
}

/** The folds under a protocol, and their test images together. */
export interface ProtocolDocument
  extends Pick<ScoresDocument, "images" | "confusion" | "calibration"> {
  /** How the epoch of a fold was chosen: on the fold itself, or without it. */
  protocol: "best-epoch" | "held-out";
  /** Each fold, by its number. */
  folds: FoldDocument[];
  /** Metrics over the folds, by name. */
  means: Record<string, MeanDocument>;
}

/** Result of a cross-validation. */
export interface CrossValidatedDocument {
  /** Name that it was given. */
  name: string;
  /** Names of the classes, in the order of `confusion` and `calibration`. */
  classes: readonly string[];
  /** By protocol; `held-out` alone estimates the metrics on new images. */
  protocols: ProtocolDocument[];
  /** Why the report is missing, if it is. */
  warnings?: string[] | undefined;
}

/** State of a job. */
export interface JobDocument {
  /** Id in the URLs of the job. */
  id: string;
  /** Kind of work. */
  kind: "train" | "classify" | "batch";
  /** The model that it classifies with, or trains. */
  model: string;
  /** What was asked for; of paths the last part, of URLs no query. */
  request: Record<string, unknown>;
  /** State; the last three are final. */
  state: "queued" | "running" | "succeeded" | "failed" | "cancelled";
  /**
   * Progress figures by name, such as `epoch` and `loss`; null before the
   * first.
   */
  progress: Record<string, number> | null;
  /** Number of times that the job was started. */
  attempts: number;
  /** Reason of the failure; null if the job has not failed. */
  error: string | null;
  /** Time of acceptance, ISO 8601. */
  createdAt: string;
  /** Time of the first start, ISO 8601; null before it. */
  startedAt: string | null;
  /** Time of the end, ISO 8601; null before it. */
  finishedAt: string | null;
  /** URL paths of the job, its events and its results, by name. */
  links: Record<string, string>;
}

/** Body of a failed request. */
export interface Failure {
  /** Cause, and what to do. */
  error: string;
  /** The faulty part of the request. */
  field?: string | undefined;
  /** Id of the request in the server's log. */
  requestId: string;
}
