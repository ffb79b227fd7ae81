/**
 * The entropies on the WASM engine, in vectors. Sums are float64 except within runs
 * of 32 additions, so they stay accurate for 10^7 locations.
 *
 * @module
 */
import type * as tf from "@tensorflow/tfjs-core";
import { entropyRounds, entropySlopes, ROUND_VALUES } from "./wasm_routines.ts";
import { offsetOf, routine, type WasmBackend } from "../wasm/routine.ts";

const LANES = 4;
const FLOAT_BYTES = 4;
// Rounds whose values are summed in f32, lane by lane.
const RUN = 8;

/** Sums of p log(p + epsilon) and -p log p of each row, `[rows, 2]`. */
export function wasmEntropySums(
  backend: WasmBackend,
  attention: tf.TensorInfo,
  epsilon: number,
): tf.TensorInfo {
  const [rows, locations] = attention.shape as [number, number];
  const result = backend.makeOutput([rows, 2], "float32");
  using last = new LastRound(backend, locations);
  const lanes = backend.makeOutput([2 * LANES], "float32");
  const sums = backend.typedArrayFromHeap(result);
  const partial = backend.typedArrayFromHeap(lanes);
  const lanesAt = offsetOf(backend, lanes);
  const sumRounds = routine(backend, "entropy_sums", entropyRounds(epsilon));
  for (let row = 0; row < rows; row++) {
    let negative = 0, entropy = 0;
    const add = (at: number, rounds: number) => {
      sumRounds(at, rounds, lanesAt);
      for (let lane = 0; lane < LANES; lane++) {
        negative += partial[lane]!;
        entropy -= partial[LANES + lane]!;
      }
    };
    const at = offsetOf(backend, attention) + row * locations * FLOAT_BYTES;
    for (let round = 0; round < last.rounds; round += RUN) {
      const shift = round * ROUND_VALUES * FLOAT_BYTES;
      add(at + shift, Math.min(RUN, last.rounds - round));
    }
    if (last.count > 0) add(last.copyOf(attention, row), 1);
    sums[2 * row] = negative;
    sums[2 * row + 1] = entropy;
  }
  backend.disposeData(lanes.dataId);
  return result;
}

/** upstream w_r (log(p + epsilon) + p / (p + epsilon)), `[rows, locations]`. */
export function wasmEntropyGradient(
  backend: WasmBackend,
  { attention, weights, upstream }: Record<
    "attention" | "weights" | "upstream",
    tf.TensorInfo
  >,
  epsilon: number,
): tf.TensorInfo {
  const [rows, locations] = attention.shape as [number, number];
  const result = backend.makeOutput(attention.shape, "float32");
  using last = new LastRound(backend, locations);
  const factor = backend.makeOutput([1], "float32");
  const [ofRows, given, factorOfRow, gradient] = [
    weights,
    upstream,
    factor,
    result,
  ].map((info) => backend.typedArrayFromHeap(info)) as [
    Float32Array,
    Float32Array,
    Float32Array,
    Float32Array,
  ];
  const [from, to, factorAt] = [attention, result, factor]
    .map((info) => offsetOf(backend, info)) as [number, number, number];
  const slopes = routine(backend, "entropy_slopes", entropySlopes(epsilon));
  for (let row = 0; row < rows; row++) {
    factorOfRow[0] = given[0]! * ofRows[row]!;
    const start = row * locations * FLOAT_BYTES;
    if (last.rounds > 0) {
      slopes(from + start, to + start, last.rounds, factorAt);
    }
    if (last.count > 0) {
      const at = last.copyOf(attention, row);
      slopes(at, at, 1, factorAt);
      gradient.set(last.values, (row + 1) * locations - last.count);
    }
  }
  backend.disposeData(factor.dataId);
  return result;
}

/** The values of a row that fill no round, copied to one and followed by zeros. */
class LastRound {
  readonly rounds: number; // before it
  readonly count: number;
  readonly #backend: WasmBackend;
  readonly #scratch: tf.TensorInfo;

  constructor(backend: WasmBackend, locations: number) {
    this.#backend = backend;
    this.rounds = Math.floor(locations / ROUND_VALUES);
    this.count = locations % ROUND_VALUES;
    this.#scratch = backend.makeOutput([ROUND_VALUES], "float32");
  }

  [Symbol.dispose](): void {
    this.#backend.disposeData(this.#scratch.dataId);
  }

  /** Byte of the copy of the last values of a row. */
  copyOf(tensor: tf.TensorInfo, row: number): number {
    const [, locations] = tensor.shape as [number, number];
    const end = (row + 1) * locations;
    const round = this.#backend.typedArrayFromHeap(this.#scratch).fill(0);
    round.set(
      this.#backend.typedArrayFromHeap(tensor).subarray(end - this.count, end),
    );
    return offsetOf(this.#backend, this.#scratch);
  }

  /** The copied values. */
  get values(): Float32Array {
    return this.#backend.typedArrayFromHeap(this.#scratch)
      .subarray(0, this.count);
  }
}
