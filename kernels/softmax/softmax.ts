/**
 * The attention softmax: one distribution over all locations of a map.
 *
 *     p_i = exp(x_i - max x) / sum_j exp(x_j - max x)
 *     d x_i = p_i (d p_i - sum_j d p_j p_j)
 *
 * alpha and beta of Kong & Henao, CVPR 2022, section 2. A map may have 10^7
 * locations, so a row is cut in segments: one pass writes (max, sum) of each
 * segment, a second one combines them and normalises.
 *
 * A location with logit -inf gets exactly 0; a row of nothing but -inf gets all
 * zeros, because a shader cannot throw.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { Kernel, type TfjsWebGpuInternals } from "../gpu.ts";
import { floatView, kernelConfigs } from "../kernel_config.ts";
import code from "./softmax.wgsl" with { type: "text" };
import { wasmSoftmax } from "./wasm.ts";
import type { WasmBackend } from "../wasm/routine.ts";

export const SOFTMAX = "zoomin/Softmax";
export const SOFTMAX_GRADIENT = "zoomin/SoftmaxGradient";

// Locations a workgroup; 64 for each of its 256 invocations.
const SEGMENT = 16384;

/** Rows and their length. */
export interface Rows {
  rows: number;
  locations: number;
}

/**
 * Softmax over the last axis of `[rows, locations]`, with its gradient.
 *
 * @example
 * ```ts
 * import * as tf from "@tensorflow/tfjs-core";
 *
 * const attention = attentionSoftmax(tf.tensor2d([[0, -Infinity, 0]]));
 * await attention.data(); // 0.5, 0, 0.5
 * ```
 */
export function attentionSoftmax(logits: tf.Tensor2D): tf.Tensor2D {
  return differentiableSoftmax(logits);
}

const differentiableSoftmax = tf.customGrad<tf.Tensor2D>((logits, save) => {
  const attention = tf.engine().runKernel<tf.Tensor2D>(SOFTMAX, {
    logits: logits as tf.Tensor2D,
  });
  (save as tf.GradSaveFunc)([attention]);
  return {
    value: attention,
    gradFunc: (upstream, saved) =>
      tf.engine().runKernel<tf.Tensor2D>(SOFTMAX_GRADIENT, {
        attention: saved[0]!,
        upstream,
      }),
  };
});

/** The same function as plain loops; sums in float64. */
export function softmaxReference(
  logits: Float32Array,
  { rows, locations }: Rows,
  out: Float32Array = new Float32Array(rows * locations),
): Float32Array {
  for (let row = 0; row < rows; row++) {
    const start = row * locations, end = start + locations;
    let max = -Infinity;
    for (let i = start; i < end; i++) {
      if (!(logits[i]! <= max)) max = logits[i]!; // a NaN passes, and shows
    }
    if (max === -Infinity) max = 0; // exp(-inf - 0) = 0: all zeros
    let sum = 0;
    for (let i = start; i < end; i++) {
      const e = Math.exp(logits[i]! - max);
      out[i] = e;
      sum += e;
    }
    const scale = sum === 0 ? 0 : 1 / sum;
    for (let i = start; i < end; i++) out[i]! *= scale;
  }
  return out;
}

/** The gradient as plain loops; sums in float64. */
export function softmaxGradientReference(
  attention: Float32Array,
  upstream: Float32Array,
  { rows, locations }: Rows,
  out: Float32Array = new Float32Array(rows * locations),
): Float32Array {
  for (let row = 0; row < rows; row++) {
    const start = row * locations, end = start + locations;
    let dot = 0;
    for (let i = start; i < end; i++) dot += attention[i]! * upstream[i]!;
    for (let i = start; i < end; i++) {
      out[i] = attention[i]! * (upstream[i]! - dot);
    }
  }
  return out;
}

const passes = {
  sums: new Kernel("softmax sums", code, "segment_sums"),
  normalise: new Kernel("softmax normalise", code, "normalise"),
  dots: new Kernel("softmax gradient dots", code, "segment_dots"),
  gradient: new Kernel("softmax gradient", code, "gradient"),
};

/**
 * Runs a pass that writes a pair of words per segment, then one that reads
 * them.
 */
function runTwoPasses(
  backend: TfjsWebGpuInternals,
  inputs: tf.TensorInfo[],
  [first, second]: [Kernel, Kernel],
): tf.TensorInfo {
  const [rows, locations] = inputs[0]!.shape as [number, number];
  const segments = Math.ceil(locations / SEGMENT);
  const params = new Uint32Array([rows, locations, segments, SEGMENT]);
  const groups = rows * segments;
  const partials = backend.makeTensorInfo([rows, segments, 2], "float32");
  const output = backend.makeTensorInfo([rows, locations], "float32");
  first.run(backend, { params, inputs, outputs: [partials], groups });
  second.run(backend, {
    params,
    inputs: [...inputs, partials],
    outputs: [output],
    groups,
  });
  backend.disposeData(partials.dataId);
  return output;
}

function rowsOf({ shape }: tf.TensorInfo): Rows {
  return { rows: shape[0]!, locations: shape[1]! };
}

/** Both kernels for both engines. */
export const softmaxKernels = [
  ...kernelConfigs(SOFTMAX, {
    wasm: ({ backend, inputs }) =>
      wasmSoftmax(backend as unknown as WasmBackend, inputs.logits!),
    webgpu: ({ backend, inputs }) =>
      runTwoPasses(backend, [inputs.logits!], [
        passes.sums,
        passes.normalise,
      ]),
  }),
  ...kernelConfigs(SOFTMAX_GRADIENT, {
    wasm: ({ backend, inputs }) => {
      const attention = inputs.attention!;
      const output = backend.makeOutput(attention.shape, "float32");
      softmaxGradientReference(
        floatView(backend, attention),
        floatView(backend, inputs.upstream!),
        rowsOf(attention),
        floatView(backend, output),
      );
      return output;
    },
    webgpu: ({ backend, inputs }) =>
      runTwoPasses(backend, [inputs.attention!, inputs.upstream!], [
        passes.dots,
        passes.gradient,
      ]),
  }),
];
