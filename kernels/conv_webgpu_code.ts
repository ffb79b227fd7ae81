/**
 * Writes the WGSL of the direct convolutions: shapes are unrolled so far that
 * every weight stands at a constant index.
 *
 * Forward, one invocation: P pixels of an output row times a block of output
 * channels, all sums in registers. A pass covers some kernel rows and some
 * input channels; each input value that it reads serves every tap, pixel and
 * output it can:
 *
 *     sum[p, o] += X[sy, x0 s + p s + kx - pad, i] W[ky, kx, i, o]
 *
 * Filter gradient, one invocation: one kernel row times a block of inputs times
 * a block of outputs, summed in registers over every parts-th strip of P output
 * pixels; the parts are added up by conv_sum_rows.wgsl:
 *
 *     part[kx, i, o] += X[sy, x0 s + p s + kx - pad, i] dY[oy, x0 + p, o]
 *
 * Measured on Mesa's llvmpipe 22.3, 8 lanes: a multiply-add takes about 4
 * cycles, a storage read 66 (a loop over the lanes), unless its index is a
 * constant outside of all control flow: then it is one broadcast. Hence no
 * early return and no loop around the weights there: the host issues one
 * dispatch for each pass and block, with the weights bound at another offset. A
 * hardware GPU broadcasts any uniform index, and would rather keep its sums in
 * registers: there the shader loops over the passes (`looped`). Compilers take
 * time by the statement (llvmpipe 0.4 ms a multiply-add, and worse than linear),
 * so a body is bounded.
 *
 * @module
 */

/** What a forward convolution's code depends on. */
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

/** How much work goes where. */
export interface Budget {
  /** Whether passes and blocks are loops and groups, or dispatches. */
  looped: boolean;
  /** Most output channels of an invocation. */
  outputs: number;
  /** Most multiply-adds in a body. */
  products: number;
  /** Most sums of an invocation of the filter gradient. */
  sums: number;
  /** Invocations of the filter gradient worth starting. */
  invocations: number;
}

/**
 * A CPU that plays the GPU: sums may spill to its cache, dispatches cost
 * nothing, and reads are dear.
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

/** Cuts a forward convolution: as many products a read as a body may hold. */
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
  // Sums that another dispatch goes on with are written and read again.
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

/** Blocks that channels can be cut in: whole vectors, if they are vectors. */
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

/** Cuts a filter gradient: as many products a read as the sums allow. */
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
function columnsOf({ kernel, stride }: { kernel: number; stride: number }) {
  return (PIXELS - 1) * stride + kernel;
}

/** Integers from 0 up to `count`. */
function range(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}

const COMPONENTS = ["x", "y", "z", "w"] as const;

/** How a channel-last buffer is bound: by four channels if they divide by 4. */
function elementOf(channels: number): { type: string; lanes: number } {
  return channels % 4 ? { type: "f32", lanes: 1 } : { type: "vec4f", lanes: 4 };
}

/** The value of channel `i` of a block that was read into `${name}_${chunk}`. */
function channel(name: string, i: number, lanes: number): string {
  const chunk = `${name}_${Math.floor(i / lanes)}`;
  return lanes === 1 ? chunk : `${chunk}.${COMPONENTS[i % 4]}`;
}

