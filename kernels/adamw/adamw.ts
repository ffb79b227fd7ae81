/**
 * One step of AdamW (Loshchilov & Hutter, ICLR 2019) for all parameters at once,
 * their gradients clipped by their common norm.
 *
 *     g = min(1, clip / |g|) g
 *     m = beta1 m + (1 - beta1) g,    v = beta2 v + (1 - beta2) g^2
 *     x = x (1 - rate decay) - rate m / (1 - beta1^t) /
 *         (sqrt(v / (1 - beta2^t)) + epsilon)
 *
 * On WebGPU the parameters are copied one after the other into one buffer: two
 * dispatches take the step, where one a parameter and operation take hundreds.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import type { BackendWasm } from "@tensorflow/tfjs-backend-wasm";
import { copyTensors, Kernel, type TfjsWebGpuInternals } from "../gpu.ts";
import { floatView, kernelConfigs } from "../kernel_config.ts";
import code from "./adamw.wgsl" with { type: "text" };

const ADAMW = "zoomin/AdamW";

// Adam's published constants (Kingma & Ba, ICLR 2015); also in adamw.wgsl.
const BETA1 = 0.9, BETA2 = 0.999, EPSILON = 1e-8;

/** A parameter's part of a step. */
export interface AdamWPart {
  learningRate: number;
  weightDecay: number;
  /** t: steps that it has taken part in, with this one. */
  steps: number;
}

/** A parameter and its part of a step. */
export interface AdamWParameter extends AdamWPart {
  value: tf.Tensor;
  gradient: tf.Tensor;
}

/** Result of {@linkcode adamW}; all tensors belong to the caller. */
export interface AdamWStep {
  /** New values, in the order of the parameters. */
  values: tf.Tensor[];
  /** New moments, `[2, P]`. */
  moments: tf.Tensor2D;
  /** |g|^2 of each parameter before it is clipped, `[parameters]`. */
  squares: tf.Tensor1D;
}

type Attributes = {
  parts: readonly AdamWPart[];
  clipNorm: number;
};

/**
 * Takes one step.
 *
 * @param moments m and v of all parameters, one after the other: `[2, P]`.
 * @param clipNorm bound of the norm of all gradients together.
 */
export function adamW(
  parameters: readonly AdamWParameter[],
  moments: tf.Tensor2D,
  clipNorm: number,
): AdamWStep {
  const inputs: tf.NamedTensorMap = { moments };
  parameters.forEach(({ value, gradient }, i) => {
    inputs[valueName(i)] = value;
    inputs[gradientName(i)] = gradient;
  });
  const attributes: Attributes = { parts: parameters, clipNorm };
  const [squares, stepped, ...values] = tf.engine().runKernel<tf.Tensor[]>(
    ADAMW,
    inputs,
    attributes as unknown as tf.NamedAttrMap, // tfjs passes it on as it is
  );
  return {
    values,
    moments: stepped as tf.Tensor2D,
    squares: squares as tf.Tensor1D,
  };
}

function valueName(index: number): string {
  return `value${index}`;
}

function gradientName(index: number): string {
  return `gradient${index}`;
}

/** Values of a parameter on the CPU, and where its moments lie. */
interface Place {
  value: Float32Array;
  gradient: Float32Array;
  first: Float32Array;
  second: Float32Array;
}

/**
 * The same step as plain loops, in place.
 *
 * @returns |g|^2 of each parameter before it is clipped.
 */
export function adamWReference(
  parameters: readonly (AdamWPart & Place)[],
  clipNorm: number,
): Float32Array {
  const squares = parameters.map(({ gradient }) => {
    let sum = 0;
    for (let i = 0; i < gradient.length; i++) sum += gradient[i]! ** 2;
    return sum;
  });
  const norm = Math.sqrt(squares.reduce((sum, square) => sum + square, 0));
  const factor = norm <= clipNorm ? 1 : clipNorm / norm; // a NaN passes
  for (const { value, gradient, first, second, ...part } of parameters) {
    const { rate, root, kept } = factorsOf(part);
    for (let i = 0; i < value.length; i++) {
      const g = gradient[i]! * factor;
      const m = BETA1 * first[i]! + (1 - BETA1) * g;
      const v = BETA2 * second[i]! + (1 - BETA2) * g * g;
      first[i] = m;
      second[i] = v;
      value[i] = value[i]! * kept - m / (Math.sqrt(v * root) + EPSILON) * rate;
    }
  }
  return Float32Array.from(squares);
}

/** The factors of a parameter's step; see adamw.wgsl. */
function factorsOf({ learningRate, weightDecay, steps }: AdamWPart) {
  return {
    rate: learningRate / (1 - BETA1 ** steps),
    root: 1 / (1 - BETA2 ** steps),
    kept: 1 - learningRate * weightDecay,
  };
}

/** The kernel for both engines. */
export const adamWKernels = kernelConfigs<Attributes>(ADAMW, {
  wasm: ({ backend, inputs, attributes }) =>
    onWasm(backend, inputs, attributes),
  webgpu: ({ backend, inputs, attributes }) =>
    onWebGpu(backend, inputs, attributes),
});

