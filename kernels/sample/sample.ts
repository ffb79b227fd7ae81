/**
 * Draws of locations without replacement: Gumbel top-k. Those with replacement
 * follow from it (with_replacement.ts).
 *
 * Location i has weight w_i > 0 and an independent clock
 * that rings at T_i = E_i / w_i, E_i ~ Exp(1). The order in which clocks ring
 * is the order of draws without replacement with p_i = w_i / sum w: the first
 * is i with p_i, the next j with p_j / (1 - p_i), and so on. On a log scale
 *
 *     value_i = -log T_i = log w_i - log E_i = log w_i + Gumbel noise,
 *
 * so the k largest values are k draws, in order, and weights need no
 * normalisation. The input is LOG-weights: noise added to probabilities draws
 * nearly uniformly.
 *
 * Noise: E = exponential(pcg4d(row, column, key0, key1).x), row and column in
 * the whole map: draws are the same on both engines and for any cut in blocks.
 *
 * Sources: Vieira, "Gumbel-max trick and weighted reservoir sampling", 2014;
 * Kool, van Hoof & Welling, "Stochastic Beams and Where to Find Them", ICML
 * 2019 (top-k).
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { Kernel, type TfjsWebGpuInternals } from "../gpu.ts";
import { floatView, intView, kernelConfigs } from "../kernel_config.ts";
import { exponential, type Key, pcg4dFirst } from "../random.ts";
import randomCode from "../random.wgsl" with { type: "text" };
import code from "./sample.wgsl" with { type: "text" };
import { Top } from "./top_k.ts";
import { MAX_COLUMNS, NoiseBounds } from "./wasm.ts";
import type { WasmBackend } from "../wasm/routine.ts";

const TOP = "zoomin/Top";

/** Placement of the locations of a row in the whole map. */
export interface MapPlacement {
  /** Locations in a row of the map that is sampled (or of the block of it). */
  columns: number;
  /** Location of index 0 in the whole map; (0, 0) unless the map is a block. */
  offset?: { row: number; column: number };
}

/** Number and keys of the draws. */
export interface TopGumbelOptions extends MapPlacement {
  /** Locations to draw, a row. */
  k: number;
  /** `[rows * 2]`: one key a row, from `randomKey`. */
  keys: Uint32Array<ArrayBuffer>;
}

/** Draws without replacement, first drawn first; index -1 if none was left. */
export type TopDraws<Integers, Floats> = {
  indices: Integers;
  values: Floats;
};

type Attributes = {
  k: number;
  /** The values are log-weights, to which noise is added. */
  noisy: boolean;
  columns: number;
  rowOffset: number;
  columnOffset: number;
};

/**
 * Draws k locations of each row without replacement, in order. Equal values go
 * to the lower index; a log-weight of -inf is never drawn.
 *
 * @example Draw two of three locations
 * ```ts
 * import * as tf from "@tensorflow/tfjs-core";
 * import { randomKey } from "../random.ts";
 *
 * const logWeights = tf.log(tf.tensor2d([[0.7, 0.2, 0.1]])) as tf.Tensor2D;
 * const keys = Uint32Array.from(randomKey(1));
 * const { indices } = topGumbel(logWeights, { k: 2, keys, columns: 3 });
 * ```
 *
 * @param logWeights `[rows, locations]`, up to a constant a row.
 * @returns indices int32 `[rows, k]` and values float32 `[rows, k]`.
 */
export function topGumbel(
  logWeights: tf.Tensor2D,
  { k, keys, columns, offset = { row: 0, column: 0 } }: TopGumbelOptions,
): TopDraws<tf.Tensor2D, tf.Tensor2D> {
  const [rows] = logWeights.shape;
  if (keys.length !== 2 * rows) {
    throw new TypeError(
      `Cannot draw from ${rows} rows because there must be ${
        2 * rows
      } key words: current value is ${keys.length}`,
    );
  }
  return top(logWeights, keys, {
    k,
    noisy: true,
    columns,
    rowOffset: offset.row,
    columnOffset: offset.column,
  });
}

/**
 * The k largest values of each row, in order: the draws of {@linkcode
 * topGumbel} without noise.
 */
export function topValues(
  values: tf.Tensor2D,
  k: number,
): TopDraws<tf.Tensor2D, tf.Tensor2D> {
  return top(values, new Uint32Array(2 * values.shape[0]), {
    k,
    noisy: false,
    columns: values.shape[1],
    rowOffset: 0,
    columnOffset: 0,
  });
}

