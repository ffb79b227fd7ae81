/**
 * Draws from maps of both stages that are on the engine as a whole.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import {
  drawExpected,
  drawWithReplacement,
  NothingToDrawError,
} from "../../../../kernels/sample/with_replacement.ts";
import { type Key, RandomStream } from "../../../../kernels/random.ts";
import {
  contrastiveLogWeights,
  type TopDraws,
  topGumbel,
  topValues,
} from "../../../../kernels/sample/sample.ts";
import { attentionSoftmax } from "../../../../kernels/softmax/softmax.ts";
import type { MapSize } from "../../../image/geometry.ts";
import {
  type SystematicDraws,
  systematicDraws,
} from "../../../sampling/systematic.ts";

/** Distinct locations of a map, and how often each was drawn. */
export interface TileCounts {
  indices: number[];
  counts: number[];
}

/** N draws with replacement from each row of log-weights. */
export async function drawTileRows(
  logWeights: tf.Tensor2D,
  { keys, map, samples }: { keys: Key[]; map: MapSize; samples: number },
): Promise<TileCounts[]> {
  const k = Math.min(samples, logWeights.shape[1]);
  const drawn = await gumbelRows(logWeights, { k, keys, columns: map.columns });
  return keys.map((key, row) =>
    drawWithReplacement(rowOf(drawn, row, k), {
      samples,
      key,
      columns: map.columns,
    })
  );
}

/** The counts that N draws from each row of logits are expected to give. */
export async function drawExpectedTiles(
  logits: tf.Tensor2D,
  samples: number,
): Promise<TileCounts[]> {
  const [rows, locations] = logits.shape;
  const k = Math.min(samples, locations);
  const largest = await read(
    tf.tidy(() => topValues(attentionSoftmax(logits), k)),
  );
  return Array.from(
    { length: rows },
    (_, row) => drawExpected(rowOf(largest, row, k), samples),
  );
}

/**
 * Draws without replacement from each row: as many as its count, or as there are
 * to be drawn.
 *
 * @returns the locations of each row, first drawn first.
 * @throws {NothingToDrawError} If there are none in a row.
 */
export async function drawSubTileRows(
  logWeights: tf.Tensor2D,
  { draws, counts, ...options }: {
    draws: "seeded" | "topN";
    counts: readonly number[];
    keys: readonly Key[];
    columns: number;
  },
): Promise<number[][]> {
  const locations = logWeights.shape[1];
  const k = Math.min(Math.max(...counts), locations);
  const { indices } = draws === "topN"
    ? await read(topValues(logWeights, k))
    : await gumbelRows(logWeights, { k, ...options });
  return counts.map((count, row) => {
    const start = row * k, end = start + Math.min(count, locations);
    const drawn = Array.from(indices.subarray(start, end))
      .filter((index) => index >= 0);
    if (drawn.length === 0) {
      throw nothingInTile(count);
    }
    return drawn;
  });
}

/**
 * Systematic draws from each row: as many as its count.
 *
 * @param logWeights of all rows, `[rows * locations]`.
 * @throws {NothingToDrawError} If there are none in a row.
 */
export function drawSystematicRows(
  logWeights: Float32Array,
  { counts, keys }: { counts: readonly number[]; keys: readonly Key[] },
): SystematicDraws[] {
  const locations = logWeights.length / counts.length;
  return counts.map((count, row) => {
    const own = logWeights.subarray(row * locations, (row + 1) * locations);
    const start = new RandomStream(keys[row]!).uniform();
    const drawn = systematicDraws(
      Float64Array.from(own, Math.exp),
      count,
      start,
    );
    if (drawn.indices.length === 0) throw nothingInTile(count);
    return drawn;
  });
}

function nothingInTile(count: number): NothingToDrawError {
  return new NothingToDrawError(
    `Cannot draw ${count} sub-tiles, because no location of their tile has a weight above 0`,
  );
}

/**
 * Log-weights of 1 - softmax(logits); the logits, if a row has one location.
 *
 * @param options.mask 0 or -Infinity, as was added to the logits.
 * @param options.locations number of locations that the mask leaves in each row.
 */
export function contrastiveWeights(
  logits: tf.Tensor2D,
  { mask, locations }: {
    mask?: tf.Tensor2D | undefined;
    locations?: readonly number[];
  } = {},
): tf.Tensor2D {
  return tf.tidy(() => {
    const [rows, columns] = logits.shape;
    const isOnly = Array.from(
      { length: rows },
      (_, row) => (locations?.[row] ?? columns) === 1,
    );
    if (isOnly.every(Boolean)) return tf.clone(logits);
    const weights = contrastiveLogWeights(attentionSoftmax(logits));
    const masked: tf.Tensor2D = mask ? tf.add(weights, mask) : weights;
    return isOnly.some(Boolean)
      ? tf.where(tf.tensor2d(isOnly, [rows, 1], "bool"), logits, masked)
      : masked;
  });
}

async function gumbelRows(
  logWeights: tf.Tensor2D,
  { k, keys, columns }: { k: number; keys: readonly Key[]; columns: number },
): Promise<Drawn> {
  return await read(topGumbel(logWeights, {
    k,
    keys: new Uint32Array(keys.flat()),
    columns,
  }));
}

type Drawn = TopDraws<Int32Array, Float32Array>;

async function read(
  { indices, values }: TopDraws<tf.Tensor2D, tf.Tensor2D>,
): Promise<Drawn> {
  const read = await Promise.all([indices.data(), values.data()]);
  tf.dispose([indices, values]);
  return { indices: read[0] as Int32Array, values: read[1] as Float32Array };
}

/** The k draws of one row. */
function rowOf({ indices, values }: Drawn, row: number, k: number): Drawn {
  const [start, end] = [row * k, (row + 1) * k];
  return {
    indices: indices.subarray(start, end),
    values: values.subarray(start, end),
  };
}
