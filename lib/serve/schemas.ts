/**
 * Schemas of requests and responses: they validate, make the OpenAPI document,
 * and type the client.
 *
 * @module
 */
import { z } from "@hono/zod-openapi";
import { MAX_FOLDS } from "../data/folds.ts";
import { shortened } from "../errors.ts";
import { MPP_RANGE } from "../image/mpp.ts";
import { MAX_SIDE } from "../image/pyramid.ts";
import { configSchema, MAX_SAMPLES } from "../model/config.ts";
import { presetNames } from "../model/presets.ts";
import { PROTOCOL_CHOICES, PROTOCOLS } from "../train/runs/fold_task.ts";
import type {
  ClassificationDocument,
  CrossValidatedDocument,
  Failure,
  JobDocument,
  MapDocument,
  ObjectDocument,
  ScoresDocument,
  TableRowsDocument,
} from "./documents.ts";
import { InputError } from "./errors.ts";
import type { Listing } from "./intake/allowed_sources.ts";
import { JOB_STATES } from "./jobs/store.ts";
import { MODEL_NAME } from "./models.ts";

/** Most characters of a path or a URL. */
export const MAX_TEXT = 4096;

export const modelName = z.string().regex(MODEL_NAME).openapi({
  description: "Name of a model: its entry in the folder of models",
  example: "colon",
});

/** Schema of an object with exactly these fields; the refusal lists them. */
export function closedObject<Shape extends z.ZodRawShape>(
  shape: Shape,
): z.ZodObject<Shape, z.core.$strict> {
  return z.strictObject(shape, {
    error: ({ code }) =>
      code === "unrecognized_keys"
        ? `there is no such field; the fields are ${
          Object.keys(shape).join(", ")
        }`
        : undefined,
  });
}

/** The first fault of a request, as an error. */
export function inputError(issues: readonly z.core.$ZodIssue[]): InputError {
  const [issue] = issues;
  const path = issue?.code === "unrecognized_keys"
    ? [...issue.path, issue.keys[0]!]
    : issue?.path ?? [];
  const field = shortened(path.map(String).join(".") || "body");
  return new InputError(field, `Cannot take "${field}": ${issue?.message}`);
}

/**
 * Parses `value` by `schema`.
 *
 * @throws {InputError} If it does not fit.
 */
export function parsed<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
): z.output<Schema> {
  const { success, data, error } = schema.safeParse(value);
  if (success) return data;
  throw inputError(error.issues);
}

// Keys and elements of a configuration: a whole one has about a hundred.
const MAX_ENTRIES = 1000;

/** Refines a schema of JSON: no deeper or larger than a configuration is. */
export function bounded<Schema extends z.ZodType>(schema: Schema): Schema {
  return schema.refine(isSmall, {
    error: `it has more than ${MAX_ENTRIES} keys and elements: send fewer`,
  }).openapi({ maxProperties: MAX_ENTRIES });
}

function isSmall(value: unknown): boolean {
  let entries = 0;
  for (const left = [value]; left.length > 0;) {
    const next = left.pop();
    if (next === null || typeof next !== "object") continue;
    const inside = Object.values(next);
    entries += inside.length;
    if (entries > MAX_ENTRIES) return false;
    left.push(...inside);
  }
  return true;
}

const text = z.string().min(1).max(MAX_TEXT);

const mppNumber = z.number().min(MPP_RANGE.min).max(MPP_RANGE.max);

/** Options of a classification, as JSON. */
export const optionShape = {
  model: modelName.optional(),
  samples: z.number().int().min(1).max(MAX_SAMPLES).optional().openapi({
    description: "Sub-tiles to read; the configuration's if omitted",
  }),
  draws: z.enum(["seeded", "topN"]).optional(),
  seed: z.number().int().min(0).max(Number.MAX_SAFE_INTEGER).optional()
    .openapi({ description: "Seed of the draws (0)" }),
  mpp: mppNumber.optional().openapi({
    description: "Micrometres per px, whatever the file says",
  }),
};

const number = z.string().regex(/^\d+(\.\d+)?$/).transform(Number);

/** The same options as text, from a query or a form. */
export const textOptionsSchema = closedObject({
  model: optionShape.model,
  samples: number.pipe(z.number().int().min(1).max(MAX_SAMPLES)).optional()
    .openapi({ type: "integer", minimum: 1, maximum: MAX_SAMPLES }),
  draws: optionShape.draws,
  seed: number.pipe(z.number().int().min(0).max(Number.MAX_SAFE_INTEGER))
    .optional()
    .openapi({
      type: "integer",
      minimum: 0,
      maximum: Number.MAX_SAFE_INTEGER,
    }),
  mpp: number.pipe(mppNumber).optional()
    .openapi({
      type: "number",
      minimum: MPP_RANGE.min,
      maximum: MPP_RANGE.max,
    }),
});

