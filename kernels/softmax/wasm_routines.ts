/**
 * The SIMD routines behind the softmax of the WASM engine. All pointers are in
 * bytes; a round is 16 values, four vectors.
 *
 * @module
 */
import { FunctionBuilder } from "../wasm/assembler.ts";
import { exponential } from "../wasm/elementary.ts";

const VECTOR_BYTES = 16;
const ROUND = [0, 1, 2, 3] as const; // its vectors

/** Values of a round. */
export const ROUND_VALUES = 4 * ROUND.length;
const ROUND_BYTES = ROUND.length * VECTOR_BYTES;

/** out = the maximum of each lane. Parameters: x, out, rounds. */
export function largestOfLanes(name: string): FunctionBuilder {
  const f = new FunctionBuilder(name, 3);
  const [x, out, rounds] = [0, 1, 2] as const;
  const value = f.local("v128");
  // One for each vector of a round, so that none depends on another.
  const largest = ROUND.map(() => f.local("v128"));
  const [whole, ...others] = largest as [number, ...number[]];
  for (const own of largest) f.load(x).set(own);
  f.repeat(rounds, () => {
    largest.forEach((own, v) => {
      f.load(x, v * VECTOR_BYTES).set(value).maximum(own, value).set(own);
    });
    f.advanceBy(x, ROUND_BYTES);
  });
  for (const own of others) f.maximum(whole, own).set(whole);
  return f.store(out, whole);
}

/**
 * out = exp(x - highest), its lanes added up to `sums`; exactly 0 for -inf, NaN
 * for NaN. Parameters: x, out, rounds, highest (one f32), sums (four).
 */
export function exponentials(name: string, relaxed: boolean): FunctionBuilder {
  const f = new FunctionBuilder(name, 5);
  const [x, out, rounds, highest, sums] = [0, 1, 2, 3, 4] as const;
  const exponentialOf = exponential(f, relaxed);
  const largest = f.local("v128"), total = f.local("v128");
  const t = f.local("v128"), value = f.local("v128");
  f.loadSplat(highest).set(largest);
  f.repeat(rounds, () => {
    for (const offset of ROUND.map((v) => v * VECTOR_BYTES)) {
      f.load(x, offset).set(t).subtract(t, largest).set(t);
      exponentialOf(t, value);
      f.add(total, value).set(total);
      f.store(out, value, offset);
    }
    for (const at of [x, out]) f.advanceBy(at, ROUND_BYTES);
  });
  return f.store(sums, total);
}

/** x *= factor. Parameters: x, rounds, factor (one f32). */
export function scaleValues(name: string): FunctionBuilder {
  const f = new FunctionBuilder(name, 3);
  const [x, rounds, factor] = [0, 1, 2] as const;
  const scale = f.local("v128"), value = f.local("v128");
  f.loadSplat(factor).set(scale);
  f.repeat(rounds, () => {
    for (const offset of ROUND.map((v) => v * VECTOR_BYTES)) {
      f.load(x, offset).set(value).multiply(value, scale).set(value);
      f.store(x, value, offset);
    }
    f.advanceBy(x, ROUND_BYTES);
  });
  return f;
}