type Inputs = tf.NamedTensorInfoMap;

function onWasm(
  backend: BackendWasm,
  inputs: Inputs,
  { parts, clipNorm }: Attributes,
): tf.TensorInfo[] {
  const old = parts.map((_, i) => inputs[valueName(i)]!);
  const squares = backend.makeOutput([parts.length], "float32");
  const moments = backend.makeOutput(inputs.moments!.shape, "float32");
  const values = old.map(({ shape }) => backend.makeOutput(shape, "float32"));
  const all = floatView(backend, moments);
  all.set(floatView(backend, inputs.moments!));
  const half = all.length / 2;
  const ends = endsOf(old);
  const parameters = parts.map((part, i) => {
    const [start, end] = [ends[i - 1] ?? 0, ends[i]!];
    const value = floatView(backend, values[i]!);
    value.set(floatView(backend, old[i]!));
    return {
      ...part,
      value,
      gradient: floatView(backend, inputs[gradientName(i)]!),
      first: all.subarray(start, end),
      second: all.subarray(half + start, half + end),
    };
  });
  floatView(backend, squares).set(adamWReference(parameters, clipNorm));
  return [squares, moments, ...values];
}

const kernels = {
  sumSquares: new Kernel("AdamW squares", code, "sum_squares"),
  step: new Kernel("AdamW", code, "step_values"),
};

const WORKGROUP_SIZE = 256; // see adamw.wgsl
const BYTES = Float32Array.BYTES_PER_ELEMENT;

function onWebGpu(
  backend: TfjsWebGpuInternals,
  inputs: Inputs,
  { parts, clipNorm }: Attributes,
): tf.TensorInfo[] {
  const count = parts.length;
  const old = parts.map((_, i) => inputs[valueName(i)]!);
  const ends = endsOf(old);
  const length = ends.at(-1)!;
  const table = backend.makeTensorInfo(
    [count, WORDS],
    "int32",
    tableOf(parts, ends),
  );
  const packed = () => backend.makeTensorInfo([length], "float32");
  const gradients = packed(), values = packed(), stepped = packed();
  copyParts(backend, parts.map((_, i) => inputs[gradientName(i)]!), {
    into: gradients,
  });
  copyParts(backend, old, { into: values });
  const squares = backend.makeTensorInfo([count], "float32");
  const moments = backend.makeTensorInfo([2, length], "float32");
  const params = paramsOf({ count, length, clipNorm });
  kernels.sumSquares.run(backend, {
    params,
    inputs: [table, gradients],
    outputs: [squares],
    groups: count,
  });
  kernels.step.run(backend, {
    params,
    inputs: [table, gradients, squares, values, inputs.moments!],
    outputs: [stepped, moments],
    groups: Math.ceil(length / WORKGROUP_SIZE),
  });
  const results = old.map(({ shape }) =>
    backend.makeTensorInfo(shape, "float32")
  );
  copyParts(backend, results, { from: stepped });
  for (const { dataId } of [table, gradients, values, stepped]) {
    backend.disposeData(dataId);
  }
  return [squares, moments, ...results];
}

/** End of each tensor's values, one after the other. */
function endsOf(tensors: readonly tf.TensorInfo[]): number[] {
  let end = 0;
  return tensors.map(({ shape }) => end += tf.util.sizeFromShape(shape));
}

/** Copies tensors one after the other into one, or the other way round. */
function copyParts(
  backend: TfjsWebGpuInternals,
  tensors: readonly tf.TensorInfo[],
  { into, from }: { into?: tf.TensorInfo; from?: tf.TensorInfo },
): void {
  const ends = endsOf(tensors);
  copyTensors(
    backend,
    tensors.map((tensor, i) => {
      const start = ends[i - 1] ?? 0;
      const part = { tensor, byte: 0 };
      const whole = { tensor: (into ?? from)!, byte: start * BYTES };
      return {
        from: into ? part : whole,
        to: into ? whole : part,
        bytes: (ends[i]! - start) * BYTES,
      };
    }),
  );
}

const WORDS = 5; // of a `Parameter` in adamw.wgsl

function tableOf(
  parts: readonly AdamWPart[],
  ends: readonly number[],
): Int32Array<ArrayBuffer> {
  const words = new Int32Array(parts.length * WORDS);
  const floats = new Float32Array(words.buffer);
  parts.forEach((part, i) => {
    const { rate, root, kept } = factorsOf(part);
    words.set([ends[i - 1] ?? 0, ends[i]!], i * WORDS);
    floats.set([rate, root, kept], i * WORDS + 2);
  });
  return words;
}

function paramsOf(
  { count, length, clipNorm }: {
    count: number;
    length: number;
    clipNorm: number;
  },
): Uint32Array<ArrayBuffer> {
  const params = new Uint32Array([count, length, 0]);
  new Float32Array(params.buffer)[2] = clipNorm;
  return params;
}
