/**
 * Downsampling on the WASM engine: whole rows of a source are summed column by
 * column in vectors of bytes, and the result is shrunk along the row.
 *
 * @module
 */
import type * as tf from "@tensorflow/tfjs-core";
import type { Cover } from "./axis_cover.ts";
import { MAX_ROWS, sumRowsOfBytes } from "./wasm_routines.ts";
import { offsetOf, routine, type WasmBackend } from "../wasm/routine.ts";

const PIXEL_BYTES = 4;
const VECTOR_PIXELS = 4;

/** Sums of whole rows of one region, packed pixels `[height, width]`. */
export class RowSums {
  readonly #backend: WasmBackend;
  readonly #width: number;
  readonly #height: number;
  readonly #region: number; // byte of the heap
  readonly #bytes: Uint8Array;
  /** u16 `[columns, 4]`: sums of the columns from `#left` on. */
  readonly #scratch: tf.TensorInfo;
  readonly #sums: Uint16Array;
  readonly #sumsAt: number;

  constructor(backend: WasmBackend, region: tf.TensorInfo) {
    const [height, width] = region.shape as [number, number];
    this.#backend = backend;
    [this.#height, this.#width] = [height, width];
    this.#scratch = backend.makeOutput([width, 2], "int32");
    const sums = backend.typedArrayFromHeap(this.#scratch);
    this.#sums = new Uint16Array(sums.buffer, sums.byteOffset, width * 4);
    this.#sumsAt = offsetOf(backend, this.#scratch);
    this.#region = offsetOf(backend, region);
    this.#bytes = new Uint8Array(
      sums.buffer,
      this.#region,
      height * width * PIXEL_BYTES,
    );
  }

  [Symbol.dispose](): void {
    this.#backend.disposeData(this.#scratch.dataId);
  }

  /**
   * Adds rows [first, last), shrunk to the coverage of `columns` from `x` on,
   * to `sums`, `[output width, 3]`.
   */
  addRows(
    sums: Float64Array,
    { x, columns }: { x: number; columns: Cover },
    first: number,
    last: number,
  ): void {
    const top = Math.max(first, 0), bottom = Math.min(last, this.#height);
    const left = Math.max(x + columns.first[0]! - 1, 0);
    const right = Math.min(x + columns.last.at(-1)! + 1, this.#width);
    if (left >= right) return;
    for (let row = top; row < bottom; row += MAX_ROWS) {
      const rows = Math.min(MAX_ROWS, bottom - row);
      this.#sumColumns({ left, right, row, rows });
      addShrunk(sums, this.#sums, { left, right, x, columns });
    }
  }

  #sumColumns(
    { left, right, row, rows }: Record<
      "left" | "right" | "row" | "rows",
      number
    >,
  ): void {
    const vectors = Math.floor((right - left) / VECTOR_PIXELS);
    const rowBytes = this.#width * PIXEL_BYTES;
    const first = (row * this.#width + left) * PIXEL_BYTES;
    if (vectors > 0) {
      routine(this.#backend, "sum_rows_of_bytes", sumRowsOfBytes)(
        this.#region + first,
        this.#sumsAt,
        vectors,
        rows,
        rowBytes,
      );
    }
    const end = (right - left) * PIXEL_BYTES;
    for (let at = vectors * VECTOR_PIXELS * PIXEL_BYTES; at < end; at++) {
      let sum = 0;
      for (let r = 0; r < rows; r++) {
        sum += this.#bytes[first + at + r * rowBytes]!;
      }
      this.#sums[at] = sum;
    }
  }
}

/** Adds the columns' sums of [left, right) to the result pixels' `sums`. */
function addShrunk(
  sums: Float64Array,
  columnSums: Uint16Array,
  { left, right, x, columns }: {
    left: number;
    right: number;
    x: number;
    columns: Cover;
  },
): void {
  const { first, last, before, after } = columns;
  for (let j = 0, k = 0; j < first.length; j++, k += 3) {
    const from = x + first[j]!, to = x + last[j]!;
    let red = 0, green = 0, blue = 0;
    const end = (Math.min(to, right) - left) * 4;
    for (let at = (Math.max(from, left) - left) * 4; at < end; at += 4) {
      red += columnSums[at]!;
      green += columnSums[at + 1]!;
      blue += columnSums[at + 2]!;
    }
    sums[k]! += red;
    sums[k + 1]! += green;
    sums[k + 2]! += blue;
    addPart(from - 1, before[j]!, k);
    addPart(to, after[j]!, k);
  }

  /** Adds the covered part of a column. */
  function addPart(column: number, share: number, k: number): void {
    if (share === 0 || column < left || column >= right) return;
    const at = (column - left) * 4;
    sums[k]! += share * columnSums[at]!;
    sums[k + 1]! += share * columnSums[at + 1]!;
    sums[k + 2]! += share * columnSums[at + 2]!;
  }
}
