/**
 * Downsampling on the WASM engine: whole rows of a source are summed column by
 * column in vectors of bytes, and the result is shrunk along the row; in vectors,
 * too, if its pixels are boxes of whole pixels.
 *
 * @module
 */
import type * as tf from "@tensorflow/tfjs-core";
import type { Cover } from "./axis_cover.ts";
import type { WriteMeans } from "./area_means.ts";
import { boxMeans, MAX_ROWS, sumRowsOfBytes } from "./wasm_routines.ts";
import { offsetOf, routine, type WasmBackend } from "../wasm/routine.ts";

const PIXEL_BYTES = 4;
const VECTOR_PIXELS = 4;
const BYTES_OF_SUM = 2;
const COLUMN_BYTES = 4 * BYTES_OF_SUM;
// Columns of sums of 16 bits whose sum fits in 31 bits.
const MAX_COLUMNS = 2 ** 15;
const FLOAT_BYTES = 4;

/**
 * Sums of whole rows of one region, packed pixels `[height, width]`, and their
 * means in a result.
 */
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
  readonly #result: Float32Array;
  readonly #resultAt: number;
  readonly #factorOf: tf.TensorInfo;
  readonly #factor: DataView; // one f64
  #boxes: { columns: Cover; width: number } | undefined;

  constructor(
    backend: WasmBackend,
    region: tf.TensorInfo,
    result: tf.TensorInfo,
  ) {
    const [height, width] = region.shape as [number, number];
    this.#backend = backend;
    [this.#height, this.#width] = [height, width];
    this.#scratch = backend.makeOutput([width, 2], "int32");
    this.#factorOf = backend.makeOutput([2], "float32");
    this.#result = backend.typedArrayFromHeap(result);
    this.#resultAt = offsetOf(backend, result);
    const sums = backend.typedArrayFromHeap(this.#scratch);
    this.#sums = new Uint16Array(sums.buffer, sums.byteOffset, width * 4);
    this.#sumsAt = offsetOf(backend, this.#scratch);
    this.#factor = new DataView(
      sums.buffer,
      offsetOf(backend, this.#factorOf),
      8,
    );
    this.#region = offsetOf(backend, region);
    this.#bytes = new Uint8Array(
      sums.buffer,
      this.#region,
      height * width * PIXEL_BYTES,
    );
  }

  [Symbol.dispose](): void {
    for (const { dataId } of [this.#scratch, this.#factorOf]) {
      this.#backend.disposeData(dataId);
    }
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

  /** As {@linkcode WriteMeans}; false if a pixel is no box of whole pixels. */
  writeMeans(
    ...[to, { x, columns }, { first, last, mean }]: Parameters<WriteMeans>
  ): boolean {
    const width = this.#boxWidth(columns);
    const isBox = width > 0 && last - first <= MAX_ROWS &&
      width <= MAX_COLUMNS;
    if (!isBox) return false;
    const count = columns.first.length, start = x + columns.first[0]!;
    const left = Math.max(start, 0);
    const right = Math.min(start + count * width, this.#width);
    const top = Math.max(first, 0), bottom = Math.min(last, this.#height);
    this.#result.fill(0, to, to + 3 * count);
    if (left >= right || top >= bottom) return true;
    this.#sumColumns({ left, right, row: top, rows: bottom - top });
    this.#factor.setFloat64(0, mean, true);
    // The region may cut the first box that it holds, and the last.
    const boxOf = (column: number) => Math.floor((column - start) / width);
    const columnOf = (box: number) => start + box * width;
    const cut = boxOf(left), whole = cut + Number(columnOf(cut) < left);
    const end = Math.max(boxOf(right), whole);
    const ends = Math.min(columnOf(whole), right);
    const write = this.#boxWriter(to, left);
    write(cut, left, { boxes: whole - cut, width: ends - left });
    write(whole, columnOf(whole), { boxes: end - whole, width });
    const rest = right - columnOf(end);
    write(end, columnOf(end), { boxes: Number(rest > 0), width: rest });
    return true;
  }

  /** Writes boxes from a column on to the result's row that begins at `to`. */
  #boxWriter(to: number, left: number) {
    const means = routine(this.#backend, "box_means", boxMeans);
    const factorAt = offsetOf(this.#backend, this.#factorOf);
    return (
      box: number,
      column: number,
      { boxes, width }: { boxes: number; width: number },
    ) => {
      if (boxes === 0) return;
      means(
        this.#sumsAt + (column - left) * COLUMN_BYTES,
        this.#resultAt + (to + 3 * box) * FLOAT_BYTES,
        boxes,
        width,
        factorAt,
      );
    };
  }

  /** Columns of each box, if they are boxes of whole pixels side by side; or 0. */
  #boxWidth(columns: Cover): number {
    if (this.#boxes?.columns !== columns) {
      this.#boxes = { columns, width: boxWidth(columns) };
    }
    return this.#boxes.width;
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
    const end = (right - left) * PIXEL_BYTES;
    if (vectors > 0) {
      const sum = routine(this.#backend, "sum_rows_of_bytes", sumRowsOfBytes);
      sum(this.#region + first, this.#sumsAt, vectors, rows, rowBytes);
      // The last columns: one more vector, which overlaps the one before.
      const last = end - VECTOR_PIXELS * PIXEL_BYTES;
      const lastAt = this.#sumsAt + last * BYTES_OF_SUM;
      sum(this.#region + first + last, lastAt, 1, rows, rowBytes);
      return;
    }
    for (let at = 0; at < end; at++) {
      let sum = 0;
      for (let r = 0; r < rows; r++) {
        sum += this.#bytes[first + at + r * rowBytes]!;
      }
      this.#sums[at] = sum;
    }
  }
}

/** Columns of each box of `columns`; 0 if they are no such boxes. */
function boxWidth({ first, last, before, after }: Cover): number {
  const width = last[0]! - first[0]!;
  const areBoxes = first.every((start, j) =>
    before[j] === 0 && after[j] === 0 && last[j]! - start === width &&
    (j === 0 || start === last[j - 1])
  );
  return areBoxes ? width : 0;
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
