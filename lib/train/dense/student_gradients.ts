/**
 * The gradients by which a student learns from some images: the cross-entropies
 * of a and b against the shares of the locations that its teacher found.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { randomKey, RandomStream } from "../../../kernels/random.ts";
import { attentionSoftmax } from "../../../kernels/softmax/softmax.ts";
import type { ManifestEntry } from "../../data/manifest.ts";
import type { MapSize, Size } from "../../image/geometry.ts";
import { locationAt } from "../../image/geometry.ts";
import {
  type Orientation,
  orientedSize,
  storedPoint,
} from "../../image/pyramids/orientation.ts";
import type { Memory } from "../../memory.ts";
import { subTileLogits, tileLogits } from "../../model/look/attention.ts";
import { turn } from "../../turn.ts";
import type { Model } from "../../model/model.ts";
import type { Parameters } from "../../model/parameters.ts";
import { systematicDraws } from "../../sampling/systematic.ts";
import { netParameters } from "../step/step.ts";
import type { LocationGrid } from "../../model/look/location_grid.ts";
import { isByImage } from "../step/passes.ts";
import type { ImageViews, ViewStack } from "./student_views.ts";

/** An image that the student learns from. */
export interface StudentImage {
  grid: Pick<LocationGrid, "tiles" | "cells">;
  /** Share of each location, `[G]`, adding to 1. */
  shares: ArrayLike<number>;
  /** 1 where a location may be drawn, `[G]`; null: everywhere. */
  allowed: Uint8Array | null;
  views: () => Promise<ImageViews>;
}

/** The same as plain data: its views are read where it is learned from. */
export interface StudentTarget extends Omit<StudentImage, "views" | "grid"> {
  entry: ManifestEntry;
  grid: LocationGrid;
}

/** An image, and its place among all that are learned from. */
export interface PlacedImage extends StudentImage {
  place: number;
}

/** One step, as all of its images have it. */
export interface StudentOrder {
  seed: number;
  step: number;
  /** The same for all, so that views of one size stay of one size. */
  orientation: Orientation;
  /** Images of the step, of whose loss each has a share. */
  of: number;
}

/** A share of a step's loss, and its gradients by name. */
export interface StudentGradients {
  loss: tf.Scalar;
  gradients: Map<string, tf.Tensor>;
}

/** Word of the random keys of distilling. */
export const STUDENT = 107;

/** Images of a step. */
export const STUDENT_BATCH = 12;

// Tiles of an image that b sees in a step, drawn by their shares.
const TILES = 16;
// Largest change of a colour channel, in deviations: its logarithmic gain, shift.
const GAIN = 0.25, SHIFT = 0.1;
// Logit of a location that is never drawn.
const NEVER = -1e9;
// A probability below it counts as it, as the logarithm of 0 is infinite.
const SMALLEST = 1e-30;
const CHANNELS = 3;

/**
 * The gradients of a and b at some images of a step, in their order: of each image
 * alone if `isByImage`, else of all together. Their owner frees them.
 *
 * @throws {ImageError} If an image cannot be read.
 */
export async function studentGradients(
  model: Model,
  images: readonly PlacedImage[],
  { memory, signal, ...order }: StudentOrder & {
    memory: Memory;
    signal?: AbortSignal | undefined;
  },
): Promise<StudentGradients[]> {
  const parts = isByImage(model.config)
    ? images.map((image) => [image])
    : [images];
  const done: StudentGradients[] = [];
  try {
    for (const part of parts) {
      await turn(signal);
      const stacks = await stacksOf(part, order);
      tf.tidy(() => {
        done.push(gradientsOf(model.parameters, stacks, memory));
      });
    }
    return done;
  } catch (error) {
    done.forEach(disposeStudent);
    throw error;
  }
}

/** Frees gradients. */
export function disposeStudent({ loss, gradients }: StudentGradients): void {
  tf.dispose([loss, ...gradients.values()]);
}

/** The gradients of the views of all stacks. */
function gradientsOf(
  parameters: Parameters,
  stacks: readonly Stack[],
  memory: Memory,
): StudentGradients {
  const parts = stacks.flatMap((whole) => partsOf(whole, memory));
  const sums = new Map<string, tf.Tensor>();
  let total: tf.Scalar = tf.scalar(0);
  for (const part of parts) {
    const { loss, gradients } = stackGradients(parameters, part);
    total = tf.add(total, loss);
    for (const [name, gradient] of gradients) {
      const sum = sums.get(name);
      sums.set(name, sum ? tf.add(sum, gradient) : gradient);
    }
  }
  return { loss: tf.keep(total), gradients: keptAll(sums) };
}

