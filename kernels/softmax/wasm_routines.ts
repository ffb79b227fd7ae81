/**
 * The SIMD routines behind the softmax of the WASM engine. All pointers are in
 * bytes; a round is 16 values, four vectors.
 *
 * @module
 */
import { FunctionBuilder } from "../wasm/assembler.ts";

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

// exp(t) = 2^n exp(r), n = t / ln 2 rounded, |r| <= ln 2 / 2. ln 2 is cut in a part
// whose product with n is exact, and a rest.
const LN_2_HIGH = 0.693359375, LN_2_LOW = Math.LN2 - LN_2_HIGH;
// exp(r) = 1 + r p(r), highest power first: the p of degree 4 whose largest
// relative error there is least, 9.2e-8 (by Lawson's iteration).
const POLYNOMIAL = [
  0.008290306224048022,
  0.041897975352560464,
  0.16667636580640616,
  0.49999149192986053,
  0.9999997070145621,
];
// Added to t / ln 2, it leaves no fraction bits: the lowest nine bits of the
// sum are n, here with the bias of an f32's exponent.
const ROUNDER = 1.5 * 2 ** 23 + 127;
// Below it, exp(t) is less than the smallest normal f32: 0 here.
const LOWEST = -87.3;

/**
 * out = exp(x - highest), its lanes added up to `sums`; exactly 0 for -inf, NaN
 * for NaN. Parameters: x, out, rounds, highest (one f32), sums (four).
 */
export function exponentials(name: string, relaxed: boolean): FunctionBuilder {
  const f = new FunctionBuilder(name, 5);
  const [x, out, rounds, highest, sums] = [0, 1, 2, 3, 4] as const;
  const vector = () => f.local("v128");
  const constant = (value: number) => {
    const local = vector();
    f.constantVector(value).set(local);
    return local;
  };
  const lowest = constant(LOWEST), perLn2 = constant(1 / Math.LN2);
  const high = constant(-LN_2_HIGH), low = constant(-LN_2_LOW);
  const rounder = constant(ROUNDER);
  const [first, ...rest] = POLYNOMIAL.map(constant) as [number, ...number[]];
  const largest = vector(), total = vector();
  f.loadSplat(highest).set(largest);
  const t = vector(), isZero = vector(), rounded = vector(), n = vector();
  const r = vector(), power = vector(), value = vector();
  const exponential = (offset: number) => {
    f.load(x, offset).set(t).subtract(t, largest).set(t);
    f.less(t, lowest).set(isZero);
    f.multiplyAdd(t, perLn2, rounder, relaxed).set(rounded);
    f.subtract(rounded, rounder).set(n);
    f.multiplyAdd(n, high, t, relaxed).set(r);
    f.multiplyAdd(n, low, r, relaxed).set(r);
    f.get(first).set(value);
    for (const next of rest) f.multiplyAdd(value, r, next, relaxed).set(value);
    f.powerOfTwo(rounded).set(power).multiply(r, power).set(r);
    f.multiplyAdd(value, r, power, relaxed).set(value);
    f.andNot(value, isZero).set(value);
    f.add(total, value).set(total);
    f.store(out, value, offset);
  };
  f.repeat(rounds, () => {
    for (const v of ROUND) exponential(v * VECTOR_BYTES);
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