/** The forward convolution of a plan. */
export function convCode(plan: ConvPlan): string {
  const { outputBlock, looped } = plan;
  const input = elementOf(plan.inputs), output = elementOf(plan.outputs);
  const vectors = Math.ceil(outputBlock / 4);
  const sums = range(PIXELS).flatMap((p) =>
    range(vectors).map((v) => `  var sum${p}_${v} = ${weight(plan, v)};`)
  );
  return `// Generated by conv_webgpu_code.ts: ${JSON.stringify(plan)}
struct Params {
  height: u32, // of x, px
  width: u32,
  out_height: u32,
  out_width: u32,
  padding: u32,
  strips: u32,      // of an output row
  count: u32,       // of strips in all
  groups: u32,      // workgroups of a block
  row: u32,         // first kernel row of this pass
  input: u32,       // first element of an input pixel
  output: u32,      // first element of an output pixel
  accumulate: u32,  // whether this pass adds to the one before
  lowest: f32,      // 0 to end with a ReLU
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<${input.type}>; // [N, H, W, I]
@group(0) @binding(2) var<storage, read> weights: array<vec4f${
    looped ? "" : `, ${plan.sliceVectors}`
  }>; // conv_pack.wgsl
@group(0) @binding(3) var<storage, read_write> y: array<${output.type}>; // [N, H', W', O]

@compute @workgroup_size(${GROUP})
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let group = id.x + id.y * grid.x;
  let block = min(group / params.groups, ${plan.blocks - 1}u);
  let index = (group - block * params.groups) * ${GROUP}u + lane;
  let strip = min(index, params.count - 1u); // beyond the last: not stored
  let line = strip / params.strips;          // of all output rows
  let n = line / params.out_height;
  let oy = line - n * params.out_height;
  let ox = (strip - line * params.strips) * ${PIXELS}u;
${columnLines(plan)}
${looped ? "  var base = block * " + plan.sliceVectors + "u;" : ""}
${sums.join("\n")}
${looped ? loopedPasses(plan) : passLines(plan, "params.row", "params.input")}
  if (index < params.count) {
${storeLines(plan)}
  }
}
`;
}

/** One weight vector of the current pass and block. */
function weight({ looped }: ConvPlan, at: number): string {
  return looped ? `weights[base + ${at}u]` : `weights[${at}]`;
}

function loopedPasses(plan: ConvPlan): string {
  const { passes, inputs, inputBlock, blocks, sliceVectors, rows } = plan;
  const inputBlocks = inputs / inputBlock;
  const elements = inputBlock / elementOf(inputs).lanes;
  return `  for (var at = 0u; at < ${passes}u; at++) {
    let row = at / ${inputBlocks}u * ${rows}u;
    let input = at % ${inputBlocks}u * ${elements}u;
${passLines(plan, "row", "input")}
    base += ${blocks * sliceVectors}u;
  }`;
}

/** Columns of x under the strip that hold pixels (of a spread x, not all do). */
function columnLines(plan: ConvPlan): string {
  const { stride, spread, phase } = plan;
  // `spread` divides `ox`, and `padding - phase`.
  const left = spread === 1
    ? `i32(ox * ${stride}u) - i32(params.padding)`
    : `i32(ox / ${spread}u) - i32(params.padding / ${spread}u)`;
  return [
    `  let left = ${left};`,
    ...filledColumns(plan).map((q) =>
      `  let sx${q} = left + ${(q - phase) / spread};
  let in${q} = u32(sx${q}) < params.width;`
    ),
  ].join("\n");
}

function filledColumns(plan: ConvPlan): number[] {
  return range(columnsOf(plan)).filter((q) =>
    (q - plan.phase) % plan.spread === 0
  );
}

/** The products of one pass, without control flow. */
function passLines(plan: ConvPlan, row: string, input: string): string {
  return range(plan.rows).map((r) => rowLines(plan, r, { row, input })).join(
    "\n",
  );
}

function rowLines(
  plan: ConvPlan,
  r: number,
  { row, input }: { row: string; input: string },
): string {
  const { stride, spread, inputs, inputBlock } = plan;
  const { lanes } = elementOf(inputs);
  const down = `i32(oy * ${stride}u + ${row} + ${r}u) - i32(params.padding)`;
  const within = spread === 1
    ? `u32(sy) < params.height`
    : `down >= 0 && down % ${spread} == 0 && u32(sy) < params.height`;
  const columns = filledColumns(plan);
  return `  {
    let down = ${down};
    let sy = ${spread === 1 ? "down" : `down / ${spread}`};
    let within = ${within};
    let start = (i32(n * params.height) + sy) * i32(params.width);
${
    columns.map((q) =>
      `    let ok${q} = within && in${q};
    let at${q} = select(0u, u32(start + sx${q}), ok${q}) * ${
        inputs / lanes
      }u + ${input};`
    ).join("\n")
  }
${
    range(inputBlock / lanes).map((chunk) => chunkLines(plan, r, chunk)).join(
      "\n",
    )
  }
  }`;
}

/**
 * Reads one element of every column and multiplies it with all it meets. Each
 * column is read where it is first used: reads are loops on llvmpipe, and its
 * compiler takes more than linear time over what lies between two of them.
 */