function keptAll(tensors: Map<string, tf.Tensor>): Map<string, tf.Tensor> {
  for (const tensor of tensors.values()) tf.keep(tensor);
  return tensors;
}

/** Views of one size that a network sees, with what it should answer. */
interface Stack extends ViewStack {
  net: "a" | "b";
  map: MapSize;
  /** Weighted target of each location, `[count, locations]`. */
  goal: Float32Array;
  /** 0, or {@linkcode NEVER} where nothing is drawn, `[count, locations]`. */
  mask: Float32Array;
}

/** One view of a stack before it is put there. */
interface Shown {
  net: "a" | "b";
  view: Float32Array;
  size: Size;
  map: MapSize;
  goal: Float32Array;
  mask: Float32Array;
}

/** The views of images, in stacks of one size. */
async function stacksOf(
  images: readonly PlacedImage[],
  { seed, step, orientation, of }: StudentOrder,
): Promise<Stack[]> {
  const shown: Shown[] = [];
  for (const image of images) {
    const random = new RandomStream(
      randomKey(seed, STUDENT, step, image.place),
    );
    const views = await image.views();
    const jitter = jitterOf(random);
    const weight = 1 / of;
    for (
      const view of [
        shownWhole(image, views.whole, weight),
        ...shownTiles(image, views.tiles, weight, random),
      ]
    ) {
      shown.push(turned({ ...view, view: jitter(view.view) }, orientation));
    }
  }
  const sizes = Map.groupBy(
    shown,
    ({ net, size }) => `${net} ${size.width} ${size.height}`,
  );
  return [...sizes.values()].map(stack);
}

/** A random change of colours, the same for all views of an image. */
function jitterOf(
  random: RandomStream,
): (view: Float32Array) => Float32Array {
  const spread = (most: number) => (2 * random.uniform() - 1) * most;
  const gains = [0, 1, 2].map(() => Math.exp(spread(GAIN)));
  const shifts = [0, 1, 2].map(() => spread(SHIFT));
  return (view) =>
    view.map((value, i) =>
      value * gains[i % CHANNELS]! + shifts[i % CHANNELS]!
    );
}

/** What a sees: the whole image, and the share of each tile. */
function shownWhole(
  { grid, shares, allowed }: StudentImage,
  { data, width, height }: ViewStack,
  weight: number,
): Shown {
  const goal = tileShares(shares, grid);
  const mask = allowed && tileShares(allowed, grid);
  return {
    net: "a",
    view: data,
    size: { width, height },
    map: grid.tiles,
    goal: goal.map((share) => weight * share),
    mask: goal.map((_, tile) => mask?.[tile] === 0 ? NEVER : 0),
  };
}

/** What b sees: some tiles, and the shares within each. */
function shownTiles(
  { grid: { tiles, cells }, shares, allowed }: StudentImage,
  { data, width, height }: ViewStack,
  weight: number,
  random: RandomStream,
): Shown[] {
  const ofTiles = tileShares(shares, { tiles, cells });
  const locations = cells.rows * cells.columns;
  const area = width * height * CHANNELS;
  const drawn = systematicDraws(ofTiles, TILES, random.uniform());
  return drawn.indices.map((index, i) => {
    const share = drawn.counts[i]! / TILES;
    const first = index * locations;
    const within = (values: ArrayLike<number>, make: (x: number) => number) =>
      Float32Array.from(
        { length: locations },
        (_, cell) => make(values[first + cell]!),
      );
    const scale = weight * share / ofTiles[index]!;
    return {
      net: "b",
      view: data.subarray(index * area, (index + 1) * area),
      size: { width, height },
      map: cells,
      goal: within(shares, (x) => scale * x),
      mask: allowed
        ? within(allowed, (x) => x === 0 ? NEVER : 0)
        : new Float32Array(locations),
    };
  });
}

/** Sum over the cells of each tile. */
export function tileShares(
  shares: ArrayLike<number>,
  { tiles, cells }: Pick<LocationGrid, "tiles" | "cells">,
): Float32Array {
  const locations = cells.rows * cells.columns;
  return Float32Array.from(
    { length: tiles.rows * tiles.columns },
    (_, tile) => {
      let sum = 0;
      for (let cell = 0; cell < locations; cell++) {
        sum += shares[tile * locations + cell]!;
      }
      return sum;
    },
  );
}

