/**
 * `deno task classify`: labels of images and the regions that were examined.
 *
 * @module
 */
import { basename, extname, join } from "node:path";
import { UsageError } from "../errors.ts";
import type { ModelClassification } from "../eval/classification.ts";
import { ORIGINS } from "../eval/geojson.ts";
import { MPP_RANGE } from "../image/mpp.ts";
import {
  classifyImages,
  defaultWorkers,
  evidenceFile,
  type Outcome,
} from "./classifier.ts";
import { classifyShard } from "./classify_shard.ts";
import {
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
  parseFlags,
  required,
  text,
  toggle,
  type Usage,
} from "./shared/flags.ts";
import { checkApart, checkOutputFile, namesFolder } from "./shared/outputs.ts";
import { type Merged, SHARD_FLAGS, shardPlace } from "./shared/shard.ts";
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
  samples: COMMON_FLAGS.samples,
  draws: COMMON_FLAGS.draws,
  seed: defaulting(integer("N", "seed of the draws (0)"), 0),
  heatmap: text(
    "OUT.png",
    "heat map of the attention to write, and OUT-evidence.png of a network with evidence: OUT.png a picture, OUT.tif a GeoTIFF aligned with the image, OUT.npy an array; a folder of pictures for several images",
    { paths: "files" },
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
  synopsis: ["deno task classify --checkpoint RUN IMAGE..."],
  groups: [{ flags: FLAGS }],
  operands: { paths: "files" },
  notes:
    "Exit code 1 if an image could not be classified; the others still are.",
};

/** One line of `--json`: the server's response plus the image's name. */
interface Result extends ModelClassification {
  /** The image as named on the command line. */
  source: string;
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
  const { values: flags, positionals: images } = parseFlags(argv, FLAGS, {
    positionals: true,
  });
  const place = shardPlace(flags);
  const { checkpoint, mpp, workers, heatmap, geojson, origin } = flags;
  if (images.length === 0) {
    throw new UsageError("No image given: name at least one");
  }
  const heatmaps = await outputPaths(
    { flag: "heatmap", out: heatmap, extension: ".png" },
    images,
  );
  const regions = await outputPaths(
    { flag: "geojson", out: geojson, extension: ".geojson" },
    images,
  );
  const folders = await tileFolders(flags.tiles, images);
  const evidences = heatmaps?.map(evidenceFile) ?? [];
  const named = new Set(heatmaps);
  const clash = evidences.find((path) => named.has(path));
  if (clash) throw writtenTwice(clash);
  await checkApart([...heatmaps ?? [], ...evidences, ...regions ?? []], [
    checkpoint,
    ...images,
  ]);
  checkHeatFormats(heatmaps);
  if (origin !== undefined && regions === undefined) {
    throw new UsageError(
      "--origin needs --geojson: add it, or leave out --origin",
    );
  }
  const options = {
    encoder: flags.encoder,
    samples: flags.samples,
    draws: flags.draws,
    seed: flags.seed,
    foreground: await parseForeground(flags.foreground),
    memoryBytes: flags.memory?.bytes,
    origin: origin ?? "level0",
  };
  const tasks = images.map((image, i) => ({
    image,
    mpp,
    heatmap: heatmaps?.[i],
    tiles: folders?.[i],
    geojson: regions?.[i],
  }));
  let failures = 0;
  const show = ({ classification, evidence, error }: Outcome, i: number) => {
    if (classification) {
      const { image: source, heatmap, tiles, geojson } = tasks[i]!;
      const result: Result = {
        source,
        ...classification,
        ...(heatmap !== undefined && { heatmap }),
        ...(evidence !== undefined && { evidence }),
        ...(tiles !== undefined && { tileFolder: tiles }),
        ...(geojson !== undefined && { geojson }),
      };
      console.log(flags.json ? JSON.stringify(result) : resultText(result));
    } else {
      console.error(error);
      failures++;
    }
  };
  if (merged) {
    merged.items.forEach(show);
    return failures > 0 ? 1 : 0;
  }
  const signal = interruptSignal();
  const engine = await announceEngine(flags.backend);
  const setup = { checkpoint, backend: engine.backend, ...options };
  if (place) {
    const work = { argv, place, setup, engine, workers, signal };
    return await classifyShard(tasks, { command: "classify", ...work });
  }
  const line = new ProgressLine();
  const showNext = (done: number) => line.count(done, images.length, "images");
  showNext(0);
  await classifyImages(tasks, {
    setup,
    workers: workers ?? defaultWorkers(images.length, setup),
    signal,
    onOutcome(outcome, i) {
      line.clear();
      show(outcome, i);
      if (i + 1 < images.length) showNext(i + 1);
    },
  }).finally(() => line.clear());
  return failures > 0 ? 1 : 0;
}

