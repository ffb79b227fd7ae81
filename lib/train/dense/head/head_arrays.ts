/**
 * The trained part of the head g of frozen features, in main memory: one hidden
 * layer from projected features to a logit a class.
 *
 * Its matrices are so small that calls of an engine take longer than the work.
 * ../../model/head.ts is the same on the engine.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { addProduct } from "../../../../kernels/product/product.ts";
import { randomKey, RandomStream } from "../../../../kernels/random.ts";
import type { Parameters } from "../../../model/parameters.ts";
import { type Arrays, entriesOf } from "./array_adamw.ts";

/** Its parameters, as in the model. */
export const HEAD_NAMES = [
  "g/hidden/weight",
  "g/hidden/bias",
  "g/weight",
  "g/bias",
] as const;

/** A parameter of the head. */
export type HeadName = typeof HEAD_NAMES[number];

/**
 * The values of a head: `[components, hidden]`, `[hidden]`, `[hidden, outputs]`
 * and `[outputs]`; or their gradients.
 */
export type HeadArrays = Arrays<HeadName>;

/** What the backward pass needs of a forward pass over rows. */
export interface HeadPass {
  /** Projected features, with dropout: `[rows, components]`. */
  inputs: Float32Array;
  /** Hidden layer, with dropout: `[rows, hidden]`. */
  hidden: Float32Array;
  /** `[rows, outputs]`. */
  logits: Float64Array;
}

/** Share of values that dropout sets to 0 in training: two random bits each. */
export const DROPOUT = 1 / 4;

const BITS = 2, OF_A_WORD = 32 / BITS;

const HEAD = 110; // word of the random keys

/**
 * An untrained head. It starts as torch's linear
 * layers do, whatever the other networks start with: with the larger weights of
 * He et al. it learns the training images by heart (colon, four folds: accuracy
 * 0.60 instead of 0.87).
 *
 * @param bias of the logits; random if omitted.
 */
export function freshHead(
  { components, hidden, outputs }: HeadShape,
  { seed, bias }: { seed: number; bias?: number | undefined },
): HeadArrays {
  const random = new RandomStream(randomKey(seed, HEAD));
  const start = (count: number, fanIn: number) =>
    new Float64Array(count)
      .map(() => (2 * random.uniform() - 1) / Math.sqrt(fanIn));
  const head: HeadArrays = {
    "g/hidden/weight": start(components * hidden, components),
    "g/hidden/bias": start(hidden, components),
    "g/weight": start(hidden * outputs, hidden),
    "g/bias": start(outputs, hidden),
  };
  if (bias !== undefined) head["g/bias"].fill(bias);
  return head;
}

/** The values of the head of a model, copied out of the engine. */
export async function readHead(parameters: Parameters): Promise<HeadArrays> {
  const entries = await Promise.all(HEAD_NAMES.map(async (name) => {
    const values = await parameters.get(name)!.data();
    return [name, Float64Array.from(values)] as const;
  }));
  return Object.fromEntries(entries) as HeadArrays;
}

/** Puts the values of a head into a model. */
export function writeHead(parameters: Parameters, head: HeadArrays): void {
  for (const [name, values] of entriesOf(head)) {
    assign(parameters, name, Float32Array.from(values));
  }
}

/** Sets the values of a parameter. */
export function assign(
  parameters: Parameters,
  name: string,
  values: Float32Array,
): void {
  const variable = parameters.get(name)!;
  tf.tidy(() => variable.assign(tf.tensor(values, variable.shape)));
}

/** Zeros for the gradients of a head. */
export function zerosLike(head: HeadArrays): HeadArrays {
  return Object.fromEntries(
    entriesOf(head).map(([name, { length }]) => [
      name,
      new Float64Array(length),
    ]),
  ) as HeadArrays;
}

/** Components and hidden units of a head, and its logits a row. */
export type HeadShape = Record<"components" | "hidden" | "outputs", number>;

/** The shape of a head. */
export function headShape(head: HeadArrays): HeadShape {
  const hidden = head["g/hidden/bias"].length;
  return {
    components: head["g/hidden/weight"].length / hidden,
    hidden,
    outputs: head["g/bias"].length,
  };
}

/**
 * Logits of rows of projected features.
 *
 * @param inputs `[rows, components]`; with dropout, they are changed.
 * @param dropout randomness of dropout before and after the hidden layer; none
 *   if omitted.
 */
export function forward(
  head: HeadArrays,
  inputs: Float32Array,
  dropout?: RandomStream,
): HeadPass {
  if (dropout) dropQuarter(inputs, dropout);
  const hidden = Float32Array.from(
    affine(inputs, head["g/hidden/weight"], head["g/hidden/bias"]),
  );
  for (let i = 0; i < hidden.length; i++) {
    if (!(hidden[i]! > 0)) hidden[i] = 0;
  }
  if (dropout) dropQuarter(hidden, dropout);
  const logits = affine(hidden, head["g/weight"], head["g/bias"]);
  return { inputs, hidden, logits };
}

/** y = x W + b, row by row. */
function affine(
  x: Float32Array,
  weight: Float64Array,
  bias: Float64Array,
): Float64Array {
  const columns = bias.length, inner = weight.length / columns;
  const rows = x.length / inner;
  const y = new Float64Array(rows * columns);
  for (let at = 0; at < y.length; at += columns) y.set(bias, at);
  addProduct(x, weight, y, { rows, inner, columns });
  return y;
}

/** Sets a quarter of the values to 0, and scales the others up. */
function dropQuarter(values: Float32Array, random: RandomStream): void {
  let bits = 0;
  for (let i = 0; i < values.length; i++) {
    bits = i % OF_A_WORD === 0 ? random.next() : bits >>> BITS;
    values[i] = (bits & 3) === 0 ? 0 : values[i]! / (1 - DROPOUT);
  }
}

/**
 * Adds the gradient of a pass.
 *
 * @param upstream gradient at the logits, `[rows, outputs]`.
 * @param dropout as in the forward pass: whether there was any.
 */
export function addGradients(
  gradients: HeadArrays,
  head: HeadArrays,
  { inputs, hidden }: HeadPass,
  { upstream, dropout }: { upstream: Float64Array; dropout: boolean },
): void {
  const { components, hidden: units, outputs } = headShape(head);
  const weight = head["g/weight"], scale = dropout ? 1 / (1 - DROPOUT) : 1;
  const rows = upstream.length / outputs;
  const ofHidden = new Float64Array(rows * units);
  for (let row = 0; row < rows; row++) {
    const at = row * outputs;
    for (let j = 0; j < units; j++) {
      const value = hidden[row * units + j]!;
      let sum = 0;
      for (let k = 0; k < outputs; k++) {
        sum += weight[j * outputs + k]! * upstream[at + k]!;
        gradients["g/weight"][j * outputs + k]! += value * upstream[at + k]!;
      }
      const gradient = value > 0 ? sum * scale : 0;
      ofHidden[row * units + j] = gradient;
      gradients["g/hidden/bias"][j]! += gradient;
    }
    for (let k = 0; k < outputs; k++) {
      gradients["g/bias"][k]! += upstream[at + k]!;
    }
  }
  addProduct(inputs, ofHidden, gradients["g/hidden/weight"], {
    rows: components,
    inner: rows,
    columns: units,
    transposed: true,
  });
}
