/**
 * The SIMD routines behind the downsampling of the WASM engine.
 *
 * @module
 */
import { FunctionBuilder } from "../wasm/assembler.ts";

const VECTOR_BYTES = 16;
const COLUMN_BYTES = 8; // four u16
const PIXEL_BYTES = 12; // three f32

/** Rows of bytes whose sum fits in 16 bits. */
export const MAX_ROWS = 257;

/**
 * Sums of bytes over rows, column by column, as u16. Parameters: first byte of
 * the rows, out, vectors of 16 bytes, rows, bytes from a row to the next.
 */
export function sumRowsOfBytes(name: string): FunctionBuilder {
  const f = new FunctionBuilder(name, 5);
  const [bytes, out, vectors, rows, rowBytes] = [0, 1, 2, 3, 4] as const;
  const at = f.local("i32"), value = f.local("v128");
  const low = f.local("v128"), high = f.local("v128");
  f.repeat(vectors, () => {
    for (const sum of [low, high]) f.zero().set(sum);
    f.get(bytes).set(at);
    f.repeat(rows, () => {
      f.load(at).set(value);
      f.addBytes(low, value, "low").set(low);
      f.addBytes(high, value, "high").set(high);
      f.advance(at, rowBytes);
    });
    f.store(out, low).store(out, high, VECTOR_BYTES);
    f.advanceBy(bytes, VECTOR_BYTES).advanceBy(out, 2 * VECTOR_BYTES);
  });
  return f;
}

/**
 * Means of boxes of columns from their sums, which are four u16 a column, as three
 * f32 a box. Parameters: first column, out, boxes, columns of a box, the factor
 * that makes a mean of a sum (one f64).
 */
export function boxMeans(name: string): FunctionBuilder {
  const f = new FunctionBuilder(name, 5);
  const [column, out, boxes, columns, factor] = [0, 1, 2, 3, 4] as const;
  const sum = f.local("v128"), scale = f.local("v128"), mean = f.local("v128");
  f.loadDoubles(factor).set(scale);
  return f.repeat(boxes, () => {
    f.zero().set(sum);
    f.repeat(columns, () => {
      f.addShorts(sum, column).set(sum).advanceBy(column, COLUMN_BYTES);
    });
    f.scaleIntegers(sum, scale).set(mean).storeHalf(out, mean);
    f.shuffle(sum, sum, [2, 3, 2, 3]).set(sum);
    f.scaleIntegers(sum, scale).set(mean).storeLane(out, mean, COLUMN_BYTES);
    f.advanceBy(out, PIXEL_BYTES);
  });
}