function top(
  values: tf.Tensor2D,
  keys: Uint32Array<ArrayBuffer>,
  attributes: Attributes,
): TopDraws<tf.Tensor2D, tf.Tensor2D> {
  const words = new Int32Array(keys.buffer, keys.byteOffset, keys.length);
  const keyTensor = tf.tensor2d(words, [values.shape[0], 2], "int32");
  const [indices, best] = tf.engine().runKernel<tf.Tensor2D[]>(
    TOP,
    { values, keys: keyTensor },
    attributes,
  );
  keyTensor.dispose();
  return { indices: indices!, values: best! };
}

/** {@linkcode topGumbel} as plain loops. */
export function topGumbelReference(
  logWeights: Float32Array,
  { k, keys, columns, offset = { row: 0, column: 0 } }:
    & Omit<TopGumbelOptions, "keys">
    & { keys: Uint32Array | Int32Array },
): TopDraws<Int32Array, Float32Array> {
  return topOfRows(
    logWeights,
    { rows: keys.length / 2, k },
    (top, row, of) =>
      offerRow(top, of, {
        key: [keys[2 * row]!, keys[2 * row + 1]!],
        columns,
        offset,
      }),
  );
}

/** {@linkcode topValues} as plain loops. */
export function topValuesReference(
  values: Float32Array,
  { rows, k }: { rows: number; k: number },
  out?: TopDraws<Int32Array, Float32Array>,
): TopDraws<Int32Array, Float32Array> {
  return topOfRows(values, { rows, k, out }, (top, _, of) => {
    for (let i = 0; i < of.length; i++) {
      if (of[i]! > top.threshold) top.offer(of[i]!, i);
    }
  });
}

/** The k best of each row's values as `offer` supplies them. */
function topOfRows(
  values: Float32Array,
  { rows, k, out }: {
    rows: number;
    k: number;
    out?: TopDraws<Int32Array, Float32Array> | undefined;
  },
  offer: (top: Top, row: number, values: Float32Array) => void,
): TopDraws<Int32Array, Float32Array> {
  const best = out ?? {
    indices: new Int32Array(rows * k),
    values: new Float32Array(rows * k),
  };
  const locations = values.length / rows;
  for (let row = 0; row < rows; row++) {
    const top = new Top(k);
    offer(top, row, values.subarray(row * locations, (row + 1) * locations));
    const start = row * k;
    top.drain(
      best.values.subarray(start, start + k),
      best.indices.subarray(start, start + k),
    );
  }
  return best;
}

function offerRow(
  top: Top,
  logWeights: Float32Array,
  { key, columns, offset }: Required<MapPlacement> & { key: Key },
): void {
  let row = offset.row, column = offset.column;
  const end = offset.column + columns;
  for (let i = 0; i < logWeights.length; i++) {
    const logWeight = logWeights[i]!;
    const bits = pcg4dFirst(row, column, key[0], key[1]);
    // E >= v > 2^-(clz + 1) bounds the value; it spares most logarithms.
    const bound = logWeight + (Math.clz32(bits) + 1) * Math.LN2;
    if (bound > top.threshold) {
      top.offer(Math.fround(logWeight - Math.log(exponential(bits))), i);
    }
    if (++column === end) {
      column = offset.column;
      row++;
    }
  }
}

/** {@linkcode offerRow} by bounds of the noise. */
function offerRowByBounds(
  top: Top,
  logWeights: Float32Array,
  { key, columns, offset, bounds }: Required<MapPlacement> & {
    key: Key;
    bounds: NoiseBounds;
  },
): void {
  let row = offset.row, first = 0; // columns of it that are done
  for (let start = 0; start < logWeights.length;) {
    const left = Math.min(columns - first, logWeights.length - start);
    const count = Math.min(left, MAX_COLUMNS);
    const column = offset.column + first;
    const logs = bounds.of({ row, column, columns: count, key });
    let { threshold } = top;
    for (let j = 0; j < count; j++) {
      const logWeight = logWeights[start + j]!;
      if (logWeight - logs[j]! > threshold) {
        const bits = pcg4dFirst(row, column + j, key[0], key[1]);
        const value = logWeight - Math.log(exponential(bits));
        top.offer(Math.fround(value), start + j);
        ({ threshold } = top);
      }
    }
    start += count;
    first += count;
    if (first === columns) [row, first] = [row + 1, 0];
  }
}

/**
 * Log-weights of the contrastive draws of section 2.3: locations in proportion
 * to 1 - attention, -inf where the attention is 1. `topGumbel` needs no
 * normalisation by |C| - 1. A row of one location has attention 1: nothing can
 * be drawn from it, `topGumbel` gives index -1, and the caller decides.
 */
export function contrastiveLogWeights(attention: tf.Tensor2D): tf.Tensor2D {
  // relu: rounding may leave an attention just above 1.
  return tf.tidy(() => tf.log(tf.relu(tf.sub(1, attention))));
}

