/**
 * Convolutions on the WebGPU engine.
 *
 * tfjs multiplies matrices in tiles of 32 outputs, so a layer of 8 channels
 * leaves three quarters of every tile empty; its gradients are loops over
 * single values. Ours are direct convolutions whose text is written for their
 * channels (conv_webgpu_code.ts):
 *
 * - forward: packed weights, then one dispatch (or, on a software adapter, one
 *   for each pass and block);
 * - input gradient: the forward convolution of dY, its pixels `stride` apart,
 *   with the filter turned and its channels swapped;
 * - filter gradient: parts of the sums, then their sum;
 * - bias gradient: the sum over the rows of dY, [pixels, O].
 *
 * {@linkcode suits} says which shapes are ours; the others go to tfjs's kernels.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import {
  CONV,
  CONV_BIAS_GRADIENT,
  CONV_FILTER_GRADIENT,
  CONV_INPUT_GRADIENT,
  type ConvGradientAttributes,
  type ConvOptions,
  type ConvShape,
  convShape,
  RELU_GRADIENT,
} from "./conv.ts";
import packText from "./conv_pack.wgsl" with { type: "text" };
import reluText from "./conv_relu.wgsl" with { type: "text" };
import sumRowsText from "./conv_sum_rows.wgsl" with { type: "text" };
import {
  type Budget,
  convCode,
  type ConvPlan,
  filterGradientCode,
  GROUP,
  HARDWARE,
  PIXELS,
  planConv,
  planFilterGradient,
  SOFTWARE,
} from "./conv_webgpu_code.ts";
import { Kernel, type TensorSlice, type TfjsWebGpuInternals } from "./gpu.ts";

type Inputs = Record<string, tf.TensorInfo>;

/** Registers the convolution kernels of the WebGPU engine. */
export function registerWebGpuConvolutions(): void {
  const register = (
    kernelName: string,
    run: (
      backend: TfjsWebGpuInternals,
      inputs: Inputs,
      attributes: unknown,
    ) => tf.TensorInfo,
  ) =>
    tf.registerKernel({
      kernelName,
      backendName: "webgpu",
      kernelFunc: ({ inputs, attrs, backend }) =>
        run(backend as TfjsWebGpuInternals, inputs as Inputs, attrs),
    });
  register(
    CONV,
    (backend, { x, filter, bias }, attributes) =>
      forward(backend, {
        x: x!,
        filter: filter!,
        bias: bias!,
        ...attributes as ConvOptions,
      }),
  );
  register(
    CONV_INPUT_GRADIENT,
    (backend, { dy, filter }, attributes) =>
      inputGradient(
        backend,
        { dy: dy!, filter: filter! },
        attributes as ConvGradientAttributes,
      ),
  );
  register(
    CONV_FILTER_GRADIENT,
    (backend, { x, dy }, attributes) =>
      filterGradient(
        backend,
        { x: x!, dy: dy! },
        attributes as ConvGradientAttributes,
      ),
  );
  register(
    CONV_BIAS_GRADIENT,
    (backend, { dy }) => sumRows(backend, dy!, [dy!.shape.at(-1)!]),
  );
  register(
    RELU_GRADIENT,
    (backend, { dy, y }) => reluGradient(backend, dy!, y!),
  );
}

// What the register blocks can be cut for. Beyond it the code would grow (or,
// with a prime number of channels, its blocks shrink to nothing), and at more
// channels tfjs's tiles are full.
const MOST_CHANNELS = 64;
const MOST_ODD_CHANNELS = 16; // if they do not divide by 4
const MOST_TAPS = 7; // a side

/** Whether a convolution and its gradients are ours, or left to tfjs. */
export function suits(
  { kernel, inputs, outputs, stride, padding }: ConvShape,
): boolean {
  const fits = (channels: number) =>
    channels <= (channels % 4 ? MOST_ODD_CHANNELS : MOST_CHANNELS);
  return fits(inputs) && fits(outputs) && kernel <= MOST_TAPS &&
    PIXELS % stride === 0 && // the input gradient's empty columns are constant
    padding < kernel; // else some of its pixels see no output at all
}

/** How to cut work on this device. */
function budgetOf({ device }: TfjsWebGpuInternals): Budget {
  return device.adapterInfo.isFallbackAdapter ? SOFTWARE : HARDWARE;
}

function forward(
  backend: TfjsWebGpuInternals,
  { x, filter, bias, relu, ...options }: {
    x: tf.TensorInfo;
    filter: tf.TensorInfo;
    bias: tf.TensorInfo;
  } & ConvOptions,
): tf.TensorInfo {
  const shape = convShape(x.shape, filter.shape, options);
  if (!suits(shape)) {
    return callStock(backend, "FusedConv2D", { x, filter, bias }, {
      ...stockAttributes(options),
      activation: relu ? "relu" : "linear",
    });
  }
  return convolve(backend, { x, filter, bias }, {
    plan: planConv({ ...shape, spread: 1 }, budgetOf(backend)),
    size: { height: shape.outHeight, width: shape.outWidth },
    relu,
  });
}

