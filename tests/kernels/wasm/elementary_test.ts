import assert from "node:assert/strict";
import {
  FunctionBuilder,
  hasRelaxedMultiplyAdd,
  instantiate,
} from "../../../kernels/wasm/assembler.ts";
import {
  exponential,
  logarithm,
  type VectorFunction,
} from "../../../kernels/wasm/elementary.ts";

const VECTOR_BYTES = 16;

/** The functions of f32, their number a multiple of four. */
function applied(
  make: (f: FunctionBuilder, relaxed: boolean) => VectorFunction,
  values: Float32Array,
  relaxed: boolean,
): Float32Array {
  const pages = Math.ceil(values.byteLength / 2 ** 16);
  const memory = new WebAssembly.Memory({ initial: pages });
  const inPlace = new Float32Array(memory.buffer, 0, values.length);
  inPlace.set(values);
  const f = new FunctionBuilder("apply", 2);
  const [at, vectors] = [0, 1] as const;
  const x = f.local("v128"), out = f.local("v128");
  const applyTo = make(f, relaxed);
  f.repeat(vectors, () => {
    f.load(at).set(x);
    applyTo(x, out);
    f.store(at, out).advanceBy(at, VECTOR_BYTES);
  });
  instantiate([f], memory).apply!(0, values.length / 4);
  return inPlace;
}

/** The largest difference in units in the last place of `exact`. */
function worstUnits(
  make: (f: FunctionBuilder, relaxed: boolean) => VectorFunction,
  exact: (x: number) => number,
  values: Float32Array,
): number {
  const kinds = hasRelaxedMultiplyAdd() ? [false, true] : [false];
  return Math.max(
    ...kinds.map((relaxed) =>
      applied(make, values, relaxed).reduce((worst, value, i) => {
        const wanted = exact(values[i]!);
        const unit = 2 ** (Math.floor(Math.log2(Math.abs(wanted))) - 23);
        return Math.max(worst, Math.abs(value - wanted) / (unit || 1));
      }, 0)
    ),
  );
}

Deno.test("the logarithm of a vector is right to two units", () => {
  const values = Float32Array.from({ length: 2 ** 18 }, (_, i) =>
    // From the smallest normal f32 to the largest, and around 1.
    i % 2 ? 2 ** (-126 + 253.9 * i / 2 ** 18) : 0.5 + 1.5 * i / 2 ** 18);
  const worst = worstUnits(logarithm, Math.log, values);
  assert.ok(worst < 2, `${worst} units`);
});

Deno.test("the exponential of a vector is right to three units", () => {
  const values = Float32Array.from(
    { length: 2 ** 18 },
    (_, i) => -87.2 + 175 * i / 2 ** 18,
  );
  const worst = worstUnits(exponential, Math.exp, values);
  assert.ok(worst < 3, `${worst} units`);
});

Deno.test("the exponential of a vector is 0 far below, and shows a NaN", () => {
  const values = Float32Array.of(-Infinity, -100, -88, NaN);
  const [none, far, below, unknown] = applied(exponential, values, false);
  assert.deepEqual([none, far, below], [0, 0, 0]);
  assert.ok(Number.isNaN(unknown));
});