// A workgroup sorts a segment; it keeps at most half, so that every pass leaves
// at most half of the candidates.
const SEGMENT = 2048;
const MAX_AT_ONCE = SEGMENT / 2;

// Source of a pass; see sample.wgsl.
const SCORED = 0, PLAIN = 1, CANDIDATES = 2;

const kernel = new Kernel("sample", randomCode + code);

/** Takes the best MAX_AT_ONCE of each row, then the next ones, and so on. */
function topWebGpu(
  backend: TfjsWebGpuInternals,
  source: { values: tf.TensorInfo; keys: tf.TensorInfo },
  attributes: Attributes,
): tf.TensorInfo[] {
  const parts: TopDraws<tf.TensorInfo, tf.TensorInfo>[] = [];
  for (let taken = 0; taken < attributes.k; taken += MAX_AT_ONCE) {
    const k = Math.min(MAX_AT_ONCE, attributes.k - taken);
    parts.push(
      nextWebGpu(backend, source, { ...attributes, k, known: parts.at(-1) }),
    );
  }
  if (parts.length === 1) return [parts[0]!.indices, parts[0]!.values];
  return (["indices", "values"] as const).map((name) => {
    const whole = concatenated(backend, parts.map((part) => part[name]));
    for (const part of parts) backend.disposeData(part[name].dataId);
    return whole;
  });
}

/** The best of each row that are not among the `known` ones, or before them. */
function nextWebGpu(
  backend: TfjsWebGpuInternals,
  source: { values: tf.TensorInfo; keys: tf.TensorInfo },
  { k, noisy, columns, rowOffset, columnOffset, known }: Attributes & {
    known: TopDraws<tf.TensorInfo, tf.TensorInfo> | undefined;
  },
): TopDraws<tf.TensorInfo, tf.TensorInfo> {
  const rows = source.values.shape[0]!;
  let pass = noisy ? SCORED : PLAIN;
  let { values, keys: words } = source;
  for (;;) {
    const length = values.shape[1]!;
    const segments = Math.ceil(length / SEGMENT);
    const left = {
      values: backend.makeTensorInfo([rows, segments * k], "float32"),
      indices: backend.makeTensorInfo([rows, segments * k], "int32"),
    };
    kernel.run(backend, {
      params: new Uint32Array([
        rows,
        length,
        segments,
        k,
        columns,
        rowOffset,
        columnOffset,
        pass,
        pass !== CANDIDATES && known ? known.indices.shape[1]! : 0,
      ]),
      inputs: [
        values,
        words,
        known?.values ?? source.values, // bound, not read
        known?.indices ?? source.keys,
      ],
      outputs: [left.values, left.indices],
      groups: rows * segments,
    });
    if (pass === CANDIDATES) {
      for (const { dataId } of [values, words]) backend.disposeData(dataId);
    }
    if (segments === 1) return left;
    pass = CANDIDATES;
    [values, words] = [left.values, left.indices];
  }
}

/** Tensors `[rows, k]` side by side. */
function concatenated(
  backend: TfjsWebGpuInternals,
  parts: tf.TensorInfo[],
): tf.TensorInfo {
  return tf.getKernel("Concat", "webgpu").kernelFunc({
    inputs: parts as unknown as tf.NamedTensorInfoMap, // an array, for this one
    backend,
    attrs: { axis: 1 },
  }) as tf.TensorInfo;
}

/** The kernel for both engines. */
export const sampleKernels = kernelConfigs<Attributes>(TOP, {
  wasm: ({ backend, inputs, attributes }) => {
    const { k, noisy, columns, rowOffset, columnOffset } = attributes;
    const [rows] = inputs.values!.shape as [number, number];
    const indices = backend.makeOutput([rows, k], "int32");
    const values = backend.makeOutput([rows, k], "float32");
    using bounds = new NoiseBounds(backend as unknown as WasmBackend);
    const out = {
      indices: intView(backend, indices),
      values: floatView(backend, values),
    };
    const source = floatView(backend, inputs.values!);
    if (noisy) {
      const keys = intView(backend, inputs.keys!);
      const offset = { row: rowOffset, column: columnOffset };
      topOfRows(source, { rows, k, out }, (top, row, of) => {
        const key = [keys[2 * row]!, keys[2 * row + 1]!] as const;
        offerRowByBounds(top, of, { key, columns, offset, bounds });
      });
    } else {
      topValuesReference(source, { rows, k }, out);
    }
    return [indices, values];
  },
  webgpu: ({ backend, inputs, attributes }) =>
    topWebGpu(
      backend,
      { values: inputs.values!, keys: inputs.keys! },
      attributes,
    ),
});
