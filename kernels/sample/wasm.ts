/**
 * The noise of the draws on the WASM engine, in vectors: a bound of it, which spares
 * most locations the noise itself.
 *
 * @module
 */
import type * as tf from "@tensorflow/tfjs-core";
import { FACTOR, type Key, SUMMAND } from "../random.ts";
import { noiseBounds } from "./wasm_routines.ts";
import {
  offsetOf,
  type Routine,
  routine,
  type WasmBackend,
} from "../wasm/routine.ts";

const LANES = 4;

/** Columns of a row of a map whose bounds are made at once. */
export const MAX_COLUMNS = 4096;

/**
 * Bounds from below of log E, E ~ Exp(1) the noise of each location of a map. Make
 * outputs first: the heap must not grow before they are disposed of.
 */
export class NoiseBounds {
  readonly #backend: WasmBackend;
  readonly #scratch: tf.TensorInfo;
  readonly #logs: Float32Array;
  readonly #logsAt: number;
  readonly #run: Routine;

  constructor(backend: WasmBackend) {
    this.#backend = backend;
    this.#scratch = backend.makeOutput([MAX_COLUMNS], "float32");
    this.#logs = backend.typedArrayFromHeap(this.#scratch);
    this.#logsAt = offsetOf(backend, this.#scratch);
    this.#run = routine(backend, "noise_bounds", noiseBounds);
  }

  [Symbol.dispose](): void {
    this.#backend.disposeData(this.#scratch.dataId);
  }

  /** Those of `columns` locations, at most {@linkcode MAX_COLUMNS}. */
  of(
    { row, column, columns, key }: {
      row: number;
      column: number;
      columns: number;
      key: Key;
    },
  ): Float32Array {
    this.#run(
      this.#logsAt,
      Math.ceil(columns / LANES),
      column,
      started(row),
      started(key[0]),
      started(key[1]),
    );
    return this.#logs;
  }
}

/** The first round of pcg4d of a word. */
function started(word: number): number {
  return (Math.imul(word, FACTOR) + SUMMAND) | 0;
}
