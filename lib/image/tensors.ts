/**
 * Batches that are made one part after the other: nothing is left on the engine
 * if a part fails.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";

/** A tensor of each item, one after the other; none is left if one fails. */
export async function collected<Item>(
  items: readonly Item[],
  make: (item: Item, index: number) => Promise<tf.Tensor4D>,
): Promise<tf.Tensor4D[]> {
  const made: tf.Tensor4D[] = [];
  try {
    for (const [i, item] of items.entries()) made.push(await make(item, i));
    return made;
  } catch (error) {
    tf.dispose(made);
    throw error;
  }
}

/** Puts tensors together along `axis` and disposes of the parts. */
export function joined(parts: tf.Tensor4D[], axis = 0): tf.Tensor4D {
  if (parts.length === 1) return parts[0]!;
  const all = tf.concat4d(parts, axis);
  tf.dispose(parts);
  return all;
}