/** One output an image: in a folder, unless one image has its own file. */
async function outputPaths(
  { flag, out, extension }: {
    flag: string;
    out: string | undefined;
    extension: string;
  },
  images: readonly string[],
): Promise<string[] | undefined> {
  if (out === undefined) return undefined;
  if (images.length === 1 && !namesFolder(out)) {
    checkOutputFile(out, `--${flag} ${out}`);
    return [out];
  }
  await Deno.mkdir(out, { recursive: true });
  const paths = images.map((image) => {
    const name = fileName(image);
    return join(out, `${basename(name, extname(name))}${extension}`);
  });
  const twice = firstRepeated(paths);
  if (twice) throw writtenTwice(twice);
  return paths;
}

/** A folder an image for its sub-tiles. */
async function tileFolders(
  out: string | undefined,
  images: readonly string[],
): Promise<string[] | undefined> {
  if (out === undefined) return undefined;
  await makeFolder(out, "--tiles");
  const folders = images.map((image) => {
    const name = fileName(image);
    return join(out, basename(name, extname(name)));
  });
  const twice = firstRepeated(folders);
  if (twice) throw writtenTwice(twice);
  return folders;
}

/** Creates a folder for outputs, unless it is there. */
async function makeFolder(path: string, flag: string): Promise<void> {
  const info = await Deno.stat(path).catch(() => undefined);
  if (info && !info.isDirectory) {
    throw new UsageError(
      `Cannot write ${flag} ${path}: it is a file; name a folder`,
    );
  }
  await Deno.mkdir(path, { recursive: true });
}

const HEAT_FORMATS = [".png", ".tif", ".tiff", ".npy"];

/** @throws {UsageError} If the end of a name is of no format that is written. */
function checkHeatFormats(files: readonly string[] = []): void {
  const wrong = files.find((file) =>
    !HEAT_FORMATS.includes(extname(file).toLowerCase())
  );
  if (wrong === undefined) return;
  throw new UsageError(
    `Cannot write --heatmap ${wrong}: its name must end in ${
      HEAT_FORMATS.join(", ")
    }`,
  );
}

/** The first path that is there a second time. */
function firstRepeated(paths: readonly string[]): string | undefined {
  const seen = new Set<string>();
  return paths.find((path) => {
    const isRepeated = seen.has(path);
    seen.add(path);
    return isRepeated;
  });
}

function writtenTwice(path: string): UsageError {
  return new UsageError(
    `Two images would be written to ${path}: classify images of the same name in separate calls`,
  );
}

/**
 * The last part of a path or URL, without the query, which may hold a
 * signature.
 */
function fileName(image: string): string {
  return basename(image.replace(/^(https?:\/\/[^?#]*).*/is, "$1"));
}

function resultText(result: Result): string {
  const { source, label, probabilities, image, subTiles, object } = result;
  const { timings: { totalMs, ...stages }, bytesRead, requests } = result;
  const shares = Object.entries(probabilities)
    .map(([name, p]) => `${name} ${p.toFixed(3)}`).join(", ");
  const heaviest = [...subTiles].sort((a, b) => b.weight - a.weight);
  const more = heaviest.length - SHOWN;
  return [
    `${source}: ${heading(label)} (${shares})`,
    `  ${image.width} x ${image.height} px, ${bytesRead} bytes in ${requests} ${
      requests === 1 ? "read" : "reads"
    }, ${totalMs!.toFixed(0)} ms (${
      Object.entries(stages).map(([stage, ms]) =>
        `${stage.replace(/Ms$/, "")} ${ms.toFixed(0)}`
      ).join(", ")
    })`,
    ...result.warnings.map((warning) => `  warning: ${warning}`),
    "  looked at (x, y, size, weight):",
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
