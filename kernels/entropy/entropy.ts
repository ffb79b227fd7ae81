/**
 * Entropies of attention maps, and the regulariser that is made of them (Kong &
 * Henao, CVPR 2022, section 2.3), with its gradient.
 *
 *     e_r = sum_i p_i log(p_i + 1e-6),    h_r = -sum_i p_i log p_i
 *     regulariser = sum_r w_r e_r
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { Kernel } from "../gpu.ts";
import { floatView, kernelConfigs } from "../kernel_config.ts";
import code from "./entropy.wgsl" with { type: "text" };
import { wasmEntropyGradient, wasmEntropySums } from "./wasm.ts";
import type { WasmBackend } from "../wasm/routine.ts";

const ENTROPY_SUMS = "zoomin/EntropySums";
const ENTROPY_TOTAL = "zoomin/EntropyTotal";
const ENTROPY_GRADIENT = "zoomin/EntropyGradient";

// The paper's constant inside the logarithm; also in entropy.wgsl.
const EPSILON = 1e-6;

/** Contribution of one location to the negative entropy. */
export function entropyTerm(p: number): number {
  return p * Math.log(p + EPSILON);
}

/** The derivative of {@linkcode entropyTerm}. */
export function entropySlope(p: number): number {
  return Math.log(p + EPSILON) + p / (p + EPSILON);
}

/** Sums e and h of each row, `[rows, 2]`; they have no gradient. */
export function entropySums(attention: tf.Tensor2D): tf.Tensor2D {
  return tf.engine().runKernel(ENTROPY_SUMS, { attention });
}

/**
 * The regulariser; lower is broader.
 *
 * @param attention `[rows, locations]`.
 * @param sums of its rows, as {@linkcode entropySums} gives them.
 * @param weights w, `[rows]`.
 */
export function weightedEntropy(
  attention: tf.Tensor2D,
  sums: tf.Tensor2D,
  weights: readonly number[],
): tf.Scalar {
  const operation = tf.customGrad((input, save) => {
    const ofRows = tf.tensor1d([...weights]);
    (save as tf.GradSaveFunc)([input as tf.Tensor2D, ofRows]);
    return {
      value: tf.engine().runKernel<tf.Scalar>(ENTROPY_TOTAL, {
        sums,
        weights: ofRows,
      }),
      gradFunc: (upstream, saved) =>
        tf.engine().runKernel<tf.Tensor2D>(ENTROPY_GRADIENT, {
          attention: saved[0]!,
          weights: saved[1]!,
          upstream,
        }),
    };
  });
  return operation(attention) as tf.Scalar;
}

/** {@linkcode entropySums} as plain loops; sums in float64. */
export function entropySumsReference(
  attention: Float32Array,
  { rows, locations }: { rows: number; locations: number },
  out: Float32Array = new Float32Array(2 * rows),
): Float32Array {
  for (let row = 0; row < rows; row++) {
    let negative = 0, entropy = 0;
    for (let i = row * locations; i < (row + 1) * locations; i++) {
      const p = attention[i]!;
      negative += entropyTerm(p);
      if (p !== 0) entropy -= p * Math.log(p);
    }
    out[2 * row] = negative;
    out[2 * row + 1] = entropy;
  }
  return out;
}

/** The regulariser's gradient at the attention as plain loops. */
export function entropyGradientReference(
  attention: Float32Array,
  weights: ArrayLike<number>,
  upstream: number,
  out: Float32Array = new Float32Array(attention.length),
): Float32Array {
  const locations = attention.length / weights.length;
  for (let row = 0, i = 0; row < weights.length; row++) {
    const factor = upstream * weights[row]!;
    for (const end = i + locations; i < end; i++) {
      out[i] = factor * entropySlope(attention[i]!);
    }
  }
  return out;
}

const passes = {
  sums: new Kernel("entropy sums", code, "row_sums"),
  total: new Kernel("entropy total", code, "weighted_sum"),
  gradient: new Kernel("entropy gradient", code, "slopes"),
};

const WORKGROUP_SIZE = 256; // see entropy.wgsl

/** The kernels for both engines. */
export const entropyKernels = [
  ...kernelConfigs(ENTROPY_SUMS, {
    wasm: ({ backend, inputs }) =>
      wasmEntropySums(
        backend as unknown as WasmBackend,
        inputs.attention!,
        EPSILON,
      ),
    webgpu: ({ backend, inputs }) => {
      const [rows, locations] = inputs.attention!.shape as [number, number];
      const sums = backend.makeTensorInfo([rows, 2], "float32");
      passes.sums.run(backend, {
        params: new Uint32Array([rows, locations]),
        inputs: [inputs.attention!],
        outputs: [sums],
        groups: rows,
      });
      return sums;
    },
  }),
  ...kernelConfigs(ENTROPY_TOTAL, {
    wasm: ({ backend, inputs }) => {
      const total = backend.makeOutput([], "float32");
      const sums = floatView(backend, inputs.sums!);
      const weights = floatView(backend, inputs.weights!);
      floatView(backend, total)[0] = weights.reduce(
        (total, weight, row) => total + weight * sums[2 * row]!,
        0,
      );
      return total;
    },
    webgpu: ({ backend, inputs }) => {
      const total = backend.makeTensorInfo([], "float32");
      passes.total.run(backend, {
        params: new Uint32Array([inputs.weights!.shape[0]!, 0]),
        inputs: [inputs.sums!, inputs.weights!],
        outputs: [total],
        groups: 1,
      });
      return total;
    },
  }),
  ...kernelConfigs(ENTROPY_GRADIENT, {
    wasm: ({ backend, inputs }) =>
      wasmEntropyGradient(
        backend as unknown as WasmBackend,
        inputs as Record<"attention" | "weights" | "upstream", tf.TensorInfo>,
        EPSILON,
      ),
    webgpu: ({ backend, inputs }) => {
      const { attention, weights, upstream } = inputs;
      const [rows, locations] = attention!.shape as [number, number];
      const gradient = backend.makeTensorInfo([rows, locations], "float32");
      passes.gradient.run(backend, {
        params: new Uint32Array([rows, locations]),
        inputs: [attention!, weights!, upstream!],
        outputs: [gradient],
        groups: Math.ceil(rows * locations / WORKGROUP_SIZE),
      });
      return gradient;
    },
  }),
];
