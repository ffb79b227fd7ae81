/**
 * `deno task classify`: labels of images and the regions that were examined.
 *
 * @module
 */
import type { TableImage } from "../data/manifest.ts";
import { count } from "../data/table.ts";
import { UsageError } from "../errors.ts";
import type { ModelClassification } from "../eval/classification.ts";
import { ORIGINS } from "../eval/geojson.ts";
import type { EnsembleClassification } from "../eval/ensemble.ts";
import {
  groupTable,
  imageGroups,
  type PredictedGroup,
} from "../eval/groups/groups.ts";
import { type PredictedImage, predictionTable } from "../eval/report.ts";
import { writeFileAtomically } from "../files.ts";
import { MPP_RANGE } from "../image/mpp.ts";
import { defaultWorkers, type ImageTask, type Outcome } from "./classifier.ts";
import { startClassifyingEngine } from "../train/engine_choice.ts";
import { classifyShard } from "./classify_shard.ts";
import { imageOutputs } from "./classify_outputs.ts";
import {
  checkChosenModel,
  type ImageSource,
  predictImages,
} from "./predictions.ts";
import { type ChosenModel, readChosenModel } from "./shared/chosen_model.ts";
import {
  BY_GROUP,
  CHECKPOINT,
  COMMON_FLAGS,
  ENCODER,
  parseForeground,
  SHARED_MEMORY,
  workers,
} from "./shared/common_flags.ts";
import {
  defaulting,
  integer,
  number,
  oneOf,
  outputFile,
  parseFlags,
  required,
  text,
  toggle,
  type Usage,
} from "./shared/flags.ts";
import { checkApart } from "./shared/outputs.ts";
import { type Merged, SHARD_FLAGS, shardPlace } from "./shared/shard.ts";
import {
  readImagesToClassify,
  TABLE_FLAGS,
  type TableChoice,
} from "./shared/tables.ts";
import {
  announceEngine,
  heading,
  interruptSignal,
  ProgressLine,
} from "./shared/terminal.ts";

// Number of sub-tiles printed an image: those of most weight.
const SHOWN = 10;

export const summary = "Classify images and show where the network looked";

const FLAGS = {
  checkpoint: required(CHECKPOINT),
  encoder: ENCODER,
  data: text(
    "TABLE",
    "table of images in place of IMAGE..., with labels or without: CSV, TSV or XLSX",
    { paths: "files" },
  ),
  ...TABLE_FLAGS,
  predictions: outputFile(
    "FILE",
    "CSV to write with the prediction of each image, or group of --by-group, in place of the text",
  ),
  "by-group": BY_GROUP,
  samples: COMMON_FLAGS.samples,
  draws: COMMON_FLAGS.draws,
  seed: defaulting(integer("N", "seed of the draws (0)"), 0),
  heatmap: text(
    "OUT.png",
    "heat map of the attention to write, and OUT-evidence.png of a network with evidence: OUT.png a picture, OUT.tif a GeoTIFF aligned with the image, OUT.npy an array; a folder of pictures for several images",
    { paths: "files" },
  ),
  of: text(
    "NAME",
    "class or label whose evidence the weights and the heat map show (that with the most)",
  ),
  tiles: text(
    "DIR",
    "write the sub-tiles of each image as DIR/IMAGE/001.png, the heaviest first, and their weights as tiles.csv",
    { paths: "folders" },
  ),
  geojson: text(
    "OUT",
    "GeoJSON of tiles and sub-tiles to write, for QuPath and maps; a folder for several images",
    { paths: "files" },
  ),
  origin: oneOf(
    ORIGINS,
    "NAME",
    "origin of its coordinates: level0, bounds (the scanned area) or world (level0)",
  ),
  foreground: COMMON_FLAGS.foreground,
  memory: SHARED_MEMORY,
  mpp: number(
    "UM",
    "micrometres per px of the images, in place of the files' values",
    { min: MPP_RANGE.min, max: MPP_RANGE.max },
  ),
  workers: workers("images in parallel (one a core; one on webgpu)"),
  backend: COMMON_FLAGS.backend,
  ...SHARD_FLAGS,
  json: toggle("print one JSON line an image"),
};

export const usage: Usage = {
  synopsis: [
    "deno task classify --checkpoint RUN IMAGE...",
    "deno task classify --checkpoint RUN --data TABLE --predictions FILE",
  ],
  groups: [{ flags: FLAGS }],
  operands: { paths: "files" },
  notes:
    "Exit code 1 if an image could not be classified; the others still are.",
};

