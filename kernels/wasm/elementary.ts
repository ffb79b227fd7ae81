/**
 * Elementary functions of four f32 at a time, as instructions of a routine. Each
 * is made once a routine, before its loops, and then applied to locals.
 *
 * @module
 */
import type { FunctionBuilder } from "./assembler.ts";

/** Sets the local `out` to the function of the local `x`. */
export type VectorFunction = (x: number, out: number) => void;

// exp(t) = 2^n exp(r), n = t / ln 2 rounded, |r| <= ln 2 / 2. ln 2 is cut in a part
// whose product with n is exact, and a rest.
const LN_2_HIGH = 0.693359375, LN_2_LOW = Math.LN2 - LN_2_HIGH;
// exp(r) = 1 + r p(r), highest power first: the p of degree 4 whose largest
// relative error there is least, 9.2e-8 (by Lawson's iteration).
const EXPONENTIAL = [
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

/** exp(x) of x < 88; exactly 0 for -inf, NaN for NaN. */
export function exponential(
  f: FunctionBuilder,
  relaxed: boolean,
): VectorFunction {
  const constant = constantOf(f);
  const lowest = constant(LOWEST), perLn2 = constant(1 / Math.LN2);
  const high = constant(-LN_2_HIGH), low = constant(-LN_2_LOW);
  const rounder = constant(ROUNDER);
  const [first, ...rest] = EXPONENTIAL.map(constant) as [number, ...number[]];
  const isZero = f.local("v128"), rounded = f.local("v128");
  const n = f.local("v128"), r = f.local("v128"), power = f.local("v128");
  return (x, out) => {
    f.less(x, lowest).set(isZero);
    f.multiplyAdd(x, perLn2, rounder, relaxed).set(rounded);
    f.subtract(rounded, rounder).set(n);
    f.multiplyAdd(n, high, x, relaxed).set(r);
    f.multiplyAdd(n, low, r, relaxed).set(r);
    f.get(first).set(out);
    for (const next of rest) f.multiplyAdd(out, r, next, relaxed).set(out);
    f.powerOfTwo(rounded).set(power).multiply(r, power).set(r);
    f.multiplyAdd(out, r, power, relaxed).set(out);
    f.andNot(out, isZero).set(out);
  };
}

// log(x) = n ln 2 + log(1 + r), 1 + r in [sqrt(1/2), sqrt(2)).
const ROOT_BITS = 0x3f3504f3; // of the f32 sqrt(1/2)
const FRACTION_BITS = 2 ** 23 - 1;
// log(1 + r) = r + r^2 p(r), highest power first: the p of degree 7 whose largest
// error relative to the logarithm is least, 3.0e-8 (by Lawson's iteration).
const LOGARITHM = [
  0.0873484346172464,
  -0.14307522741187,
  0.14917973901198245,
  -0.16570508056494895,
  0.19962072098349307,
  -0.2500175525756577,
  0.3333395022253926,
  -0.49999991606367594,
];

/** log(x) of normal x > 0, to two units in the last place. */
export function logarithm(
  f: FunctionBuilder,
  relaxed: boolean,
): VectorFunction {
  const constant = constantOf(f);
  const root = f.local("v128"), fraction = f.local("v128");
  f.constantIntegers(ROOT_BITS).set(root);
  f.constantIntegers(FRACTION_BITS).set(fraction);
  const one = constant(1), ln2 = constant(Math.LN2);
  const [first, ...rest] = LOGARITHM.map(constant) as [number, ...number[]];
  const bits = f.local("v128"), n = f.local("v128");
  const r = f.local("v128"), square = f.local("v128");
  return (x, out) => {
    f.subtractIntegers(x, root).set(bits);
    f.exponents(bits).set(n);
    f.and(bits, fraction).set(bits).addIntegers(bits, root).set(r);
    f.subtract(r, one).set(r);
    f.get(first).set(out);
    for (const next of rest) f.multiplyAdd(out, r, next, relaxed).set(out);
    f.multiply(r, r).set(square).multiplyAdd(out, square, r, relaxed).set(out);
    f.multiplyAdd(n, ln2, out, relaxed).set(out);
  };
}

/** A local that holds an f32 four times. */
export function constantOf(f: FunctionBuilder): (value: number) => number {
  return (value) => {
    const local = f.local("v128");
    f.constantVector(value).set(local);
    return local;
  };
}