function chunkLines(plan: ConvPlan, r: number, chunk: number): string {
  const { kernel, stride, inputs, inputBlock, outputBlock } = plan;
  const { type, lanes } = elementOf(inputs);
  const vectors = Math.ceil(outputBlock / 4);
  const filled = filledColumns(plan);
  const read = new Set<number>();
  const lines: string[] = [];
  for (const kx of range(kernel)) {
    const pixels = range(PIXELS).filter((p) =>
      filled.includes(p * stride + kx)
    );
    for (const q of pixels.map((p) => p * stride + kx)) {
      if (read.has(q)) continue;
      read.add(q);
      lines.push(
        `let v${q}_0 = select(${type}(0), x[at${q} + ${chunk}u], ok${q});`,
      );
    }
    if (!pixels.length) continue;
    for (const i of range(lanes)) {
      const from = (r * kernel + kx) * inputBlock + chunk * lanes + i;
      for (const v of range(vectors)) {
        const name = `w${kx}_${i}_${v}`;
        lines.push(
          `let ${name} = ${weight(plan, vectors * (1 + from) + v)};`,
          ...pixels.map((p) =>
            `sum${p}_${v} += ${
              channel(`v${p * stride + kx}`, i, lanes)
            } * ${name};`
          ),
        );
      }
    }
  }
  return `    {\n${lines.map((line) => `      ${line}`).join("\n")}\n    }`;
}

/** Stores what lies within the row, with the sums of the passes before. */
function storeLines(plan: ConvPlan): string {
  const { outputs, outputBlock, looped, passes } = plan;
  const { type, lanes } = elementOf(outputs);
  const elements = outputBlock / lanes;
  const first = looped ? `block * ${elements}u` : "params.output";
  // A read costs compilation time even where it is not taken: none without need.
  const before = looped || passes === 1
    ? ""
    : `if (params.accumulate != 0u) { value += y[at]; }`;
  const store = (p: number, e: number) =>
    `      {
        let at = to + ${e}u;
        var value = ${sumElement(`sum${p}`, e, lanes)};
        ${before}
        y[at] = select(value, lowest, value < lowest);
      }`;
  const pixel = (p: number) =>
    `    if (ox + ${p}u < params.out_width) {
      let to = (line * params.out_width + ox + ${p}u) * ${
      outputs / lanes
    }u + ${first};
${range(elements).map((e) => store(p, e)).join("\n")}
    }`;
  return `    let lowest = ${type}(params.lowest);
${range(PIXELS).map(pixel).join("\n")}`;
}

/** Element `e` of a block of outputs whose sums are vectors of four. */
function sumElement(name: string, e: number, lanes: number): string {
  return lanes === 4
    ? `${name}_${e}`
    : `${name}_${Math.floor(e / 4)}.${COMPONENTS[e % 4]}`;
}

/** The filter gradient of a plan: one part of every sum an invocation. */
export function filterGradientCode(plan: FilterPlan): string {
  const { kernel, inputs, outputs, inputBlock, outputBlock } = plan;
  const input = elementOf(inputs), output = elementOf(outputs);
  const vectors = Math.ceil(outputBlock / 4);
  const sums = range(kernel).flatMap((kx) =>
    range(inputBlock).flatMap((i) =>
      range(vectors).map((v) => `  var sum${kx}_${i}_${v} = vec4f(0);`)
    )
  );
  return `// Generated by conv_webgpu_code.ts: ${JSON.stringify(plan)}
struct Params {
  height: u32, // of x, px
  width: u32,
  out_height: u32,
  out_width: u32,
  padding: u32,
  strips: u32, // of an output row
  count: u32,  // of strips in all
  parts: u32,  // a multiple of the workgroup's size
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<${input.type}>;  // [N, H, W, I]
@group(0) @binding(2) var<storage, read> dy: array<${output.type}>; // [N, H', W', O]
@group(0) @binding(3) var<storage, read_write> sums: array<${output.type}>; // [parts, k, k, I, O]

@compute @workgroup_size(${GROUP})
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let group = id.x + id.y * grid.x;
  let groups = params.parts / ${GROUP}u;
  let block = group / groups;
  if (block >= ${plan.blocks}u) { return; } // the same for the whole workgroup
  let part = (group - block * groups) * ${GROUP}u + lane;
  let ky = block / ${plan.blocks / kernel}u;
  let input = block / ${outputs / outputBlock}u % ${inputs / inputBlock}u * ${
    inputBlock / input.lanes
  }u;
  let output = block % ${outputs / outputBlock}u * ${
    outputBlock / output.lanes
  }u;
${sums.join("\n")}
  for (var strip = part; strip < params.count; strip += params.parts) {
${stripLines(plan)}
  }
${partLines(plan)}
}
`;
}

