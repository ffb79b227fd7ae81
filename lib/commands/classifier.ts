/**
 * Classifies many images for `classify` and `eval`, in this process or in
 * parallel Workers.
 *
 * @module
 */
import { extname } from "node:path";
import { setTimeout } from "node:timers/promises";
import { type Engine, startEngine } from "../engine/select.ts";
import { ImageError, UsageError } from "../errors.ts";
import type {
  Classification,
  ModelClassification,
} from "../eval/classification.ts";
import {
  type ClassifiedImage,
  classifyOpened,
  type ClassifyOpenedOptions,
  type OpenedImage,
  openForModel,
} from "../eval/classify.ts";
import { classifyEach } from "../eval/batches.ts";
import type { GroupPart } from "../eval/groups/pooling.ts";
import { outputNamed } from "../eval/predict.ts";
import { writeHeatTiff } from "../eval/heatmap/geotiff.ts";
import { npyFile } from "../eval/heatmap/npy.ts";
import { writeSubTiles } from "../eval/sub_tile_files.ts";
import { type Origin, regionsGeoJson } from "../eval/geojson.ts";
import { spelled, writeFileAtomically } from "../files.ts";
import { BlockCache } from "../image/pyramids/block_cache.ts";
import type { ForegroundChoice } from "../image/foreground/tissue.ts";
import { Memory, shareOf } from "../memory.ts";
import {
  type ModelReference,
  modelReference,
  readCheckpoint,
} from "../model/checkpoint.ts";
import { disposeModel } from "../model/frozen.ts";
import type { Model } from "../model/model.ts";
import { runTasks } from "../workers/pool.ts";

/** Settings shared by all images. */
export interface ClassifierSetup {
  /** Paths of checkpoints or of runs' folders: several of an ensemble. */
  checkpoints: readonly string[];
  /** File of its encoder, if it lies elsewhere than in training. */
  encoder: string | undefined;
  backend: "webgpu" | "wasm";
  samples: number | undefined;
  draws: "seeded" | "topN" | undefined;
  /** Class or label whose evidence is shown; that with the most if undefined. */
  shown?: string | undefined;
  seed: number;
  /** Origin of the regions' coordinates. */
  origin?: Origin;
  /** Also returns the part of each image in the evidence of its group. */
  groupPart?: boolean;
  /** Foreground to look at; the configuration's if undefined. */
  foreground: ForegroundChoice | undefined;
  /**
   * Bound on tensors and caches of all workers; the default for each if
   * undefined.
   */
  memoryBytes: number | undefined;
}

/** One image to classify. */
export interface ImageTask {
  image: string;
  /** Place of the checkpoint that classifies it; the first if omitted. */
  member?: number;
  /** Micrometres per px, in place of the file's value. */
  mpp?: number | undefined;
  /** Path of the heat map to write; {@linkcode evidenceFile} is beside it. */
  heatmap?: string | undefined;
  /** Folder to write the sub-tiles to. */
  tiles?: string | undefined;
  /** Path of the GeoJSON of tiles and sub-tiles to write. */
  geojson?: string | undefined;
}

/** Result of one image; `error` is the reason if it could not be read. */
export type Outcome =
  | {
    classification: ModelClassification;
    /** Path of the heat map of its evidence, if that was written. */
    evidence?: string | undefined;
    /** Its part in the evidence of its group, if asked for. */
    groupPart?: GroupPart | undefined;
    error?: never;
  }
  | {
    error: string;
    classification?: never;
    evidence?: never;
    groupPart?: never;
  };

/** Path of the heat map of the evidence, beside that of the attention. */
export function evidenceFile(heatmap: string): string {
  const extension = extname(heatmap);
  return `${
    heatmap.slice(0, heatmap.length - extension.length)
  }-evidence${extension}`;
}

/** Classifies images; the outcomes come in their order. */
export type Classifier = (
  tasks: Iterable<ImageTask>,
  signal: AbortSignal,
) => AsyncGenerator<Outcome>;

