/**
 * The SIMD routine behind the downsampling of the WASM engine.
 *
 * @module
 */
import { FunctionBuilder } from "../wasm/assembler.ts";

const VECTOR_BYTES = 16;

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
