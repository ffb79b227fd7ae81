/**
 * Cuts a convolution into dispatches and invocations on WebGPU: blocks of sums
 * that stay in registers, and shader bodies that compile in reasonable time.
 *
 * Measured on Mesa's llvmpipe 22.3, 8 lanes: a multiply-add takes one to two
 * cycles, a storage read 130 (a loop over the lanes), unless its index is a
 * constant outside of all control flow: then it is one broadcast, of 6. Hence
 * no early return and no loop around the weights there: the host issues one
 * dispatch for each pass and block, with the weights bound at another offset. A
 * hardware GPU broadcasts any uniform index, and is faster if its sums stay in
 * registers: there the shader loops over the passes (`looped`). Compile time
 * grows with the number of statements (llvmpipe 0.4 ms a multiply-add, and
 * worse than linear), so a body is bounded.
 *
 * @module
 */

/** Parameters that determine a forward convolution's code. */
export interface ConvSpec {
  kernel: number;
  inputs: number;
  outputs: number;
  stride: number;
  /** Input pixels lie this far apart, zeros between: the input gradient's stride. */
  spread: number;
  /** Padding modulo spread: which columns under a strip hold pixels. */
  phase: number;
}

/** Bounds on the work of an invocation. */
export interface Budget {
  /** Passes and blocks are loops and workgroups; otherwise dispatches. */
  looped: boolean;
  /** Maximum output channels of an invocation. */
  outputs: number;
  /** Maximum multiply-adds in a shader body. */
  products: number;
  /** Maximum sums of an invocation of the filter gradient. */
  sums: number;
  /** Invocations of the filter gradient that fill the device. */
  invocations: number;
}

/**
 * A CPU that emulates a GPU: sums may spill to its cache, dispatches are free,
 * and reads are expensive.
 */
export const SOFTWARE: Budget = {
  looped: false,
  outputs: 16,
  products: 3600,
  sums: 256,
  invocations: 1024,
};

/**
 * A GPU: at most 255 registers an invocation, of which half leave room for
 * enough invocations in flight; an instruction cache of 32 to 128 KB. Reasoned,
 * not measured: no GPU was at hand.
 */
export const HARDWARE: Budget = {
  looped: true,
  outputs: 12,
  products: 1024,
  sums: 128,
  invocations: 32768,
};

/** Output pixels of an invocation, side by side. */
export const PIXELS = 4;

/** Invocations of a workgroup. */
export const GROUP = 64;

/** A forward convolution cut into passes and blocks. */
export interface ConvPlan extends ConvSpec {
  looped: boolean;
  /** Kernel rows of a pass. */
  rows: number;
  /** Input channels of a pass. */
  inputBlock: number;
  /** Output channels of an invocation. */
  outputBlock: number;
  passes: number;
  blocks: number;
  /** Weights of one pass and block: vec4f, up to a multiple of 256 bytes. */
  sliceVectors: number;
}

/** Cuts a forward convolution: as many products per read as a body may hold. */
export function planConv(spec: ConvSpec, budget: Budget): ConvPlan {
  const { kernel, inputs, outputs, stride, spread, phase } = spec;
  const cut = bestCut(spec, budget);
  const { rows, inputBlock, outputBlock } = cut;
  const vectors = Math.ceil(outputBlock / 4);
  const used = vectors * (1 + rows * kernel * inputBlock);
  return {
    kernel,
    inputs,
    outputs,
    stride,
    spread,
    phase,
    looped: budget.looped,
    rows,
    inputBlock,
    outputBlock,
    passes: passesOf(spec, cut),
    blocks: outputs / outputBlock,
    sliceVectors: Math.ceil(used / 16) * 16,
  };
}

/** Rows and channels of one pass and block. */
interface Cut {
  rows: number;
  inputBlock: number;
  outputBlock: number;
}

function bestCut(spec: ConvSpec, { looped, outputs, products }: Budget): Cut {
  const { kernel } = spec;
  const cuts = [kernel, 1].flatMap((rows) =>
    blocksOf(spec.inputs).flatMap((inputBlock) =>
      blocksOf(spec.outputs)
        .filter((block) => block <= outputs)
        .map((outputBlock): Cut => ({ rows, inputBlock, outputBlock }))
    )
  );
  const size = ({ rows, inputBlock, outputBlock }: Cut) =>
    rows * kernel * inputBlock * outputBlock * PIXELS;
  // Sums that another dispatch continues are written and read again.
  const traffic = (cut: Cut) =>
    cut.rows * columnsOf(spec) * cut.inputBlock +
    (looped || passesOf(spec, cut) === 1 ? 0 : 2 * PIXELS * cut.outputBlock);
  const better = (a: Cut, b: Cut) => {
    const gain = size(a) / traffic(a) - size(b) / traffic(b);
    return gain > 0 || (gain === 0 && size(a) > size(b));
  };
  const smallest = cuts.reduce((a, b) => size(b) < size(a) ? b : a);
  return cuts.filter((cut) => size(cut) <= products).reduce(
    (a, b) => better(b, a) ? b : a,
    smallest,
  );
}

function passesOf({ kernel, inputs }: ConvSpec, cut: Cut): number {
  return (kernel / cut.rows) * (inputs / cut.inputBlock);
}

/** Block sizes that divide the channels: whole vectors, if they are vectors. */
function blocksOf(channels: number): number[] {
  return divisors(channels, channels % 4 ? 1 : 4);
}

/** The blocks of a filter gradient. */
export interface FilterPlan {
  kernel: number;
  inputs: number;
  outputs: number;
  stride: number;
  inputBlock: number;
  outputBlock: number;
  /** Kernel rows times input blocks times output blocks. */
  blocks: number;
}

/** Cuts a filter gradient: as many products per read as the sums allow. */
export function planFilterGradient(
  { kernel, inputs, outputs, stride }: Omit<ConvSpec, "spread" | "phase">,
  budget: Budget,
): FilterPlan {
  const columns = columnsOf({ kernel, stride });
  let best = { inputBlock: 0, outputBlock: 0, reuse: 0 };
  for (const inputBlock of blocksOf(inputs)) {
    for (const outputBlock of blocksOf(outputs)) {
      const sums = kernel * inputBlock * outputBlock;
      const reads = columns * inputBlock + PIXELS * outputBlock;
      const reuse = (sums * PIXELS) / reads;
      if (sums <= budget.sums && reuse > best.reuse) {
        best = { inputBlock, outputBlock, reuse };
      }
    }
  }
  const { inputBlock, outputBlock } = best;
  return {
    kernel,
    inputs,
    outputs,
    stride,
    inputBlock,
    outputBlock,
    blocks: kernel * (inputs / inputBlock) * (outputs / outputBlock),
  };
}

function divisors(n: number, step: number): number[] {
  const all: number[] = [];
  for (let d = step; d <= n; d += step) if (n % d === 0) all.push(d);
  return all;
}

/** Input columns under P output pixels. */
export function columnsOf(
  { kernel, stride }: { kernel: number; stride: number },
): number {
  return (PIXELS - 1) * stride + kernel;
}
