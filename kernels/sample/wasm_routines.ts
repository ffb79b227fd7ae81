/**
 * The SIMD routine behind the draws of the WASM engine.
 *
 * @module
 */
import { FACTOR, SUMMAND } from "../random.ts";
import { FunctionBuilder } from "../wasm/assembler.ts";
import { constantOf, logarithm } from "../wasm/elementary.ts";

const VECTOR_BYTES = 16;

// log v of 32 bits is log(bits) less this, and more than the f32 are wrong by.
const MARGIN = 1e-5;
const LOG_OF_RANGE = 32 * Math.LN2 + MARGIN;

/**
 * Bounds from below of log E, E ~ Exp(1) the noise of columns of one row of a map:
 * of log v, v = uniform01(pcg4d(row, column, key).x) < E. Parameters: out, vectors,
 * column, and the first round of pcg4d of row, key0 and key1.
 */
export function noiseBounds(name: string, relaxed: boolean): FunctionBuilder {
  const f = new FunctionBuilder(name, 6);
  const [out, vectors, firstColumn, row, key0, key1] = [0, 1, 2, 3, 4, 5];
  const vector = () => f.local("v128");
  const logarithmOf = logarithm(f, relaxed);
  const range = constantOf(f)(LOG_OF_RANGE);
  const [factor, summand, four] = [FACTOR, SUMMAND, 4].map((value) => {
    const local = vector();
    f.constantIntegers(value).set(local);
    return local;
  }) as [number, number, number];
  const column = vector(), product = vector();
  f.splatInteger(firstColumn).set(column);
  f.constantIntegers(0, 1, 2, 3).set(product);
  f.addIntegers(column, product).set(column);
  const start = [row, key0, key1].map((word) => {
    const local = vector();
    f.splatInteger(word).set(local);
    return local;
  }) as [number, number, number];
  const x = vector(), y = vector(), z = vector(), w = vector();
  const log = vector();
  /** to = base + a b */
  const addProduct = (to: number, base: number, a: number, b: number) => {
    f.multiplyIntegers(a, b).set(product);
    f.addIntegers(base, product).set(to);
  };
  return f.repeat(vectors, () => {
    addProduct(y, summand, column, factor);
    addProduct(x, start[0], y, start[2]);
    addProduct(y, y, start[1], x);
    addProduct(z, start[1], x, y);
    addProduct(w, start[2], y, z);
    for (const word of [x, y, w]) f.foldBits(word).set(word);
    addProduct(x, x, y, w);
    f.unsignedToFloats(x).set(x);
    logarithmOf(x, log);
    f.subtract(log, range).set(log).store(out, log);
    f.advanceBy(out, VECTOR_BYTES).addIntegers(column, four).set(column);
  });
}