/** Returns a function that classifies images; it holds one model at a time. */
export function startClassifier(setup: ClassifierSetup): Classifier {
  const memory = new Memory(setup.memoryBytes);
  const cache = new BlockCache(memory.blockCacheBytes);
  let held: HeldModel | undefined;
  return async function* classifyTasks(tasks, signal) {
    const engine = await startEngine(setup.backend);
    for (
      const [member, own] of Map.groupBy(tasks, ({ member = 0 }) => member)
    ) {
      if (held?.member !== member) held = await modelOf(setup, member, held);
      yield* classifyByModel(held, own, {
        setup,
        engine,
        memory,
        cache,
        signal,
      });
    }
  };
}

/** A model that has been read, and its place among those of an ensemble. */
interface HeldModel {
  member: number;
  model: Model;
  reference: ModelReference;
}

/** Reads a model, and frees the one before: its encoder, which both use, stays open. */
async function modelOf(
  { checkpoints, encoder, shown }: Pick<
    ClassifierSetup,
    "checkpoints" | "encoder" | "shown"
  >,
  member: number,
  before: HeldModel | undefined,
): Promise<HeldModel> {
  const checkpoint = checkpoints[member]!;
  const { model, sha256 } = await readCheckpoint(checkpoint, {
    encoderFiles: encoder === undefined ? [] : [await spelled(encoder)],
  });
  if (before) await disposeModel(before.model);
  if (encoder !== undefined && model.config.network.encoder === null) {
    throw new UsageError(
      `${checkpoint} was trained without an encoder: leave out --encoder`,
    );
  }
  if (shown !== undefined) outputNamed(model, shown);
  return { member, model, reference: modelReference(checkpoint, sha256) };
}

/** Classifies images by one model. */
async function* classifyByModel(
  { model, reference }: HeldModel,
  tasks: readonly ImageTask[],
  { setup, engine, memory, cache, signal }: {
    setup: ClassifierSetup;
    engine: Engine;
    memory: Memory;
    cache: BlockCache;
    signal: AbortSignal;
  },
): AsyncGenerator<Outcome> {
  const { samples, draws, shown, seed, foreground, groupPart, origin } = setup;
  const started = new Map<ImageTask, number>();
  const results = classifyEach(tasks, {
    memory,
    async open(task) {
      await setTimeout(0); // wasm never yields: let signals and messages in
      signal.throwIfAborted();
      started.set(task, performance.now());
      const { heldPixels } = memory;
      const { image, mpp } = task;
      return await openForModel(image, model, {
        mpp,
        heldPixels,
        cache,
        signal,
      });
    },
    classify(images, [first]) {
      const { heatmap: file } = first!; // one flag names those of all images
      return engine.whileAlive(() =>
        classifyOpened(model, images, {
          ...{ samples, draws, shown, seed, foreground },
          ...(groupPart && { groupPart }),
          ...(file !== undefined && heatFormat(file)),
          memory,
          signal,
        })
      );
    },
  });
  for await (const result of results) {
    if ("error" in result) {
      yield { error: result.error.message };
      continue;
    }
    const { item, classified, image } = result;
    try {
      const evidence = await writeOutputs(item, classified, {
        image,
        origin,
        signal,
      });
      const { classification } = classified;
      classification.timings.totalMs = performance.now() - started.get(item)!;
      yield {
        classification: { model: reference, ...classification },
        evidence,
        groupPart: classified.groupPart,
      };
    } catch (error) {
      if (!(error instanceof ImageError)) throw error;
      yield { error: error.message };
    }
  }
}

/** Writes what a task asks for; returns the path of the heat map of evidence. */
async function writeOutputs(
  { heatmap, tiles, geojson }: ImageTask,
  classified: ClassifiedImage,
  { image, origin, signal }: {
    image: OpenedImage;
    origin: Origin | undefined;
    signal: AbortSignal;
  },
): Promise<string | undefined> {
  const { classification } = classified;
  const evidence = heatmap === undefined
    ? undefined
    : await writeHeatmaps(heatmap, classified, image);
  if (tiles !== undefined) {
    await writeSubTiles(tiles, image.file, classification.subTiles, signal);
  }
  if (geojson !== undefined) {
    await writeFileAtomically(geojson, regionsText(classification, origin));
  }
  return evidence;
}

