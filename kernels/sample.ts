/**
 * Draws of locations: Gumbel top-k, and what follows from it.
 *
 * WITHOUT replacement. Location i has weight w_i > 0 and an independent clock
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
 * WITH replacement. Let each clock ring again and again: a Poisson process of
 * rate w_i per location. The superposition of the processes is a Poisson
 * process whose arrivals belong to i with probability w_i / sum w,
 * independently of each other: the N earliest arrivals are N i.i.d. draws.
 * Arrival m of location i comes at
 *
 *     T_i,m = (E_i,1 + ... + E_i,m) / w_i = exp(-value_i) (E_i,1 + ... + E_i,m) / E_i,1,
 *
 * so `value_i` and the location's own noise are enough, and only the N
 * locations that ring first can be among the N earliest arrivals:
 * `topGumbel` with k = min(N, locations), then `drawWithReplacement`.
 *
 * Noise: E = exponential(pcg4d(row, column, key0, key1).x), row and column in
 * the whole map: draws are the same on both engines and for any cut in blocks.
 *
 * Sources: Vieira, "Gumbel-max trick and weighted reservoir sampling", 2014;
 * Kool, van Hoof & Welling, "Stochastic Beams and Where to Find Them", ICML
 * 2019 (top-k); Kingman, "Poisson Processes", 1993, section 2.2
 * (superposition).
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { Kernel, type TfjsWebGpuInternals } from "./gpu.ts";
import { floatView, intView, kernelConfigs } from "./kernel_config.ts";
import { exponential, type Key, pcg4d, pcg4dFirst } from "./random.ts";
import randomCode from "./random.wgsl" with { type: "text" };
import code from "./sample.wgsl" with { type: "text" };
import { Top } from "./top.ts";

const TOP = "zoomin/Top";

/** Where the locations of a row lie in the whole map. */
export interface MapPlacement {
  /** Locations in a row of the map that is sampled (or of the block of it). */
  columns: number;
  /** Location of index 0 in the whole map; (0, 0) unless the map is a block. */
  offset?: { row: number; column: number };
}

/** What to draw. */
export interface TopGumbelOptions extends MapPlacement {
  /** Locations to draw, a row. */
  k: number;
  /** `[rows * 2]`: one key a row, from `randomKey`. */
  keys: Uint32Array<ArrayBuffer>;
}

/** Draws without replacement, first drawn first; index -1 where none was left. */
export type Draws<Integers, Floats> = {
  indices: Integers;
  values: Floats;
};

type Attributes = {
  k: number;
  /** Whether the values are log-weights, and get noise. */
  noisy: boolean;
  columns: number;
  rowOffset: number;
  columnOffset: number;
};

/**
 * Draws k locations of each row without replacement, in order. Equal values go
 * to the lower index; a log-weight of -inf is never drawn.
 *
 * @param logWeights `[rows, locations]`, up to a constant a row.
 * @returns indices int32 `[rows, k]` and values float32 `[rows, k]`.
 */