function inputGradient(
  backend: TfjsWebGpuInternals,
  { dy, filter }: { dy: tf.TensorInfo; filter: tf.TensorInfo },
  attributes: ConvGradientAttributes,
): tf.TensorInfo {
  const shape = convShape(attributes.shape, filter.shape, attributes);
  if (!suits(shape)) {
    return callStock(backend, "Conv2DBackpropInput", { dy, filter }, {
      ...stockAttributes(attributes),
      inputShape: attributes.shape,
    });
  }
  const { kernel, inputs, outputs, stride, padding } = shape;
  const turned = {
    kernel,
    inputs: outputs,
    outputs: inputs,
    stride: 1,
    spread: stride,
    padding: kernel - 1 - padding,
  };
  return convolve(backend, { x: dy, filter }, {
    plan: planConv(turned, budgetOf(backend)),
    size: shape,
    relu: false,
  });
}

function filterGradient(
  backend: TfjsWebGpuInternals,
  { x, dy }: { x: tf.TensorInfo; dy: tf.TensorInfo },
  attributes: ConvGradientAttributes,
): tf.TensorInfo {
  const shape = convShape(x.shape, attributes.shape, attributes);
  if (!suits(shape)) {
    return callStock(backend, "Conv2DBackpropFilter", { x, dy }, {
      ...stockAttributes(attributes),
      filterShape: attributes.shape,
    });
  }
  const { batch, height, width, outHeight, outWidth } = shape;
  const budget = budgetOf(backend);
  const plan = planFilterGradient(shape, budget);
  const strips = Math.ceil(outWidth / PIXELS);
  const count = batch * outHeight * strips;
  const wanted = Math.min(count, budget.invocations / plan.blocks);
  const groups = Math.max(1, Math.ceil(wanted / GROUP));
  const parts = groups * GROUP;
  const sums = backend.makeTensorInfo([parts, ...attributes.shape], "float32");
  generated(plan, "filter gradient", filterGradientCode).run(backend, {
    params: new Uint32Array([
      height,
      width,
      outHeight,
      outWidth,
      strips,
      count,
      parts,
    ]),
    inputs: [x, dy],
    outputs: [sums],
    groups: groups * plan.blocks,
  });
  const total = sumRows(backend, sums, attributes.shape);
  backend.disposeData(sums.dataId);
  return total;
}

/** What one convolution computes, beyond its tensors. */
interface Convolution {
  plan: ConvPlan;
  /** Of the output, px. */
  size: { height: number; width: number };
  relu: boolean;
}

/** Convolves `x`; without a bias, with the filter turned and swapped. */
function convolve(
  backend: TfjsWebGpuInternals,
  { x, filter, bias }: {
    x: tf.TensorInfo;
    filter: tf.TensorInfo;
    bias?: tf.TensorInfo;
  },
  { plan, size, relu }: Convolution,
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
        strips,
        count,
        groups,
        step.row,
        step.input,
        step.output,
        step.first ? 0 : 1,
        relu && step.last ? ZERO : LOWEST,
      ]),
      inputs: [x, weightsOf(step, packed, plan)],
      outputs: [y],
      groups: plan.looped ? groups * plan.blocks : groups,
    });
  }
  backend.disposeData(packed.dataId);
  return y;
}

// Bits of float32, for the params.
const ZERO = 0;
const LOWEST = 0xff7fffff; // -3.4e38

/** One dispatch: a pass over one block of outputs, or the whole. */
interface Step {
  row: number;
  /** First input and output channel, in elements of the buffers. */
  input: number;
  output: number;
  /** Whether it starts the sums, or ends them. */
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
function sumRows(
  backend: TfjsWebGpuInternals,
  values: tf.TensorInfo,
  shape: number[],
): tf.TensorInfo {
  const length = tf.util.sizeFromShape(shape);
  const rows = tf.util.sizeFromShape(values.shape) / length;
  const sums = Math.ceil(rows / SUMMED_ROWS);
  const partial = backend.makeTensorInfo([sums, ...shape], "float32");
  sumRowsKernel.run(backend, {
    params: new Uint32Array([rows, length, sums]),
    inputs: [values],
    outputs: [partial],
    groups: Math.ceil(sums * length / GROUP),
  });
  if (sums === 1) return { ...partial, shape };
  const total = sumRows(backend, partial, shape);
  backend.disposeData(partial.dataId);
  return total;
}

function reluGradient(
  backend: TfjsWebGpuInternals,
  dy: tf.TensorInfo,
  y: tf.TensorInfo,
): tf.TensorInfo {
  const dx = backend.makeTensorInfo(dy.shape, "float32");
  const count = tf.util.sizeFromShape(dy.shape);
  reluKernel.run(backend, {
    params: new Uint32Array([count]),
    inputs: [dy, y],
    outputs: [dx],
    groups: Math.ceil(count / GROUP),
  });
  return dx;
}

const packKernel = new Kernel("convolution weights", packText);
const sumRowsKernel = new Kernel("sum of rows", sumRowsText);
const reluKernel = new Kernel("relu gradient", reluText);

const generatedKernels = new Map<string, Kernel>();

/** The kernel of a plan; its text is written once. */
function generated<Plan extends object>(
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

/** One of tfjs's own kernels. What it returns is the caller's to release. */
function callStock(
  backend: TfjsWebGpuInternals,
  name: string,
  inputs: Inputs,
  attributes: object,
): tf.TensorInfo {
  return tf.getKernel(name, "webgpu").kernelFunc({
    inputs,
    backend,
    attrs: attributes as tf.NamedAttrMap,
  }) as tf.TensorInfo;
}

function stockAttributes(
  { stride, padding }: { stride: number; padding: number },
) {
  return {
    strides: stride,
    pad: padding,
    dataFormat: "NHWC",
    dilations: 1,
    dimRoundingMode: "floor",
  };
}
