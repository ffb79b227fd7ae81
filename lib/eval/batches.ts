/**
 * Classifies many images in order, on a GPU several small ones at a time: what
 * the host does for a batch is little more than what it does for one image.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { ImageError } from "../errors.ts";
import type { Memory } from "../memory.ts";
import type { ClassifiedImage, OpenedImage } from "./classify.ts";

// Beyond it the images' own work is what takes the time.
const MAX_IMAGES = 8;
// Of the pixels that may be held: a large image is classified alone.
const SHARE_OF_HELD = 1 / 4;

/** One item's image and its result, or why it could not be read. */
export type ClassifiedItem<Item> =
  | { item: Item; image: OpenedImage; classified: ClassifiedImage }
  | { item: Item; error: ImageError };

/** How items are opened and classified. */
export interface HowToClassify<Item> {
  open(item: Item): Promise<OpenedImage>;
  /** Classifies the images of items in one batch. */
  classify(images: OpenedImage[], items: Item[]): Promise<ClassifiedImage[]>;
  memory: Pick<Memory, "heldPixels">;
}

/** An item that was opened. */
interface Opened<Item> {
  item: Item;
  image: OpenedImage;
}

/** Images of so many pixels that are classified in one batch on this engine. */
export function batchImages(
  pixels: number,
  { heldPixels }: Pick<Memory, "heldPixels">,
): number {
  const fitting = Math.floor(heldPixels * SHARE_OF_HELD / pixels);
  return Math.max(1, Math.min(fitting, maxImages()));
}

function maxImages(): number {
  return tf.getBackend() === "webgpu" ? MAX_IMAGES : 1;
}

/**
 * The results of items, in their order. An image is open until the next result
 * is asked for; one that cannot be read is an error of its own.
 *
 * @throws What `open` and `classify` throw that is no `ImageError`.
 */
export async function* classifyEach<Item>(
  items: Iterable<Item>,
  how: HowToClassify<Item>,
): AsyncGenerator<ClassifiedItem<Item>> {
  const most = maxImages();
  const bound = how.memory.heldPixels * SHARE_OF_HELD;
  let batch: Opened<Item>[] = [];
  let pixels = 0;
  const taken = () => {
    const own = batch;
    batch = [];
    pixels = 0;
    return own;
  };
  try {
    for (const item of items) {
      const opened = await openedOrError(item, how);
      if ("error" in opened) {
        yield* resultsOf(taken(), how);
        yield opened;
        continue;
      }
      const { width, height } = opened.image.file;
      const before = pixels + width * height > bound ? taken() : [];
      batch.push(opened); // first, so that it is closed whatever comes of those
      pixels += width * height;
      yield* resultsOf(before, how);
      if (batch.length === most) yield* resultsOf(taken(), how);
    }
    yield* resultsOf(taken(), how);
  } finally {
    closeAll(batch); // the caller stopped early
  }
}

async function openedOrError<Item>(
  item: Item,
  { open }: HowToClassify<Item>,
): Promise<Opened<Item> | { item: Item; error: ImageError }> {
  try {
    return { item, image: await open(item) };
  } catch (error) {
    if (error instanceof ImageError) return { item, error };
    throw error;
  }
}

/** The results of a batch, whose images are closed then. */
async function* resultsOf<Item>(
  batch: readonly Opened<Item>[],
  how: HowToClassify<Item>,
): AsyncGenerator<ClassifiedItem<Item>> {
  try {
    yield* classifiedBatch(batch, how);
  } finally {
    closeAll(batch);
  }
}

/** The results of a batch; one by one if an image of it cannot be read. */
async function* classifiedBatch<Item>(
  batch: readonly Opened<Item>[],
  how: HowToClassify<Item>,
): AsyncGenerator<ClassifiedItem<Item>> {
  if (batch.length === 0) return;
  try {
    const classified = await how.classify(
      batch.map(({ image }) => image),
      batch.map(({ item }) => item),
    );
    for (const [i, opened] of batch.entries()) {
      yield { ...opened, classified: classified[i]! };
    }
  } catch (error) {
    if (!(error instanceof ImageError)) throw error;
    const [only, ...others] = batch;
    if (others.length === 0) yield { item: only!.item, error };
    else for (const one of batch) yield* classifiedBatch([one], how);
  }
}

function closeAll<Item>(batch: readonly Opened<Item>[]): void {
  for (const { image } of batch) image.file.close();
}
