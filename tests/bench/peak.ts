/**
 * The peak of a core in WebAssembly: multiply-adds of vectors that stay in
 * registers, enough chains of them that none waits for the one before.
 *
 * @module
 */
import {
  FunctionBuilder,
  hasRelaxedMultiplyAdd,
  instantiate,
} from "../../kernels/wasm/assembler.ts";

const CHAINS = 12, TURNS = 1_000_000, LANES = 4;
const TRIES = 7;

let found: number | undefined;

/** GFLOP/s of one core, the best of some tries; measured once. */
export function peakGflops(): number {
  return found ??= measure();
}

function measure(): number {
  const memory = new WebAssembly.Memory({ initial: 1 });
  const run = instantiate([chains("chains")], memory).chains!;
  let best = Infinity;
  for (let i = 0; i < TRIES; i++) {
    const started = performance.now();
    run(0, TURNS);
    best = Math.min(best, performance.now() - started);
  }
  return 2 * CHAINS * LANES * TURNS / best / 1e6;
}

/** Parameters: where to store the sums, and turns. */
function chains(name: string): FunctionBuilder {
  const f = new FunctionBuilder(name, 2);
  const relaxed = hasRelaxedMultiplyAdd();
  const factor = f.local("v128");
  const sums = Array.from({ length: CHAINS }, () => f.local("v128"));
  f.constantVector(0.5).set(factor);
  f.repeat(1, () => {
    for (const sum of sums) {
      f.multiplyAdd(factor, factor, sum, relaxed).set(sum);
    }
  });
  // Stored, so that nothing is left out.
  sums.forEach((sum, i) =>
    f.store(0, sum, i * LANES * Float32Array.BYTES_PER_ELEMENT)
  );
  return f;
}