/** A picture, or numbers for other programs. */
function heatFormat(
  file: string,
): Pick<ClassifyOpenedOptions, "heatmap" | "maps"> {
  return extname(file).toLowerCase() === ".png"
    ? { heatmap: "poster" }
    : { maps: "attention" };
}

/**
 * Writes the heat map of the attention, and of the evidence beside it if there
 * is one, whose path is returned.
 */
async function writeHeatmaps(
  file: string,
  { heatmap, evidence, maps }: ClassifiedImage,
  { file: image, mpp }: OpenedImage,
): Promise<string | undefined> {
  const files = {
    attention: { path: file, png: heatmap },
    evidence: { path: evidenceFile(file), png: evidence },
  };
  for (const kind of ["attention", "evidence"] as const) {
    const { path, png } = files[kind];
    const numbers = maps?.[kind];
    if (png) await writeFileAtomically(path, png);
    else if (!numbers) continue;
    else if (extname(path).toLowerCase() === ".npy") {
      await writeFileAtomically(path, npyFile(numbers));
    } else await writeHeatTiff(path, numbers, { image, mpp, kind });
  }
  const hasEvidence = evidence !== undefined || maps?.evidence !== undefined;
  return hasEvidence ? files.evidence.path : undefined;
}

/** GeoJSON of the regions; an image without such an origin fails alone. */
function regionsText(
  classification: Classification,
  origin: Origin | undefined,
): string {
  try {
    return `${JSON.stringify(regionsGeoJson(classification, { origin }))}\n`;
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw new ImageError(cause.message, { cause });
  }
}

// A Worker and its engine take as long to start as ten colon images.
const MIN_IMAGES = 10;

/**
 * Number of workers: one a core on wasm if each has enough to do; one on a GPU.
 */
export function defaultWorkers(
  images: number,
  { backend }: Pick<ClassifierSetup, "backend">,
): number {
  if (backend === "webgpu") return 1;
  return Math.min(
    navigator.hardwareConcurrency,
    Math.ceil(images / MIN_IMAGES),
  );
}

/**
 * Classifies all images; a bad image is one outcome, and the others continue.
 *
 * @param options.onOutcome called in the order of the images, checkpoint by
 *   checkpoint.
 */
export async function classifyImages(
  images: readonly ImageTask[],
  { setup, onOutcome, signal, ...options }: {
    setup: ClassifierSetup;
    workers: number;
    onOutcome: (outcome: Outcome, index: number, member: number) => void;
    signal: AbortSignal;
  },
): Promise<void> {
  const workers = Math.min(options.workers, images.length); // which share the bound
  const tasks = setup.checkpoints.flatMap((_, member) =>
    images.map((image) => ({ ...image, member }))
  );
  const tell = (outcome: Outcome, at: number) =>
    onOutcome(
      outcome,
      at % images.length,
      Math.floor(at / images.length),
    );
  if (workers <= 1) {
    const classify = startClassifier(setup);
    let at = 0;
    for await (const outcome of classify(tasks, signal)) tell(outcome, at++);
    return;
  }
  const waiting = new Map<number, Outcome>();
  let next = 0;
  await runTasks<ClassifierSetup, ImageTask, Outcome>(tasks, {
    module: new URL("./classify_worker.ts", import.meta.url),
    setup: {
      ...setup,
      memoryBytes: shareOf(setup.memoryBytes, workers),
    },
    workers,
    signal,
    onResult(outcome, index) {
      waiting.set(index, outcome);
      for (let due = waiting.get(next); due; due = waiting.get(next)) {
        waiting.delete(next);
        tell(due, next++);
      }
    },
  });
}
