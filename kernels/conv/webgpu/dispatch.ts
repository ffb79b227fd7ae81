/**
 * Dispatches of the convolutions on the WebGPU engine, according to their
 * plans.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import packText from "./pack.wgsl" with { type: "text" };
import sumRowsText from "./sum_rows.wgsl" with { type: "text" };
import { convCode } from "./forward_code.ts";
import { type ConvPlan, GROUP, PIXELS } from "./plan.ts";
import {
  elementKernels,
  Kernel,
  lanesOf,
  type TensorSlice,
  type TfjsWebGpuInternals,
} from "../../gpu.ts";

/** Parameters of one convolution, beside its tensors. */
export interface Convolution {
  plan: ConvPlan;
  /** Of the output, px. */
  size: { height: number; width: number };
  padding: number;
  relu: boolean;
}

/**
 * Convolves `x`; without a bias, the filter is rotated and its channels
 * swapped.
 */
export function dispatchConvolution(
  backend: TfjsWebGpuInternals,
  { x, filter, bias }: {
    x: tf.TensorInfo;
    filter: tf.TensorInfo;
    bias?: tf.TensorInfo;
  },
  { plan, size, padding, relu }: Convolution,
): tf.TensorInfo {
  const [batch = 0, height = 0, width = 0] = x.shape;
  const packed = packWeights(backend, { filter, bias }, plan);
  const y = backend.makeTensorInfo(
    [batch, size.height, size.width, plan.outputs],
    "float32",
  );
  const strips = Math.ceil(size.width / PIXELS);
  const count = batch * size.height * strips;
  const groups = Math.ceil(count / GROUP);
  const kernel = generated(plan, "convolution", convCode);
  for (const step of stepsOf(plan)) {
    kernel.run(backend, {
      params: new Uint32Array([
        height,
        width,
        size.height,
        size.width,
        padding,
        strips,
        count,
        groups,
        step.row,
        step.input,
        step.output,
        step.first ? 0 : 1,
        relu && step.last ? ZERO : NOTHING,
      ]),
      inputs: [x, weightsOf(step, packed, plan)],
      outputs: [y],
      groups: plan.looped ? groups * plan.blocks : groups,
    });
  }
  backend.disposeData(packed.dataId);
  return y;
}

// Bits of float32: lower bounds of an output.
const ZERO = 0;
const NOTHING = 0xff800000; // -infinity

/** One dispatch: a pass over one block of outputs, or the whole. */
interface Step {
  row: number;
  /** First input and output channel, in elements of the buffers. */
  input: number;
  output: number;
  /** The step starts the sums, or ends them. */
  first: boolean;
  last: boolean;
  /** Of the packed weights. */
  slice: number;
}

function stepsOf(plan: ConvPlan): Step[] {
  const { looped, passes, blocks, rows, inputs, inputBlock } = plan;
  const whole = { row: 0, input: 0, output: 0, first: true, last: true };
  if (looped) return [{ ...whole, slice: 0 }];
  const inputBlocks = inputs / inputBlock;
  const elements = (channels: number, all: number) =>
    all % 4 ? channels : channels / 4;
  return Array.from({ length: passes * blocks }, (_, slice) => {
    const pass = Math.floor(slice / blocks);
    const block = slice % blocks;
    return {
      row: Math.floor(pass / inputBlocks) * rows,
      input: elements((pass % inputBlocks) * inputBlock, inputs),
      output: elements(block * plan.outputBlock, plan.outputs),
      first: pass === 0,
      last: pass === passes - 1,
      slice,
    };
  });
}

function weightsOf(
  { slice }: Step,
  packed: tf.TensorInfo,
  { looped, sliceVectors }: ConvPlan,
): tf.TensorInfo | TensorSlice {
  if (looped) return packed;
  const size = sliceVectors * VECTOR_BYTES;
  return { tensor: packed, offset: slice * size, size };
}

const VECTOR_BYTES = 16;

/** The weights in the order in which the convolution reads them. */
function packWeights(
  backend: TfjsWebGpuInternals,
  { filter, bias }: { filter: tf.TensorInfo; bias?: tf.TensorInfo | undefined },
  plan: ConvPlan,
): tf.TensorInfo {
  const slices = plan.passes * plan.blocks;
  const slice = plan.sliceVectors * 4; // floats
  const packed = backend.makeTensorInfo([slices, slice], "float32");
  packKernel.run(backend, {
    params: new Uint32Array([
      plan.kernel,
      plan.inputs,
      plan.outputs,
      plan.rows,
      plan.inputBlock,
      plan.outputBlock,
      slice,
      slices,
      bias ? 0 : 1,
    ]),
    inputs: [filter, bias ?? filter],
    outputs: [packed],
    groups: Math.ceil(slices * slice / GROUP),
  });
  return packed;
}

// Rows that one invocation adds up.
const SUMMED_ROWS = 256;

/** The sum over all rows of `values` `[..., ...shape]`. */
export function sumRows(
  backend: TfjsWebGpuInternals,
  values: tf.TensorInfo,
  shape: number[],
): tf.TensorInfo {
  const length = tf.util.sizeFromShape(shape);
  const rows = tf.util.sizeFromShape(values.shape) / length;
  const sums = Math.ceil(rows / SUMMED_ROWS);
  const partial = backend.makeTensorInfo([sums, ...shape], "float32");
  const lanes = lanesOf(length);
  sumRowsKernels[lanes].run(backend, {
    params: new Uint32Array([rows, length / lanes, sums]),
    inputs: [values],
    outputs: [partial],
    groups: Math.ceil(sums * length / lanes / GROUP),
  });
  if (sums === 1) return { ...partial, shape };
  const total = sumRows(backend, partial, shape);
  backend.disposeData(partial.dataId);
  return total;
}

const packKernel = new Kernel("convolution weights", packText);
const sumRowsKernels = elementKernels("sum of rows", sumRowsText);

const generatedKernels = new Map<string, Kernel>();

/** The kernel of a plan; its code is generated once. */
export function generated<Plan extends object>(
  plan: Plan,
  label: string,
  write: (plan: Plan) => string,
): Kernel {
  const key = `${label} ${JSON.stringify(plan)}`;
  let kernel = generatedKernels.get(key);
  if (!kernel) {
    kernel = new Kernel(label, write(plan));
    generatedKernels.set(key, kernel);
  }
  return kernel;
}
