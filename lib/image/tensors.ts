/**
 * Batches built one part after the other: no tensor leaks if a part fails.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { turn } from "../turn.ts";

/**
 * A tensor of each item, in order; all are disposed of if one fails.
 *
 * @param most items at a time.
 */
export async function collected<Item>(
  items: readonly Item[],
  make: (item: Item, index: number) => Promise<tf.Tensor4D>,
  most = 1,
): Promise<tf.Tensor4D[]> {
  const made: tf.Tensor4D[] = [];
  for (let at = 0; at < items.length; at += most) {
    await turn(); // the reading of an item looks for an abort
    const some = items.slice(at, at + most);
    const settled = await Promise.allSettled(
      some.map((item, i) => make(item, at + i)),
    );
    for (const one of settled) {
      if (one.status === "fulfilled") made.push(one.value);
    }
    const failed = settled.find(({ status }) => status === "rejected");
    if (failed) {
      tf.dispose(made);
      throw (failed as PromiseRejectedResult).reason;
    }
  }
  return made;
}

/** Concatenates tensors along `axis` and disposes of the parts. */
export function joined(parts: tf.Tensor4D[], axis = 0): tf.Tensor4D {
  if (parts.length === 1) return parts[0]!;
  const all = tf.concat4d(parts, axis);
  tf.dispose(parts);
  return all;
}