/** One line of `--json`: the server's response plus the image's name. */
interface Result
  extends
    EnsembleClassification,
    Partial<Pick<ModelClassification, "tiles" | "subTiles" | "object">> {
  /** The image as named on the command line, or in the table. */
  source: string;
  /** Its patient and its label, if a table names them. */
  group?: string;
  actual?: string;
  /** Heat map of the attention, and of the evidence. */
  heatmap?: string;
  evidence?: string;
  /** Folder of the sub-tiles. */
  tileFolder?: string;
  geojson?: string;
}

/**
 * Prints one result an image. A bad image is reported and the others continue.
 *
 * @throws {UsageError} If a flag is wrong.
 */
export async function run(argv: string[]): Promise<number> {
  return await classify(argv, undefined);
}

/** Prints what {@linkcode run} does, from the parts of all shards. */
export async function merge(merged: Merged<Outcome>): Promise<number> {
  return await classify([...merged.argv], merged);
}

async function classify(
  argv: string[],
  merged: Merged<Outcome> | undefined,
): Promise<number> {
  const { values: flags, positionals } = parseFlags(argv, FLAGS, {
    positionals: true,
  });
  const place = shardPlace(flags);
  const { checkpoint, data, predictions: file, "by-group": by } = flags;
  const entries = await imagesToClassify(flags, positionals);
  const paths = entries.map(({ path }) => path);
  const inputs = [
    checkpoint,
    ...(data === undefined ? [] : [data]),
    ...paths,
  ];
  const outputsOf = await imageOutputs(flags, paths, inputs);
  await checkApart(file === undefined ? [] : [file], inputs);
  if (flags.origin !== undefined && flags.geojson === undefined) {
    throw new UsageError(
      "--origin needs --geojson: add it, or leave out --origin",
    );
  }
  if (by !== undefined && data === undefined) {
    throw new UsageError(
      "--by-group needs --data, a table with groups: add it, or leave out --by-group",
    );
  }
  const model = await readChosenModel(checkpoint);
  checkChosenModel(model, {
    by,
    isShard: place !== undefined,
    outputs: (["heatmap", "tiles", "geojson"] as const)
      .filter((name) => flags[name] !== undefined),
  });
  warnOfSeen(model, paths);
  const grouping = by && { by, groups: imageGroups(entries, data!) };
  const foreground = await parseForeground(flags.foreground);
  const signal = interruptSignal();
  const tasks = entries.map(({ path, mpp = flags.mpp }, i) => ({
    image: path,
    mpp,
    ...outputsOf(i),
  }));
  let source: ImageSource;
  if (merged) source = { recorded: merged.items };
  else {
    const engine = await announceEngine(
      flags.backend,
      () =>
        startClassifyingEngine({
          config: model.config,
          classes: model.classes,
          workers: flags.workers ??
            defaultWorkers(tasks.length, { backend: "wasm" }),
          signal,
        }),
    );
    const setup = {
      encoder: flags.encoder,
      backend: engine.backend,
      samples: flags.samples,
      draws: flags.draws,
      shown: flags.of,
      seed: flags.seed,
      origin: flags.origin ?? "level0",
      foreground,
      memoryBytes: flags.memory?.bytes,
    };
    source = { setup, workers: flags.workers, signal };
    if (place) {
      return await classifyShard(tasks, {
        ...{ command: "classify", argv, place, engine },
        ...source,
        setup: { ...setup, checkpoints: [checkpoint] },
      });
    }
  }
  const { classes } = model;
  const line = new ProgressLine();
  const predicted: PredictedImage[] = [];
  let failures = 0;
  line.count(0, tasks.length * model.members.length, "images");
  const groups = await predictImages(tasks, {
    model,
    source,
    grouping,
    onProgress(done, total) {
      if (done < total) line.count(done, total, "images");
    },
    onPrediction({ classification, evidence, error }, i) {
      line.clear();
      if (!classification) {
        console.error(error);
        failures++;
        return;
      }
      const entry = entries[i]!;
      const { label, probabilities } = classification;
      if (file !== undefined && !by) {
        predicted.push({ entry, classification: { label, probabilities } });
      }
      const result = resultOf(entry, tasks[i]!, { classification, evidence });
      if (flags.json) console.log(JSON.stringify(result));
      else if (file === undefined) console.log(resultText(result));
    },
  }).finally(() => line.clear());
  for (const group of groups ?? []) {
    if (flags.json) console.log(JSON.stringify(groupResult(group)));
    else if (file === undefined) console.log(groupText(group));
  }
  if (file !== undefined && failures < tasks.length) {
    await writeFileAtomically(
      file,
      groups
        ? groupTable(groups, classes)
        : predictionTable(predicted, classes),
    );
  }
  return failures > 0 ? 1 : 0;
}

