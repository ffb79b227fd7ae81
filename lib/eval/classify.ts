/**
 * Classifies images by path. The command line, the server, evaluations and
 * studies all classify by it.
 *
 * @module
 */
import { ImageError } from "../errors.ts";
import { openImage, type OpenOptions } from "../image/open.ts";
import type { Pyramid } from "../image/pyramid.ts";
import { atMpp } from "../image/resampled.ts";
import { Memory, type WithDefaultMemory } from "../memory.ts";
import { turn } from "../turn.ts";
import type { Model } from "../model/model.ts";
import { numbersOf } from "./answer.ts";
import { type Classification, classification } from "./classification.ts";
import type { GroupPart } from "./groups/pooling.ts";
import { heatmapPng } from "./heatmap/png.ts";
import type { HeatMaps } from "./heatmap/stages.ts";
import { predict, type PredictOptions } from "./predict.ts";

/** An open image; close `file` when done. */
export interface OpenedImage {
  /** As it lies in its file. */
  file: Pyramid;
  /** As the network sees it: `file`, or resampled to the configuration's mpp. */
  seen: Pyramid;
  /** Micrometres per px of the file: the caller's, else the file's own. */
  mpp: number | undefined;
  /** Time that opening took, ms. */
  openMs: number;
}

/** Options of opening an image for a model. */
export interface OpenForModelOptions extends OpenOptions {
  /** Micrometres per px, instead of the file's own. */
  mpp?: number | undefined;
}

/** Options of {@linkcode classifyOpened}. */
export interface ClassifyOpenedOptions
  extends Omit<PredictOptions, "attention" | "stages"> {
  /**
   * Draws a heat map, over the image or over grey, or as a poster: over the image
   * at its own resolution, with a legend.
   */
  heatmap?: "over image" | "over grey" | "poster" | undefined;
  /**
   * Returns heat maps as numbers: that which `heatmap` draws, or one of each stage.
   */
  maps?: "attention" | "stages" | undefined;
}

/** Options of {@linkcode classifyImage}: opening, draws and heat map. */
export type ClassifyImageOptions =
  & OpenForModelOptions
  & WithDefaultMemory<ClassifyOpenedOptions>;

/** A classified image, and its heat maps. */
export interface ClassifiedImage {
  /** The result. */
  classification: Classification;
  /** PNG of the heat map of the attention, if asked for. */
  heatmap?: Uint8Array<ArrayBuffer>;
  /** That of the evidence, beside it under the head `evidence`. */
  evidence?: Uint8Array<ArrayBuffer>;
  /** Heat maps as numbers, if asked for. */
  maps?: HeatMaps;
  /** Its part in the evidence of a group, if asked for. */
  groupPart?: GroupPart;
}

/**
 * Opens an image as `model` is to see it.
 *
 * @throws {ImageError} If it cannot be read, or has no mpp and needs one.
 */
export async function openForModel(
  path: string,
  { config }: Pick<Model, "config">,
  { mpp, ...options }: OpenForModelOptions = {},
): Promise<OpenedImage> {
  const started = performance.now();
  const file = await openImage(path, options);
  try {
    const seen = atMpp(file, config.mpp, mpp);
    const openMs = performance.now() - started;
    return { file, seen, mpp: mpp ?? file.mpp, openMs };
  } catch (error) {
    file.close();
    throw error;
  }
}

/**
 * Classifies open images in one batch. The result of an image depends on the
 * image and the seed alone, not on the others.
 *
 * @throws {ImageError} If one of them cannot be read.
 */
export async function classifyOpened(
  model: Model,
  images: readonly OpenedImage[],
  { heatmap, maps, ...options }: ClassifyOpenedOptions,
): Promise<ClassifiedImage[]> {
  const { predictions, timings } = await predict(
    model,
    images.map(({ seen }) => seen),
    {
      ...options,
      attention: heatmap !== undefined || maps === "attention",
      stages: maps === "stages",
    },
  );
  const classified: ClassifiedImage[] = [];
  for (const [i, image] of images.entries()) {
    await turn(options.signal);
    const prediction = predictions[i]!;
    assertNumbers(numbersOf(prediction), image);
    const drawing = {
      photograph: heatmap !== "over grey",
      poster: heatmap === "poster"
        ? { bytes: options.memory.bytes, mpp: image.mpp }
        : undefined,
      signal: options.signal,
    };
    const { attention, evidence, stages, groupPart } = prediction;
    const isDrawn = heatmap !== undefined;
    classified.push({
      classification: classification(image, prediction, {
        classes: model.classes,
        timings: { openMs: image.openMs, ...timings },
      }),
      ...(isDrawn && attention && {
        heatmap: await heatmapPng(image.seen, prediction, drawing),
      }),
      ...(isDrawn && evidence && {
        evidence: await heatmapPng(image.seen, prediction, {
          kind: "evidence",
          ...drawing,
        }),
      }),
      ...(maps === "attention" && {
        maps: {
          ...(attention && { attention }),
          ...(evidence && { evidence }),
        },
      }),
      ...(stages && { maps: stages }),
      ...(groupPart && { groupPart }),
    });
  }
  return classified;
}

/** @throws {ImageError} If the network has overflowed. */
function assertNumbers(
  numbers: readonly number[],
  { file }: OpenedImage,
): void {
  if (numbers.every(Number.isFinite)) return;
  throw new ImageError(
    `Cannot classify ${file.source}: the network overflows on it, and gives no result; use another model`,
  );
}

/**
 * Opens, classifies and closes one image.
 *
 * @param path a file, or an http(s) address with `fetch` in the options.
 * @param model of {@linkcode readCheckpoint}, on the current engine.
 * @throws {ImageError} If the image cannot be read, or has no mpp and the model
 *   needs one.
 *
 * @example With a heat map
 * ```ts
 * import { classifyImage, readCheckpoint, startEngine } from "@zoomin/zoomin";
 *
 * await startEngine("auto");
 * const { model } = await readCheckpoint("run");
 * const { classification, heatmap } = await classifyImage("scan.tif", model, {
 *   seed: 0,
 *   heatmap: "over image",
 * });
 * console.log(classification.label);
 * await Deno.writeFile("heat.png", heatmap!);
 * ```
 */
export async function classifyImage(
  path: string,
  model: Model,
  { memory = new Memory(), ...options }: ClassifyImageOptions,
): Promise<ClassifiedImage> {
  const image = await openForModel(path, model, options);
  try {
    const [classified] = await classifyOpened(model, [image], {
      ...options,
      memory,
    });
    return classified!;
  } finally {
    image.file.close();
  }
}
