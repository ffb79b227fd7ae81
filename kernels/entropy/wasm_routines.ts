/**
 * The SIMD routines behind the entropies of the WASM engine. All pointers are in
 * bytes; a round is 16 values, four vectors.
 *
 * @module
 */
import { FunctionBuilder } from "../wasm/assembler.ts";
import { constantOf, logarithm } from "../wasm/elementary.ts";

const VECTOR_BYTES = 16;
const OFFSETS = [0, 1, 2, 3].map((v) => v * VECTOR_BYTES); // of a round's vectors

/** Values of a round. */
export const ROUND_VALUES = 4 * OFFSETS.length;
const ROUND_BYTES = OFFSETS.length * VECTOR_BYTES;

type Build = (name: string, relaxed: boolean) => FunctionBuilder;

/**
 * Sums of p log(p + epsilon) and of p log p, lane by lane; a 0 adds 0.
 * Parameters: p, rounds, out (twice four).
 */
export function entropyRounds(epsilon: number): Build {
  return (name, relaxed) => {
    const f = new FunctionBuilder(name, 3);
    const [at, rounds, out] = [0, 1, 2] as const;
    const logarithmOf = logarithm(f, relaxed);
    const small = constantOf(f)(epsilon);
    const p = f.local("v128"), above = f.local("v128"), log = f.local("v128");
    const shifted = f.local("v128"), plain = f.local("v128");
    f.repeat(rounds, () => {
      for (const offset of OFFSETS) {
        f.load(at, offset).set(p).add(p, small).set(above);
        logarithmOf(above, log);
        f.multiplyAdd(p, log, shifted, relaxed).set(shifted);
        logarithmOf(p, log); // finite at 0
        f.multiplyAdd(p, log, plain, relaxed).set(plain);
      }
      f.advanceBy(at, ROUND_BYTES);
    });
    return f.store(out, shifted).store(out, plain, VECTOR_BYTES);
  };
}

/**
 * out = factor (log(p + epsilon) + p / (p + epsilon)). Parameters: p, out, rounds,
 * factor (one f32).
 */
export function entropySlopes(epsilon: number): Build {
  return (name, relaxed) => {
    const f = new FunctionBuilder(name, 4);
    const [at, out, rounds, factor] = [0, 1, 2, 3] as const;
    const logarithmOf = logarithm(f, relaxed);
    const small = constantOf(f)(epsilon), scale = f.local("v128");
    const p = f.local("v128"), above = f.local("v128"), log = f.local("v128");
    f.loadSplat(factor).set(scale);
    f.repeat(rounds, () => {
      for (const offset of OFFSETS) {
        f.load(at, offset).set(p).add(p, small).set(above);
        logarithmOf(above, log);
        f.divide(p, above).set(p).add(p, log).set(p);
        f.multiply(p, scale).set(p).store(out, p, offset);
      }
      for (const pointer of [at, out]) f.advanceBy(pointer, ROUND_BYTES);
    });
    return f;
  };
}
