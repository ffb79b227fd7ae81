/**
 * Features about many places of an image: read in blocks with a margin, within
 * the memory bound.
 *
 * @module
 */
import type * as tf from "@tensorflow/tfjs-core";
import {
  centredRegion,
  clipRegion,
  type Point,
  type Region,
  type Size,
} from "../image/geometry.ts";
import type { Pyramid } from "../image/pyramid.ts";
import { Views } from "../image/views.ts";
import { Memory } from "../memory.ts";
import type { Encoder } from "./encoder.ts";

/** Options of {@linkcode gridFeatures}. */
export interface GridOptions {
  /** The bound on tensors and caches. */
  memory?: Memory | undefined;
  signal?: AbortSignal | undefined;
  /**
   * Changes the pixels of a block or window before they are encoded, in place:
   * RGB in [0, 1], px by px.
   */
  recolour?: ((pixels: Float32Array) => void) | undefined;
  /**
   * Side of the window about a place, level-0 px, for an encoder that sees one
   * at a time; twice its margin if omitted.
   */
  windowSize?: number | undefined;
}

const BYTES_PER_PIXEL = 400; // if an encoder does not say
// Large enough that margins do not dominate, small enough that a drawn place does
// not cost a megapixel.
const MAX_BLOCK_PIXELS = 2 ** 18;
const MAX_WINDOWS = 256; // at a time

/** Places of an image, by their index, that are encoded together. */
interface Block {
  /** Px of level 0 that are read. */
  region: Region;
  indices: number[];
}

/**
 * The features about `places`, px of level 0 of an image (the centre of px 0 is
 * 0.5), in their order: `[G, K]`.
 *
 * The image is cut into blocks that do not depend on the places: a place has the
 * same features whether it is alone, as a drawn sub-tile, or one of a dense grid.
 * A memory bound that does not hold such a block makes them smaller, which changes
 * the features as far as they depend on what is beyond the encoder's margin. An
 * encoder of many places is not shown what is outside the
 * image; one that sees windows is shown black there, as sub-tiles are.
 *
 * @throws {ImageError} If the image cannot be read.
 * @throws {EncoderError} If a feature is not finite.
 */
export async function gridFeatures(
  encoder: Encoder,
  pyramid: Pyramid,
  places: readonly Point[],
  options: GridOptions = {},
): Promise<Float32Array> {
  const { memory = new Memory(), signal } = options;
  const features = new Float32Array(places.length * encoder.channels);
  const views = await Views.open(pyramid, { memory, signal });
  try {
    const job = { encoder, views, places, features, options };
    await (encoder.placesAtOnce > 1
      ? encodeBlocks(job, blocksOf(places, pyramid, encoder, memory))
      : encodeWindows(job, memory));
  } finally {
    views.dispose();
  }
  return features;
}

interface Job {
  encoder: Encoder;
  views: Views;
  places: readonly Point[];
  features: Float32Array;
  options: GridOptions;
}

async function encodeBlocks(job: Job, blocks: readonly Block[]): Promise<void> {
  const { encoder, views, places, features, options } = job;
  const { signal, recolour } = options;
  for (const { region, indices } of blocks) {
    signal?.throwIfAborted();
    const data = await pixelsOf(await views.regions([region], region, signal));
    recolour?.(data);
    const { height, width } = region;
    for (let at = 0; at < indices.length; at += encoder.placesAtOnce) {
      const some = indices.slice(at, at + encoder.placesAtOnce);
      const within = some.map((i) => relativeTo(region, places[i]!));
      const picture = { data, count: 1, height, width };
      const found = await encoder.features(picture, [within], signal);
      scatter(found, some, features);
    }
  }
}

async function encodeWindows(job: Job, memory: Memory): Promise<void> {
  const { encoder, views, places, features, options } = job;
  const { signal, recolour } = options;
  const side = options.windowSize ?? 2 * encoder.margin;
  const size = { width: side, height: side };
  const pixels = blockPixels(encoder, memory);
  const most = Math.floor(pixels / side ** 2);
  const batch = Math.min(MAX_WINDOWS, Math.max(1, most));
  for (let from = 0; from < places.length; from += batch) {
    signal?.throwIfAborted();
    const some = places.slice(from, from + batch);
    const regions = some.map((place) => windowAbout(place, size));
    const data = await pixelsOf(await views.regions(regions, size, signal));
    recolour?.(data);
    const within = some.map((place, i) => [relativeTo(regions[i]!, place)]);
    const pictures = { data, count: some.length, height: side, width: side };
    const found = await encoder.features(pictures, within, signal);
    features.set(found, from * encoder.channels);
  }
}