export function topGumbel(
  logWeights: tf.Tensor2D,
  { k, keys, columns, offset = { row: 0, column: 0 } }: TopGumbelOptions,
): Draws<tf.Tensor2D, tf.Tensor2D> {
  const [rows] = logWeights.shape;
  if (keys.length !== 2 * rows) {
    throw new TypeError(
      `Cannot draw from ${rows} rows as there must be ${
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
 * The k largest values of each row, in order: what {@linkcode topGumbel} draws
 * without noise.
 */
export function topValues(
  values: tf.Tensor2D,
  k: number,
): Draws<tf.Tensor2D, tf.Tensor2D> {
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
): Draws<tf.Tensor2D, tf.Tensor2D> {
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
  out?: Draws<Int32Array, Float32Array>,
): Draws<Int32Array, Float32Array> {
  return topOfRows(
    logWeights,
    { rows: keys.length / 2, k, out },
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
  out?: Draws<Int32Array, Float32Array>,
): Draws<Int32Array, Float32Array> {
  return topOfRows(values, { rows, k, out }, (top, _, of) => {
    for (let i = 0; i < of.length; i++) {
      if (of[i]! > top.threshold) top.offer(of[i]!, i);
    }
  });
}

/** The k best of what `offer` offers of each row. */
function topOfRows(
  values: Float32Array,
  { rows, k, out }: {
    rows: number;
    k: number;
    out: Draws<Int32Array, Float32Array> | undefined;
  },
  offer: (top: Top, row: number, values: Float32Array) => void,
): Draws<Int32Array, Float32Array> {
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

/**
 * Draws `samples` locations with replacement from what `topGumbel` left of one
 * row with k = min(samples, locations), and with the same key and placement.
 *
 * @returns the distinct locations in the order of their first draw, and how
 * often each was drawn; the counts add up to `samples`.
 * @throws {RangeError} If no location can be drawn.
 */
export function drawWithReplacement(
  { indices, values }: Draws<ArrayLike<number>, ArrayLike<number>>,
  { samples, key, columns, offset = { row: 0, column: 0 } }: MapPlacement & {
    samples: number;
    key: Key;
  },
): { indices: number[]; counts: number[] } {
  if (!(indices[0]! >= 0)) {
    throw new RangeError(
      `Cannot draw ${samples} samples as no location has a weight above 0`,
    );
  }
  const clocks: Clock[] = []; // of the locations drawn so far
  let candidate = clockAt(0);
  for (let n = 0; n < samples; n++) {
    let next = candidate;
    for (const clock of clocks) {
      if (!next || clock.time < next.time) next = clock;
    }
    if (next === candidate) {
      clocks.push(candidate!);
      candidate = clockAt(clocks.length);
    }
    next!.ring();
  }
  return {
    indices: clocks.map((clock) => clock.index),
    counts: clocks.map((clock) => clock.count),
  };

  /** The candidate at `rank`, its clock set to its first arrival. */
  function clockAt(rank: number): Clock | undefined {
    const index = indices[rank] ?? -1;
    if (index < 0) return undefined;
    return new Clock(index, {
      firstTime: Math.exp(values[0]! - values[rank]!), // in units of the first
      row: offset.row + Math.floor(index / columns),
      column: offset.column + (index % columns),
      key,
    });
  }
}

/** The Poisson process of one location. */
class Clock {
  count = 0;
  time: number;
  #sum: number; // of the exponentials so far
  readonly #perUnit: number; // 1 / w, in units of the earliest arrival

  constructor(
    readonly index: number,
    private readonly place: {
      firstTime: number;
      row: number;
      column: number;
      key: Key;
    },
  ) {
    this.#sum = this.#noise(1);
    this.#perUnit = place.firstTime / this.#sum;
    this.time = place.firstTime;
  }

  /** Counts the arrival at `time` and sets the next one. */
  ring(): void {
    this.count++;
    this.#sum += this.#noise(this.count + 1);
    this.time = this.#perUnit * this.#sum;
  }

  /** The exponential before arrival `m`; the one of topGumbel for m = 1. */
  #noise(m: number): number {
    const { row, column, key } = this.place;
    const [first, second] = m === 1 ? key : pcg4d(m, 0, key[0], key[1]);
    return exponential(pcg4d(row, column, first, second)[0]);
  }
}

/**
 * The counts that N draws are expected to give: N alpha rounded by largest
 * remainder (ties to the lower index), so that they add up to N. Deterministic.
 *
 * A location that is given a count is among the N of the largest attention: of
 * those with N alpha >= 1 there are at most N, and where N alpha < 1 it is the
 * remainder. So what `topValues` leaves of one row with k = min(N, locations) is
 * enough.
 *
 * @returns the locations with a count above 0, in order of index.
 * @throws {RangeError} If no location can be drawn.
 */
export function drawExpected(
  { indices, values }: Draws<ArrayLike<number>, ArrayLike<number>>,
  samples: number,
): { indices: number[]; counts: number[] } {
  if (!(indices[0]! >= 0 && values[0]! > 0)) {
    throw new RangeError(
      `Cannot expect ${samples} samples as no location has a weight above 0`,
    );
  }
  const draws = new ExpectedDraws(samples);
  for (let rank = 0; rank < indices.length; rank++) {
    if (indices[rank]! >= 0) draws.offer(values[rank]!, indices[rank]!);
  }
  return draws.draw();
}

/** {@linkcode drawExpected} of attention, in all 1, that is offered bit by bit. */
export class ExpectedDraws {
  readonly #counts = new Map<number, number>();
  readonly #rests: Top;
  #left: number;

  constructor(readonly samples: number) {
    this.#rests = new Top(samples);
    this.#left = samples;
  }

  /** Returns whether the location may be among those drawn. */
  offer(attention: number, index: number): boolean {
    const expected = attention * this.samples;
    const whole = Math.floor(expected);
    if (whole > 0) this.#counts.set(index, whole);
    this.#left -= whole;
    const rest = expected - whole;
    return this.#rests.offer(rest, index) || whole > 0;
  }

  /** The locations with a count above 0, in order of index. */
  draw(): { indices: number[]; counts: number[] } {
    const winners = new Int32Array(this.#rests.k);
    this.#rests.drain(new Float64Array(this.#rests.k), winners);
    for (const index of winners.subarray(0, Math.max(0, this.#left))) {
      if (index < 0) break;
      this.#counts.set(index, (this.#counts.get(index) ?? 0) + 1);
    }
    const indices = [...this.#counts.keys()].sort((a, b) => a - b);
    return { indices, counts: indices.map((i) => this.#counts.get(i)!) };
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
const MOST_AT_ONCE = SEGMENT / 2;

// What a pass reads; see sample.wgsl.
const SCORED = 0, PLAIN = 1, CANDIDATES = 2;

const kernel = new Kernel("sample", randomCode + code);

/** Takes the best MOST_AT_ONCE of each row, then those that follow them, ... */
function topWebGpu(
  backend: TfjsWebGpuInternals,
  source: { values: tf.TensorInfo; keys: tf.TensorInfo },
  attributes: Attributes,
): tf.TensorInfo[] {
  const parts: Draws<tf.TensorInfo, tf.TensorInfo>[] = [];
  for (let taken = 0; taken < attributes.k; taken += MOST_AT_ONCE) {
    const k = Math.min(MOST_AT_ONCE, attributes.k - taken);
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
    known: Draws<tf.TensorInfo, tf.TensorInfo> | undefined;
  },
): Draws<tf.TensorInfo, tf.TensorInfo> {
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
    const out = {
      indices: intView(backend, indices),
      values: floatView(backend, values),
    };
    const source = floatView(backend, inputs.values!);
    if (noisy) {
      topGumbelReference(source, {
        k,
        keys: intView(backend, inputs.keys!),
        columns,
        offset: { row: rowOffset, column: columnOffset },
      }, out);
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
