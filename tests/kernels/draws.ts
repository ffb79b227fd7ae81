/** Draws from small maps, for tests of draws. */
import * as tf from "@tensorflow/tfjs-core";
import { type Key, randomKey, RandomStream } from "../../kernels/random.ts";
import {
  type TopDraws,
  topGumbel,
  topGumbelReference,
} from "../../kernels/sample/sample.ts";

/** Shares of five locations. */
export const P = [0.45, 0.25, 0.15, 0.1, 0.05];

/** One key a row. */
export function keysOf(rows: number, seed: number): Uint32Array<ArrayBuffer> {
  const keys = new Uint32Array(2 * rows);
  for (let row = 0; row < rows; row++) {
    keys.set(randomKey(seed, row), 2 * row);
  }
  return keys;
}

export function keyAt(keys: Uint32Array, row: number): Key {
  return [keys[2 * row]!, keys[2 * row + 1]!];
}

export function normals(count: number): Float32Array {
  const stream = new RandomStream(randomKey(count));
  return Float32Array.from({ length: count }, () => 2 * stream.normal());
}

/** Draws of an engine, and of the reference. */
export interface Drawn extends TopDraws<Int32Array, Float32Array> {
  keys: Uint32Array<ArrayBuffer>;
  reference: TopDraws<Int32Array, Float32Array>;
}

/** Draws k of each row on the current engine. */
export async function draw(
  logWeights: Float32Array,
  { rows = 1, k, seed, columns }: {
    rows?: number;
    k: number;
    seed: number;
    columns?: number;
  },
): Promise<Drawn> {
  const locations = logWeights.length / rows;
  const keys = keysOf(rows, seed);
  const options = { k, keys, columns: columns ?? locations };
  const { indices, values } = tf.tidy(() =>
    topGumbel(tf.tensor2d(logWeights, [rows, locations]), options)
  );
  const drawn = {
    indices: await indices.data() as Int32Array,
    values: await values.data() as Float32Array,
    keys,
    reference: topGumbelReference(logWeights, options),
  };
  tf.dispose([indices, values]);
  return drawn;
}

/** Many draws of k of `weights`: the same row repeated. */
export async function drawRows(
  weights: number[],
  { rows, k, seed }: { rows: number; k: number; seed: number },
): Promise<Drawn> {
  const all = Float32Array.from(
    { length: rows * weights.length },
    (_, i) => weights[i % weights.length]!,
  );
  return await draw(all, { rows, k, seed });
}