/** The window whose middle is nearest to `place`. */
function windowAbout({ x, y }: Point, size: Size): Region {
  const corner = (at: number, extent: number) =>
    Math.round(at - extent / 2) + Math.floor(extent / 2);
  return centredRegion(
    { x: corner(x, size.width), y: corner(y, size.height) },
    size,
  );
}

function relativeTo({ x, y }: Region, place: Point): Point {
  return { x: place.x - x, y: place.y - y };
}

async function pixelsOf(tensor: tf.Tensor4D): Promise<Float32Array> {
  try {
    return await tensor.data<"float32">();
  } finally {
    tensor.dispose();
  }
}

/** Puts rows of features where they belong. */
function scatter(
  from: Float32Array,
  indices: readonly number[],
  to: Float32Array,
): void {
  const channels = from.length / indices.length;
  for (const [i, index] of indices.entries()) {
    const row = from.subarray(i * channels, (i + 1) * channels);
    to.set(row, index * channels);
  }
}

/** Level-0 px that are encoded at a time. */
function blockPixels(
  { bytesPerPixel = BYTES_PER_PIXEL, blockPixels = MAX_BLOCK_PIXELS }: Pick<
    Encoder,
    "bytesPerPixel" | "blockPixels"
  >,
  memory: Memory,
): number {
  return Math.min(blockPixels, memory.featurePixels(bytesPerPixel, true));
}

/** Cuts the image into blocks, and leaves out those without places. */
function blocksOf(
  places: readonly Point[],
  image: Size,
  encoder: Encoder,
  memory: Memory,
): Block[] {
  const { margin, step = 1 } = encoder;
  const pixels = blockPixels(encoder, memory);
  const { width, height } = coreSize(image, { pixels, margin, step });
  const columns = Math.ceil(image.width / width);
  const found = new Map<number, number[]>();
  for (const [index, { x, y }] of places.entries()) {
    const row = cellOf(y, height, image.height);
    const block = row * columns + cellOf(x, width, image.width);
    const indices = found.get(block);
    if (indices) indices.push(index);
    else found.set(block, [index]);
  }
  return [...found].sort(([a], [b]) => a - b).map(([block, indices]) => ({
    region: regionAbout(
      {
        x: block % columns * width,
        y: Math.floor(block / columns) * height,
        width,
        height,
      },
      image,
      { margin, step },
    ),
    indices,
  }));
}

/**
 * Tells blocks that a small memory bound makes from those of other bounds: part
 * of the key of cached features. "" for the usual ones.
 */
export function blockKey(
  { placesAtOnce, margin, step = 1, ...rest }: Encoder,
  image: Size,
  memory: Memory,
): string {
  if (placesAtOnce === 1) return ""; // a window does not depend on the others
  const coreOf = (pixels: number) => coreSize(image, { pixels, margin, step });
  const { width, height } = coreOf(blockPixels(rest, memory));
  const usual = coreOf(MAX_BLOCK_PIXELS);
  return width === usual.width && height === usual.height
    ? ""
    : `blocks of ${width} x ${height} px`;
}

/** Which part of `size` holds a place; one outside is in the nearest. */
function cellOf(at: number, size: number, extent: number): number {
  return Math.floor(Math.min(Math.max(at, 0), extent - 1) / size);
}

/**
 * Size of the parts whose places are encoded together: those that need the fewest
 * px with their margins, if at most `pixels` are read at a time.
 */
function coreSize(
  image: Size,
  { pixels, margin, step }: { pixels: number; margin: number; step: number },
): Size {
  if (image.width * image.height <= pixels) return image;
  const around = 2 * (margin + step); // a region ends at a multiple of step
  const part = (extent: number, parts: number) =>
    Math.ceil(extent / parts / step) * step;
  let best: Size = { width: step, height: step }, least = Infinity;
  for (let rows = 1; rows <= Math.ceil(image.height / step); rows++) {
    const height = part(image.height, rows);
    const read = Math.min(image.height, height + around);
    const most = pixels / read;
    const core = Math.floor((most - around) / step) * step;
    if (most < image.width && core < step) continue;
    const columns = most >= image.width ? 1 : Math.ceil(image.width / core);
    const width = part(image.width, columns);
    const cost = rows * columns * read * Math.min(image.width, width + around);
    if (cost < least) {
      least = cost;
      best = { width, height };
    }
  }
  return best;
}

/** A block with its margin, from a multiple of `step` to another, in the image. */
function regionAbout(
  { x, y, width, height }: Region,
  image: Size,
  { margin, step }: { margin: number; step: number },
): Region {
  const before = Math.ceil(margin / step) * step;
  return clipRegion({
    x: x - before,
    y: y - before,
    width: width + 2 * before,
    height: height + 2 * before,
  }, image);
}