// What JSON Schema can say of fields that exclude each other. routes/docs.ts
// makes an object of each alternative.
const oneOf = (...names: string[]) => ({
  oneOf: names.map((name) => ({ required: [name] })),
});
const ONE_CONFIGURATION = { not: { required: ["preset", "config"] } };

const MAPS = "Return the heat maps of each stage as well (false)";

/** Options of `POST /v1/classify` as text: those, and what is answered. */
export const classifyQuerySchema = closedObject({
  ...textOptionsSchema.shape,
  maps: z.enum(["true", "false"]).transform((text) => text === "true")
    .optional().openapi({ type: "boolean", description: MAPS }),
});

/** Names of an image in a folder of data or behind a URL. */
const nameShape = {
  uri: text.optional().openapi({
    description: "URL of an allowed host",
    example: "https://slides.example.org/a.tif",
  }),
  path: text.optional().openapi({
    description: "File in a folder of data",
    example: "cohort/a.tif",
  }),
};

const howShape = {
  ...optionShape,
  maps: z.boolean().optional().openapi({ description: MAPS }),
};

const upload = z.uuid().optional().openapi({
  description: "Id of an upload (POST /v1/uploads)",
});

/** An image by name instead of by its bytes. */
export const classifyByNameSchema = closedObject({
  ...nameShape,
  upload,
  ...howShape,
}).openapi("ClassifyByName", oneOf("uri", "path", "upload"));

/** An image to look at, by name. */
export const seenNameSchema = z.object({
  ...nameShape,
  upload,
  table: text.optional().openapi({
    description:
      'Manifest in a folder of data: "uri" is what /v1/annotations lists of it',
  }),
});

/** An upload that is kept. */
export const uploadSchema = z.object({
  upload: z.uuid().openapi({ description: "Names the image in requests" }),
  bytes: z.number(),
  keptSeconds: z.number().openapi({
    description: "Time for which it is kept after its last use",
  }),
}).openapi("Upload");

/** Folder of data that is listed. */
export const listingQuerySchema = z.object({
  folder: z.string().max(MAX_TEXT).optional().openapi({
    description: "Path of the folder; all folders of data if omitted",
  }),
});

/** Images, tables and folders in a folder of data. */
export const listingSchema = z.object({
  entries: z.array(z.object({
    name: z.string(),
    path: z.string().openapi({ description: "As a request names it" }),
    kind: z.enum(["folder", "table", "image"]),
    bytes: z.number(),
  })),
  isCut: z.boolean().openapi({
    description: "There are more than a listing holds",
  }),
}).openapi("Listing") satisfies z.ZodType<Listing>;

/** A table whose images are annotated. */
export const tableQuerySchema = z.object({
  table: text.openapi({
    description: "Manifest in a folder of data",
    example: "cohort/manifest.csv",
  }),
});

/** The image of a table. */
export const tableImageQuerySchema = tableQuerySchema.extend({
  image: text.openapi({ description: "The image, as the table names it" }),
});

/** The first images of a table. */
export const tableRowsSchema = z.object({
  rows: z.array(z.object({
    image: z.string(),
    label: z.string(),
    split: z.enum(["train", "validation", "test"]).optional(),
    path: z.string().optional(),
    uri: z.string().optional(),
    annotated: z.boolean().openapi({
      description: "The table's own files state its objects",
    }),
    drawn: z.number().optional().openapi({
      description: "Number of objects that were saved, if any were",
    }),
  })),
  isCut: z.boolean().openapi({ description: "The table has more images" }),
}).openapi("TableRows") satisfies z.ZodType<TableRowsDocument>;

const MAX_COORDINATE = 10_000_000; // px; objects may reach over an edge
const coordinate = z.number().min(-MAX_COORDINATE).max(MAX_COORDINATE);
const length = z.number().min(0).max(2 * MAX_COORDINATE);
const MAX_POINTS = 10_000;

/** The annotated objects of an image. */
export const objectsSchema = closedObject({
  objects: z.array(closedObject({
    x: coordinate,
    y: coordinate,
    width: length,
    height: length,
    type: z.string().min(1).max(200).optional().openapi({
      description: "Kind of object; its image's label if omitted",
    }),
    polygons: z.array(
      z.array(
        z.array(z.object({ x: coordinate, y: coordinate })).max(MAX_POINTS),
      ).min(1).max(MAX_POINTS),
    ).min(1).max(MAX_POINTS).optional().openapi({
      description: "Its parts, each an outline and its holes",
    }),
  })).max(MAX_POINTS).openapi({
    description:
      "Boxes, and points, which have no width and height, in px of the full image",
  }),
}).openapi("Objects") satisfies z.ZodType<{ objects: ObjectDocument[] }>;

