/**
 * Convolutions on the WebGPU engine.
 *
 * tfjs multiplies matrices in tiles of 32 outputs, so a layer of 8 channels
 * leaves three quarters of every tile empty; its gradients are loops over
 * single values. Ours are direct convolutions whose code is generated for their
 * channels (forward_code.ts, gradient_code.ts):
 *
 * - forward: packed weights, then one dispatch (or, on a software adapter, one
 *   for each pass and block);
 * - input gradient: the forward convolution of dY, its pixels `stride` apart,
 *   with the filter rotated and its channels swapped;
 * - filter gradient: parts of the sums, then their sum;
 * - bias gradient: the sum over the rows of dY, [pixels, O].
 *
 * {@linkcode suitsWebGpu} tells which shapes are ours; tfjs's kernels compute the
 * others.
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
  type KnownOutput,
  RELU_GRADIENT,
  sharing,
} from "../conv.ts";
import reluText from "./relu.wgsl" with { type: "text" };
import { dispatchConvolution, generated, sumRows } from "./dispatch.ts";
import { filterGradientCode } from "./gradient_code.ts";
import {
  type Budget,
  GROUP,
  HARDWARE,
  PIXELS,
  planConv,
  planFilterGradient,
  SOFTWARE,
} from "./plan.ts";
import {
  elementKernels,
  lanesOf,
  type TfjsWebGpuInternals,
} from "../../gpu.ts";

type Inputs = Record<string, tf.TensorInfo>;

/** Registers the convolution kernels of the WebGPU engine. */
export function registerWebGpuConvolutions(): void {
  for (const config of webGpuConvolutions()) tf.registerKernel(config);
}

/** Arguments of one kernel call. */
interface Call {
  backend: TfjsWebGpuInternals;
  budget: Budget;
}

/**
 * The convolution kernels of the WebGPU engine.
 *
 * @param budget how to cut the work; chosen by the kind of device if omitted.
 */
export function webGpuConvolutions(budget?: Budget): tf.KernelConfig[] {
  const config = (
    kernelName: string,
    run: (call: Call, inputs: Inputs, attributes: unknown) => tf.TensorInfo,
  ): tf.KernelConfig => ({
    kernelName,
    backendName: "webgpu",
    kernelFunc: ({ inputs, attrs, backend: tfjsBackend }) => {
      const backend = tfjsBackend as TfjsWebGpuInternals;
      const call = { backend, budget: budget ?? budgetOf(backend) };
      return run(call, inputs as Inputs, attrs);
    },
  });
  return [
    config(CONV, (call, { x, filter, bias }, attributes) => {
      const { known, ...options } = attributes as ConvOptions & KnownOutput;
      if (known) return sharing(call.backend, known);
      return forward(call, {
        x: x!,
        filter: filter!,
        bias: bias!,
        ...options,
      });
    }),
    config(
      CONV_INPUT_GRADIENT,
      (call, { dy, filter }, attributes) =>
        inputGradient(
          call,
          { dy: dy!, filter: filter! },
          attributes as ConvGradientAttributes,
        ),
    ),
    config(
      CONV_FILTER_GRADIENT,
      (call, { x, dy }, attributes) =>
        filterGradient(
          call,
          { x: x!, dy: dy! },
          attributes as ConvGradientAttributes,
        ),
    ),
    config(
      CONV_BIAS_GRADIENT,
      ({ backend }, { dy }) => sumRows(backend, dy!, [dy!.shape.at(-1)!]),
    ),
    config(
      RELU_GRADIENT,
      ({ backend }, { dy, y }) => reluGradient(backend, dy!, y!),
    ),
  ];
}

// Our kernels take up to 64 channels if 4 divides them, else up to 16 (a larger
// prime cannot be cut into blocks, and the code would grow).
//
// Measured on llvmpipe, 2 cores under load, times as fast as tfjs (forward,
// input gradient, filter gradient; about 10 ms of every time is the wait):
//
//     10x50x50  3x3  8 -> 8            7   6  11
//     16x27x27  3x3  3 -> 48           4   9  11
//     16x27x27  3x3 48 -> 48 stride 2  4   5  16
//     16x27x27  1x1 48 -> 48 stride 2  1.5 2   7
//      8x27x27  7x7  3 -> 32           2   8   9
//      8x21x21  3x3 32 -> 32           2   3  13
//      4x27x27  3x3 64 -> 64           2   4  20
//      8x27x27  5x5  5 -> 7            11  5   4
//     2x120x120 9x9  1 -> 16           15
//     2x120x120 8x8  3 -> 48           28
//
// We found no shape for which tfjs is faster; beyond 64 channels its tiles fill
// up.
const MAX_CHANNELS = 64;
const MAX_ODD_CHANNELS = 16;
const MAX_TAPS = 9; // a side

