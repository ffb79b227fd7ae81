/**
 * A model's parameters: their kinds and shapes, how their values start, and how
 * they are freed.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { randomKey, RandomStream } from "../../kernels/random.ts";
import type { Config } from "./config.ts";

type Initialisation = Config["network"]["initialisation"];

/** Kind of a parameter: decides how it starts and whether it is trained. */
export type ParameterKind =
  | "weight"
  | "bias"
  | "scale"
  | "shift"
  | "movingMean"
  | "movingVariance"
  | "zero"
  | "fixed";

/** One parameter of a network, before it has values. */
export interface ParameterSpec {
  name: string;
  shape: number[];
  kind: ParameterKind;
  /** Inputs of one output value, which the initialisation scales with. */
  fanIn: number;
  /** Value that all its numbers start with, in the place of random ones. */
  start?: number;
}

/** A value that training changes: a `Variable` of tfjs. */
export type Variable = tf.Variable;

/** The values of a network's parameters by name. */
export type Parameters = ReadonlyMap<string, Variable>;

/** Variables with the values that `valuesOf` gives, in the order of `specs`. */
export function createParameters(
  specs: readonly ParameterSpec[],
  valuesOf: (spec: ParameterSpec, index: number) => Float32Array,
): Map<string, tf.Variable> {
  const entries = specs.map((spec, index) => {
    const start = tf.tensor(valuesOf(spec, index), spec.shape);
    const variable = tf.variable(start);
    start.dispose();
    return [spec.name, variable] as const;
  });
  return new Map(entries);
}

/** Fresh values; each parameter has a random stream of its own under `seed`. */
export function initialParameters(
  specs: readonly ParameterSpec[],
  { initialisation, seed }: { initialisation: Initialisation; seed: number },
): Map<string, tf.Variable> {
  return createParameters(specs, (spec, index) => {
    const stream = new RandomStream(randomKey(seed, INITIALISATION, index));
    return initialValues(spec, initialisation, stream);
  });
}

const UNTRAINED: readonly ParameterKind[] = [
  "movingMean",
  "movingVariance",
  "zero",
  "fixed",
];

/** True if gradients change this parameter. */
export function isTrained({ kind }: ParameterSpec): boolean {
  return !UNTRAINED.includes(kind);
}

/** Frees all variables. */
export function disposeParameters(
  parameters: ReadonlyMap<string, tf.Variable>,
): void {
  for (const variable of parameters.values()) variable.dispose();
}

// Word of the random keys: separates these from all draws of the same seed.
const INITIALISATION = 101;

function initialValues(
  { kind, shape, fanIn, start }: ParameterSpec,
  initialisation: Initialisation,
  stream: RandomStream,
): Float32Array {
  const values = new Float32Array(shape.reduce((size, n) => size * n, 1));
  if (start !== undefined) return values.fill(start);
  switch (kind) {
    case "weight":
    case "bias":
      return values.map(() => randomStart(kind, fanIn, initialisation, stream));
    case "scale":
    case "movingVariance":
      return values.fill(1);
    case "shift":
    case "movingMean":
    case "zero":
    case "fixed":
      return values;
    default:
      throw new TypeError(`Unknown kind ${kind satisfies never}`);
  }
}

function randomStart(
  kind: "weight" | "bias",
  fanIn: number,
  initialisation: Initialisation,
  stream: RandomStream,
): number {
  switch (initialisation) {
    // He et al., ICCV 2015.
    case "he":
      return kind === "bias" ? 0 : stream.normal() * Math.sqrt(2 / fanIn);
    // torch.nn.Conv2d and Linear: kaiming_uniform_(a = sqrt(5)).
    case "pytorch":
      return (2 * stream.uniform() - 1) / Math.sqrt(fanIn);
    default:
      throw new TypeError(`Unknown way ${initialisation satisfies never}`);
  }
}