// As large as the largest sub-tile; a picture of it is cut at once.
const MAX_REGION = 1024; // px

// Sub-tiles may reach outside the image.
const edge = z.string().regex(/^-?\d{1,7}$/).transform(Number).openapi({
  type: "integer",
  minimum: -MAX_REGION,
  maximum: MAX_SIDE,
});
const extent = number.pipe(z.number().int().min(1).max(MAX_REGION)).openapi({
  type: "integer",
  minimum: 1,
  maximum: MAX_REGION,
});

/** A rectangle of an image, level-0 px. */
export const regionQuerySchema = seenNameSchema.extend({
  x: edge,
  y: edge,
  width: extent,
  height: extent,
});

const regionShape = {
  x: z.number(),
  y: z.number(),
  width: z.number(),
  height: z.number(),
};

const count = z.number().int().min(0);
const time = z.iso.datetime();

const modelReferenceSchema = z.object({
  name: z.string(),
  version: z.string(),
  sha256: z.string(),
});

const mapSchema = z.object({
  width: count,
  height: count,
  values: z.string().openapi({
    description:
      "[height, width] float32, little-endian, compressed by gzip, as base64",
  }),
}).openapi("HeatMap") satisfies z.ZodType<MapDocument>;

const imageShape = {
  width: count,
  height: count,
  mpp: z.number().optional(),
  bounds: z.object(regionShape).optional().openapi({
    description: "The part of a slide that was scanned, level-0 px",
  }),
  georeference: z.object({
    crs: z.string().optional(),
    transform: z.array(z.number()).length(6)
      .openapi({ minItems: 6, maxItems: 6 }),
  }).optional(),
};

/** Facts about an image that is looked at. */
export const seenFactsSchema = z.object({
  ...imageShape,
  name: z.string(),
  version: z.string().openapi({ description: "Changes with the file" }),
  tileSide: z.number().openapi({ description: "Side of a tile, px" }),
  zoomLevels: z.number().openapi({
    description: "Levels of the deep zoom; the last one is the image",
  }),
  firstLevel: z.number().openapi({
    description: "First level whose tiles take no more than a moment each",
  }),
  levels: z.array(z.object({ width: z.number(), height: z.number() })).openapi({
    description: "Sizes that the file holds, the largest first",
  }),
  warnings: z.array(z.string()),
}).openapi("SeenImage");

/** One classified image. */
export const classificationSchema = z.object({
  id: z.string(),
  model: modelReferenceSchema,
  label: z.string(),
  probabilities: z.record(z.string(), z.number()).openapi({
    description:
      "By class, adding to 1; under target = labels by label, each of its own; empty under target = value and survival",
  }),
  labels: z.array(z.string()).optional().openapi({
    description: "The labels that the image has; target = labels alone",
  }),
  value: z.number().optional().openapi({
    description: "In the unit of the training labels; target = value alone",
  }),
  risk: z.number().optional().openapi({
    description:
      "Logarithm of the hazard ratio, the higher the sooner; target = survival alone",
  }),
  image: z.object(imageShape),
  tiles: z.array(z.object({ ...regionShape, count })),
  subTiles: z.array(z.object({ ...regionShape, weight: z.number() })),
  object: z.object(regionShape).optional().openapi({
    description:
      "The object that decided, as a close-up placed it; models with network.closeUp alone",
  }),
  timings: z.record(z.string(), z.number()).openapi({
    description:
      "Time by stage, ms; of images classified together, that of all of them",
  }),
  bytesRead: count,
  requests: count,
  warnings: z.array(z.string()),
  maps: z.object({
    stage1: mapSchema,
    stage2: mapSchema,
    evidence: mapSchema.optional(),
  }).optional().openapi({
    description: "Attention of each stage, and evidence, per level-0 px",
  }),
}).openapi("Classification") satisfies z.ZodType<ClassificationDocument>;

/** Body of every failed request. */
export const errorSchema = z.object({
  error: z.string(),
  field: z.string().optional().openapi({
    description: "The faulty part of the request",
  }),
  requestId: z.string(),
}).openapi("Error") satisfies z.ZodType<Failure>;