/**
 * Convolutions that our kernels compute, with their gradients; tfjs does the
 * rest.
 */
export function suitsWebGpu(
  { kernel, inputs, outputs, stride, padding }: ConvShape,
): boolean {
  const fits = (channels: number) =>
    channels <= (channels % 4 ? MAX_ODD_CHANNELS : MAX_CHANNELS);
  return fits(inputs) && fits(outputs) && kernel <= MAX_TAPS &&
    PIXELS % stride === 0 && // the input gradient's empty columns are constant
    padding < kernel; // else the rotated convolution's padding is negative
}

/** Budget for this device: a GPU, or a CPU that emulates one. */
function budgetOf({ device }: TfjsWebGpuInternals): Budget {
  return device.adapterInfo.isFallbackAdapter ? SOFTWARE : HARDWARE;
}

function forward(
  { backend, budget }: Call,
  { x, filter, bias, relu, ...options }: {
    x: tf.TensorInfo;
    filter: tf.TensorInfo;
    bias: tf.TensorInfo;
  } & ConvOptions,
): tf.TensorInfo {
  const shape = convShape(x.shape, filter.shape, options);
  if (!suitsWebGpu(shape)) {
    return callStock(backend, "FusedConv2D", { x, filter, bias }, {
      ...stockAttributes(options),
      activation: relu ? "relu" : "linear",
    });
  }
  return dispatchConvolution(backend, { x, filter, bias }, {
    plan: planConv({ ...shape, spread: 1, phase: 0 }, budget),
    size: { height: shape.outHeight, width: shape.outWidth },
    padding: shape.padding,
    relu,
  });
}

function inputGradient(
  { backend, budget }: Call,
  { dy, filter }: { dy: tf.TensorInfo; filter: tf.TensorInfo },
  attributes: ConvGradientAttributes,
): tf.TensorInfo {
  const shape = convShape(attributes.shape, filter.shape, attributes);
  if (!suitsWebGpu(shape)) {
    return callStock(backend, "Conv2DBackpropInput", { dy, filter }, {
      ...stockAttributes(attributes),
      inputShape: attributes.shape,
    });
  }
  const { kernel, inputs, outputs, stride } = shape;
  const padding = kernel - 1 - shape.padding;
  const turned = {
    kernel,
    inputs: outputs,
    outputs: inputs,
    stride: 1,
    spread: stride,
    phase: padding % stride,
  };
  return dispatchConvolution(backend, { x: dy, filter }, {
    plan: planConv(turned, budget),
    size: shape,
    padding,
    relu: false,
  });
}

function filterGradient(
  { backend, budget }: Call,
  { x, dy }: { x: tf.TensorInfo; dy: tf.TensorInfo },
  attributes: ConvGradientAttributes,
): tf.TensorInfo {
  const shape = convShape(x.shape, attributes.shape, attributes);
  if (!suitsWebGpu(shape)) {
    return callStock(backend, "Conv2DBackpropFilter", { x, dy }, {
      ...stockAttributes(attributes),
      filterShape: attributes.shape,
    });
  }
  const { batch, height, width, outHeight, outWidth } = shape;
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
      shape.padding,
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

function reluGradient(
  backend: TfjsWebGpuInternals,
  dy: tf.TensorInfo,
  y: tf.TensorInfo,
): tf.TensorInfo {
  const dx = backend.makeTensorInfo(dy.shape, "float32");
  const size = tf.util.sizeFromShape(dy.shape);
  const lanes = lanesOf(size);
  const count = size / lanes;
  reluKernels[lanes].run(backend, {
    params: new Uint32Array([count]),
    inputs: [dy, y],
    outputs: [dx],
    groups: Math.ceil(count / GROUP),
  });
  return dx;
}

const reluKernels = elementKernels("relu gradient", reluText);

/** Calls one of tfjs's own kernels; the caller releases the result. */
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