/** Warns if images were among those that an ensemble was trained on. */
function warnOfSeen(
  { path, ensemble }: ChosenModel,
  images: readonly string[],
): void {
  const known = new Set(ensemble?.entries.map(({ path }) => path));
  const seen = images.filter((image) => known.has(image)).length;
  if (seen === 0) return;
  console.error(
    `warning: the folds of ${path} were trained on ${seen} of these ${
      count(images.length, "image")
    }: their predictions are no test`,
  );
}

/**
 * The images that are named on the command line, or in a table.
 *
 * @throws {UsageError} If there are none, or both.
 * @throws {DataError} If the table has faults.
 */
async function imagesToClassify(
  { data, ...flags }: TableChoice & { data: string | undefined },
  images: readonly string[],
): Promise<TableImage[]> {
  if (data === undefined) {
    const [first] = Object.keys(TABLE_FLAGS).filter((name) =>
      flags[name as keyof TableChoice] !== undefined
    );
    if (first !== undefined) {
      throw new UsageError(
        `--${first} needs --data: add it, or leave out --${first}`,
      );
    }
    if (images.length > 0) {
      return images.map((image, i) => ({
        image,
        path: image,
        manifest: "the command line",
        line: i + 1,
      }));
    }
    throw new UsageError(
      "No image given: name at least one, or a table of images with --data",
    );
  }
  if (images.length > 0) {
    throw new UsageError(
      `Cannot classify both ${
        images[0]
      } and the images of --data: give one or the other`,
    );
  }
  return (await readImagesToClassify(data, flags)).entries;
}

function resultOf(
  { image: source, group, label }: TableImage,
  { heatmap, tiles, geojson }: ImageTask,
  { classification, evidence }: {
    classification: ModelClassification | EnsembleClassification;
    evidence: string | undefined;
  },
): Result {
  return {
    source,
    ...(group !== undefined && { group }),
    ...(label !== undefined && { actual: label }),
    ...classification,
    ...(heatmap !== undefined && { heatmap }),
    ...(evidence !== undefined && { evidence }),
    ...(tiles !== undefined && { tileFolder: tiles }),
    ...(geojson !== undefined && { geojson }),
  };
}

/** A line of `--json` for a group. */
function groupResult(
  { group, label, images, classification }: PredictedGroup,
): Record<string, unknown> {
  return {
    group,
    images,
    ...(label !== undefined && { actual: label }),
    ...classification,
  };
}

function groupText(
  { group, images, classification: { label, probabilities } }: PredictedGroup,
): string {
  return `group ${group}, ${count(images, "image")}: ${heading(label)} (${
    sharesText(probabilities)
  })`;
}

function sharesText(probabilities: Readonly<Record<string, number>>): string {
  return Object.entries(probabilities)
    .map(([name, p]) => `${name} ${p.toFixed(3)}`).join(", ");
}

/** What the image is said to be. */
function answerText({ label, value, risk }: Result): string {
  const [name] = value !== undefined
    ? ["value"]
    : risk !== undefined
    ? ["risk"]
    : [];
  return name ? `${name} ${heading(label)}` : heading(label || "no label");
}

function resultText(result: Result): string {
  const { source, probabilities, image, subTiles, object } = result;
  const { timings: { totalMs, ...stages }, bytesRead, requests } = result;
  const shares = sharesText(probabilities);
  const heaviest = subTiles?.toSorted((a, b) => b.weight - a.weight) ?? [];
  const more = heaviest.length - SHOWN;
  return [
    `${source}: ${answerText(result)}${shares && ` (${shares})`}`,
    `  ${image.width} x ${image.height} px, ${bytesRead} bytes in ${requests} ${
      requests === 1 ? "read" : "reads"
    }, ${totalMs!.toFixed(0)} ms (${
      Object.entries(stages).map(([stage, ms]) =>
        `${stage.replace(/Ms$/, "")} ${ms.toFixed(0)}`
      ).join(", ")
    })`,
    ...result.warnings.map((warning) => `  warning: ${warning}`),
    ...(subTiles ? ["  looked at (x, y, size, weight):"] : []),
    ...heaviest.slice(0, SHOWN).map(({ x, y, width, height, weight }) =>
      `  ${x}, ${y}, ${width} x ${height}, ${weight.toFixed(3)}`
    ),
    ...(more > 0 ? [`  and ${more} more (--json has all)`] : []),
    ...(object
      ? [
        `  decided by the object at ${object.x}, ${object.y}, ${object.width} x ${object.height}`,
      ]
      : []),
    ...(result.heatmap ? [`  heat map: ${result.heatmap}`] : []),
    ...(result.evidence ? [`  evidence: ${result.evidence}`] : []),
    ...(result.geojson ? [`  regions: ${result.geojson}`] : []),
  ].join("\n");
}