/** A model, loaded or not. */
export const modelSchema = z.object({
  ...modelReferenceSchema.shape,
  state: z.enum(["loaded", "unloaded"]),
  default: z.boolean(),
  classes: z.array(z.string()),
  epoch: count,
  parameterCount: count,
  metrics: z.record(z.string(), z.number().nullable()),
  calibration: z.object({
    temperature: z.number(),
    bias: z.number(),
    images: count,
    samples: count,
  }).nullable().openapi({
    description: "How its probabilities are calibrated, if they are",
  }),
  config: z.looseObject({ preset: z.string() }).openapi({
    description: "The whole configuration, as config.json of a run",
  }),
}).openapi("Model");

export const modelListSchema = z.object({
  models: z.array(modelSchema),
  faults: z.array(z.object({ name: z.string(), error: z.string() })),
}).openapi("Models");

/** State of a job, with links. */
export const jobSchema = z.object({
  id: z.uuid(),
  kind: z.enum(["train", "classify", "batch"]),
  model: z.string(),
  request: z.record(z.string(), z.unknown()),
  state: z.enum(JOB_STATES),
  progress: z.record(z.string(), z.number()).nullable(),
  attempts: count,
  error: z.string().nullable(),
  createdAt: time,
  startedAt: time.nullable(),
  finishedAt: time.nullable(),
  links: z.record(z.string(), z.string()),
}).openapi("Job") satisfies z.ZodType<JobDocument>;

/** A process that does jobs. */
const workerSchema = z.object({
  host: z.string(),
  pid: count,
  version: z.string(),
  engine: z.string().nullable().openapi({
    description: "The engine and why it was chosen; null while there is none",
  }),
  hasGpu: z.boolean(),
  memoryBytes: z.number().openapi({
    description: "Bound on tensors and caches of each engine",
  }),
  kinds: z.array(z.string()).openapi({
    description: "Kinds of jobs that it does",
  }),
  lanes: count.openapi({ description: "Most jobs at a time" }),
  running: z.array(z.object({ id: z.string(), kind: z.string() })).openapi({
    description: "Jobs and pieces of batches that it does now",
  }),
  isDrained: z.boolean().openapi({
    description: "It takes no jobs, because its host is drained",
  }),
  ended: z.object({ succeeded: count, failed: count, cancelled: count })
    .openapi({
      description: "Jobs and pieces that it has ended since it started",
    }),
  images: count.openapi({
    description: "Images that it has classified since it started",
  }),
  imagesPerSecond: z.number().openapi({ description: "Of the last minute" }),
  startedAt: time,
}).openapi("Worker");

export const workerListSchema = z.object({
  workers: z.array(workerSchema),
}).openapi("Workers");

export const jobListSchema = z.object({
  jobs: z.array(jobSchema),
  next: z.uuid().nullable().openapi({
    description: '"before" of the next page; null at the end',
  }),
}).openapi("Jobs");

/** Most jobs of a page, and as many if a request does not say. */
export const JOBS_LISTED = 200;

export const jobQuerySchema = z.object({
  state: z.enum(JOB_STATES).optional(),
  limit: number.pipe(z.number().int().min(1).max(JOBS_LISTED)).optional()
    .openapi({ type: "integer", minimum: 1, maximum: JOBS_LISTED }),
  before: z.uuid().optional().openapi({
    description: "List jobs that were accepted before this one",
  }),
});

export type JobQuery = z.infer<typeof jobQuerySchema>;

/** A table of images to classify one after the other. */
export const batchSchema = closedObject({
  manifest: text.openapi({
    description: 'CSV in a folder of data, with a column "image"',
    example: "cohort/manifest.csv",
  }),
  heatmaps: z.boolean().optional().openapi({
    description: "Keep the heat map of each image (false)",
  }),
  ...optionShape,
}).openapi("Batch");

