/**
 * Tensors as plain values, which go from one engine to another.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import type { BackwardPass } from "../step/backward.ts";
import type { PassValues, TensorValues } from "./protocol.ts";

/** Copies tensors out of the engine. */
export async function valuesOf(
  tensors: ReadonlyMap<string, tf.Tensor>,
): Promise<TensorValues> {
  const all = [...tensors];
  const read = await Promise.all(all.map(([, tensor]) => tensor.data()));
  return new Map(
    all.map(([name, { shape }], i) => [
      name,
      { shape: [...shape], data: read[i] as Float32Array },
    ]),
  );
}

/** Copies values into the engine. */
export function tensorsOf(values: TensorValues): Map<string, tf.Tensor> {
  return new Map(
    [...values].map((
      [name, { shape, data }],
    ) => [name, tf.tensor(data, [...shape])]),
  );
}

/** Gives variables these values; makes those that are missing. */
export function assignValues(
  variables: Map<string, tf.Variable>,
  values: TensorValues,
): void {
  for (const [name, tensor] of tensorsOf(values)) {
    const variable = variables.get(name);
    if (variable) variable.assign(tensor);
    else variables.set(name, tf.variable(tensor));
    tensor.dispose();
  }
}

/** Copies a backward pass out of the engine. */
export async function passValues(
  { gradients, updates, report, goals }: BackwardPass,
): Promise<PassValues> {
  return {
    gradients: await valuesOf(gradients),
    updates: await valuesOf(updates),
    report: await report.data() as Float32Array,
    goals,
  };
}

/** The backward pass of these values; its owner frees it. */
export function passOf(
  { gradients, updates, report, goals }: PassValues,
): BackwardPass {
  return {
    gradients: tensorsOf(gradients),
    updates: tensorsOf(updates),
    report: tf.tensor1d(report),
    goals,
  };
}