/** Reads x and dy of one strip and adds their products. */
function stripLines(plan: FilterPlan): string {
  const { kernel, stride, inputs, outputs } = plan;
  const { inputBlock, outputBlock } = plan;
  const input = elementOf(inputs), output = elementOf(outputs);
  const columns = range(columnsOf(plan));
  const lines = [
    `    let line = strip / params.strips;`,
    `    let n = line / params.out_height;`,
    `    let ox = (strip - line * params.strips) * ${PIXELS}u;`,
    `    let sy = i32((line - n * params.out_height) * ${stride}u + ky) - i32(params.padding);`,
    `    let within = u32(sy) < params.height;`,
    `    let start = (i32(n * params.height) + sy) * i32(params.width);`,
    `    let left = i32(ox * ${stride}u) - i32(params.padding);`,
    `    let here = line * params.out_width + ox;`,
  ];
  for (const q of columns) {
    lines.push(
      `    let ok${q} = within && u32(left + ${q}) < params.width;`,
      `    let at${q} = select(0u, u32(start + left + ${q}), ok${q}) * ${
        inputs / input.lanes
      }u + input;`,
      ...range(inputBlock / input.lanes).map((c) =>
        `    let v${q}_${c} = select(${input.type}(0), x[at${q} + ${c}u], ok${q});`
      ),
    );
  }
  for (const p of range(PIXELS)) {
    lines.push(
      `    let in${p} = ox + ${p}u < params.out_width;`,
      `    let from${p} = select(0u, here + ${p}u, in${p}) * ${
        outputs / output.lanes
      }u + output;`,
      ...range(outputBlock / output.lanes).map((c) =>
        `    let d${p}_${c} = select(${output.type}(0), dy[from${p} + ${c}u], in${p});`
      ),
    );
    for (const v of range(Math.ceil(outputBlock / 4))) {
      lines.push(`    let g${p}_${v} = ${gradientVector(plan, p, v)};`);
    }
  }
  for (const kx of range(kernel)) {
    for (const i of range(inputBlock)) {
      for (const v of range(Math.ceil(outputBlock / 4))) {
        const products = range(PIXELS).map((p) =>
          `${channel(`v${p * stride + kx}`, i, input.lanes)} * g${p}_${v}`
        );
        lines.push(`    sum${kx}_${i}_${v} += ${products.join(" + ")};`);
      }
    }
  }
  return lines.join("\n");
}

/** Four channels of dY as a vector; beyond the last channel, zeros. */
function gradientVector(
  { outputs, outputBlock }: FilterPlan,
  p: number,
  v: number,
): string {
  if (outputs % 4 === 0) return `d${p}_${v}`;
  const values = range(4).map((c) =>
    4 * v + c < outputBlock ? `d${p}_${4 * v + c}` : "0"
  );
  return `vec4f(${values.join(", ")})`;
}

function partLines(plan: FilterPlan): string {
  const { kernel, inputs, outputs, inputBlock, outputBlock } = plan;
  const { lanes } = elementOf(outputs);
  const pixel = outputs / lanes; // elements
  const inputLanes = elementOf(inputs).lanes;
  const lines = [
    `  let to = ((part * ${kernel}u + ky) * ${
      kernel * inputs
    }u + input * ${inputLanes}u) * ${pixel}u + output;`,
  ];
  for (const kx of range(kernel)) {
    for (const i of range(inputBlock)) {
      for (const e of range(outputBlock / lanes)) {
        const sum = sumElement(`sum${kx}_${i}`, e, lanes);
        lines.push(
          `  sums[to + ${(kx * inputs + i) * pixel + e}u] = ${sum};`,
        );
      }
    }
  }
  return lines.join("\n");
}