/** A view, its target and its mask in another orientation. */
function turned(shown: Shown, orientation: Orientation): Shown {
  if (orientation === 1) return shown;
  const { rows, columns } = shown.map;
  const cells = { width: columns, height: rows };
  const { width, height } = orientedSize(cells, orientation);
  return {
    net: shown.net,
    view: reordered(shown.view, shown.size, CHANNELS, orientation),
    size: orientedSize(shown.size, orientation),
    map: { rows: height, columns: width },
    goal: reordered(shown.goal, cells, 1, orientation),
    mask: reordered(shown.mask, cells, 1, orientation),
  };
}

/** `[height, width, channels]` in another orientation. */
function reordered(
  values: Float32Array,
  size: Size,
  channels: number,
  orientation: Orientation,
): Float32Array {
  const { width } = orientedSize(size, orientation);
  const result = new Float32Array(values.length);
  for (let i = 0; i < values.length / channels; i++) {
    const { row: y, column: x } = locationAt(i, width);
    const from = storedPoint({ x, y }, size, orientation);
    const at = (from.y * size.width + from.x) * channels;
    for (let c = 0; c < channels; c++) {
      result[i * channels + c] = values[at + c]!;
    }
  }
  return result;
}

function stack(shown: readonly Shown[]): Stack {
  const { net, size, map } = shown[0]!;
  return {
    net,
    map,
    ...size,
    data: concatenated(shown.map(({ view }) => view)),
    goal: concatenated(shown.map(({ goal }) => goal)),
    mask: concatenated(shown.map(({ mask }) => mask)),
  };
}

function concatenated(parts: readonly Float32Array[]): Float32Array {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const all = new Float32Array(length);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** A stack in parts that the memory bound holds, at least a view each. */
function partsOf(whole: Stack, memory: Memory): Stack[] {
  const { data, width, height, map } = whole;
  const area = width * height, locations = map.rows * map.columns;
  const count = data.length / (area * CHANNELS);
  const size = Math.max(1, Math.floor(memory.jointPixels / area));
  return Array.from({ length: Math.ceil(count / size) }, (_, part) => {
    const cut = (values: Float32Array, each: number) =>
      values.subarray(part * size * each, (part + 1) * size * each);
    return {
      ...whole,
      data: cut(data, area * CHANNELS),
      goal: cut(whole.goal, locations),
      mask: cut(whole.mask, locations),
    };
  });
}

/** Cross-entropy of a stack against its targets, with its gradients by name. */
function stackGradients(
  parameters: Parameters,
  { net, data, width, height, map, goal, mask }: Stack,
): StudentGradients {
  const own = netParameters(parameters, net);
  const count = data.length / (width * height * CHANNELS);
  const views = tf.tensor4d(data, [count, height, width, CHANNELS]);
  const shape: [number, number] = [count, map.rows * map.columns];
  // Made here, as the gradient needs them when the loss has been computed.
  const goals = tf.tensor2d(goal, shape), masks = tf.tensor2d(mask, shape);
  const logitsOf = net === "a" ? tileLogits : subTileLogits;
  const { value, grads } = tf.variableGrads(
    () => targetLoss(logitsOf(own, views, map), goals, masks),
    [...own.values()],
  );
  return {
    loss: value,
    gradients: new Map(
      [...own].map(([name, { name: id }]) => [name, grads[id]!]),
    ),
  };
}

/**
 * Cross-entropy of softmax(logits + mask) against `goal`, summed over all rows,
 * whose targets need not add to 1.
 */
function targetLoss(
  logits: tf.Tensor2D,
  goal: tf.Tensor2D,
  mask: tf.Tensor2D,
): tf.Scalar {
  const operation = tf.customGrad((input, save) => {
    const masked = tf.add(input as tf.Tensor2D, mask) as tf.Tensor2D;
    const attention = attentionSoftmax(masked);
    (save as tf.GradSaveFunc)([attention]);
    const logs = tf.log(tf.maximum(attention, SMALLEST));
    return {
      value: tf.mul(tf.sum(tf.mul(goal, logs)), -1) as tf.Scalar,
      gradFunc: (dy, saved) => {
        const share = tf.mul(saved[0]!, tf.sum(goal, 1, true));
        return tf.mul(tf.sub(share, goal), dy as tf.Scalar);
      },
    };
  });
  return operation(logits) as tf.Scalar;
}