/** Request to train a model. */
export const trainSchema = closedObject({
  data: text.openapi({
    description: "CSV in a folder of data: image,label[,split]...",
    example: "cohort/manifest.csv",
  }),
  name: modelName,
  preset: z.enum(presetNames as [string, ...string[]]).optional(),
  config: bounded(z.looseObject({})).optional().openapi({
    description: "A whole configuration in place of a preset",
  }),
  settings: bounded(z.record(z.string().max(200), z.unknown())).optional()
    .openapi({
      description: "Single values to change, by path",
      example: { "training.learningRate": 0.0005 },
    }),
  features: z.enum(["scattering", "dictionary"]).optional().openapi({
    description:
      "Train a preset on fixed filters (scattering) or on patches of the images (dictionary)",
  }),
  labelsAsTheyAre: z.boolean().optional().openapi({
    description:
      "Take labels that look like slips, such as 1 and 1.0, or NA; else they are refused (false)",
  }),
  boxes: z.boolean().optional().openapi({
    description:
      "Train on annotated objects as well: those saved at /v1/annotations, else those of the table's column rois (false); needs features",
  }),
  epochs: configSchema.shape.training.shape.epochs.max(100_000).optional(),
  seed: optionShape.seed,
  folds: z.union([
    z.number().int().min(2).max(MAX_FOLDS),
    z.literal("manifest"),
  ]).optional().openapi({
    description:
      "Cross-validate in so many new folds, or in those of the table's column fold, instead of training a model",
  }),
  protocol: z.enum(PROTOCOL_CHOICES).optional().openapi({
    description: "How the epoch of a fold is chosen (both); needs folds",
  }),
}).openapi("Train", ONE_CONFIGURATION);

const nullableNumber = z.number().nullable();

const intervalSchema = z.object({ low: z.number(), high: z.number() })
  .nullable();

const scoreShape = {
  images: count,
  confusion: z.array(z.array(count)).openapi({
    description: "Images of class [true][predicted]",
  }),
  calibration: z.array(z.array(z.array(z.number()))).openapi({
    description:
      "By class: [mean probability, share of the class] of ten bins of equal width, without the empty ones",
  }),
};

const metricsSchema = z.record(
  z.string(),
  z.object({ value: nullableNumber, interval: intervalSchema }),
).openapi({ description: "Each metric with its 95 % interval" });

/** How well the images of a split are told apart. */
const scoresSchema = z.object({
  split: z.literal("validation"),
  classes: z.array(z.string()),
  metrics: metricsSchema,
  ...scoreShape,
}).openapi("Scores") satisfies z.ZodType<ScoresDocument>;

/** Result of a training job. */
export const trainedSchema = z.object({
  name: z.string(),
  epochs: count.openapi({
    description:
      "Number of epochs run; fewer than requested if training stopped early",
  }),
  bestEpoch: count,
  last: z.record(z.string(), z.number().nullable()).optional().openapi({
    description: "Figures of the last epoch",
  }),
  scores: scoresSchema.optional().openapi({
    description:
      "Scores of the chosen checkpoint on the validation images, by which it was chosen",
  }),
  warnings: z.array(z.string()).optional().openapi({
    description: "Why the scores or the report are missing, a line each",
  }),
}).openapi("Trained");

/** The folds under a protocol, and their test images together. */
const protocolSchema = z.object({
  protocol: z.enum(PROTOCOLS).openapi({
    description:
      "How the epoch of a fold was chosen: on the fold itself, which is optimistic, or without it",
  }),
  folds: z.array(z.object({
    fold: count,
    images: count,
    bestEpoch: count,
    seconds: z.number(),
    metrics: metricsSchema,
  })),
  means: z.record(
    z.string(),
    z.object({
      mean: nullableNumber,
      sd: nullableNumber,
      interval: intervalSchema,
      count,
    }),
  ).openapi({ description: "Over the folds, with 95 % intervals" }),
  ...scoreShape,
}).openapi("Protocol");

/** Result of a training job with folds. */
export const crossValidatedSchema = z.object({
  name: z.string(),
  classes: z.array(z.string()),
  protocols: z.array(protocolSchema),
  warnings: z.array(z.string()).optional().openapi({
    description: "Why the report is missing, if it is",
  }),
}).openapi("CrossValidated") satisfies z.ZodType<CrossValidatedDocument>;

/** Any job, by its kind. */
export const newJobSchema = z.discriminatedUnion("kind", [
  closedObject({
    kind: z.literal("train"),
    ...trainSchema.shape,
  }).openapi("TrainJob", ONE_CONFIGURATION),
  closedObject({
    kind: z.literal("batch"),
    ...batchSchema.shape,
  }).openapi("BatchJob"),
  closedObject({
    kind: z.literal("classify"),
    ...nameShape,
    ...howShape,
  }).openapi("ClassifyJob", oneOf("uri", "path")),
]).openapi("NewJob");

export type ClassifyByName = z.infer<typeof classifyByNameSchema>;
/** Of an image that is not uploaded. */
export type ClassifyNamed = Omit<ClassifyByName, "upload">;
export type SeenImageDocument = z.infer<typeof seenFactsSchema>;
export type ClassifyQuery = z.infer<typeof classifyQuerySchema>;
export type BatchRequest = z.infer<typeof batchSchema>;
export type TrainRequest = z.infer<typeof trainSchema>;
export type NewJobRequest = z.infer<typeof newJobSchema>;
