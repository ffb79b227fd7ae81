/**
 * The largest of each window of 2x2 pixels, and its gradient.
 *
 *     Y[n, y, x, c] = max over i, j in {0, 1} of X[n, 2 y + i, 2 x + j, c]
 *
 * NHWC; an odd last row or column belongs to no window. An operation of its own
 * because tfjs's WebGPU gradient takes one dispatch for the positions and
 * another that searches the windows around every pixel, and its WASM gradient
 * is wrong for a window without a positive value.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import type { BackendWasm } from "@tensorflow/tfjs-backend-wasm";
import {
  type ElementKernels,
  elementKernels,
  lanesOf,
  type TfjsWebGpuInternals,
} from "../gpu.ts";
import { maxPoolGradientRow } from "../wasm/elementwise.ts";
import { kernelConfigs } from "../kernel_config.ts";
import code from "./max_pool.wgsl" with { type: "text" };
import { offsetOf, routine, type WasmBackend } from "../wasm/routine.ts";

const LANES = 4; // of a SIMD vector
const FLOAT_BYTES = 4;

export const MAX_POOL = "zoomin/MaxPool";
export const MAX_POOL_GRADIENT = "zoomin/MaxPoolGradient";

/** Shape of the input: count, px and channels. */
export type PoolShape = [
  batch: number,
  height: number,
  width: number,
  channels: number,
];

/**
 * Pools `x` `[N, H, W, C]` to `[N, floor(H / 2), floor(W / 2), C]`.
 *
 * @throws {TypeError} If `x` is less than 2 px high or wide.
 */
export function maxPool(x: tf.Tensor4D): tf.Tensor4D {
  const [, height, width] = x.shape;
  if (height < 2 || width < 2) {
    throw new TypeError(
      `Cannot pool ${width}x${height} px: nothing is left`,
    );
  }
  return tf.engine().runKernel(MAX_POOL, { x });
}

tf.registerGradient({
  kernelName: MAX_POOL,
  inputsToSave: ["x"],
  gradFunc: (dy, [x]) => ({
    x: () =>
      tf.engine().runKernel<tf.Tensor>(MAX_POOL_GRADIENT, {
        x: x!,
        dy: dy as tf.Tensor,
      }),
  }),
});

/** The forward function as plain loops. */
export function maxPoolReference(
  x: ArrayLike<number>,
  shape: PoolShape,
): Float32Array {
  const [batch, height, width, channels] = shape;
  const y = new Float32Array(
    batch * Math.floor(height / 2) * Math.floor(width / 2) * channels,
  );
  eachWindow(shape, (a, b, c, d, to) => {
    y[to] = Math.max(x[a]!, x[b]!, x[c]!, x[d]!);
  });
  return y;
}

/** Its gradient as plain loops; among equal pixels, the first gets it. */
export function maxPoolGradientReference(
  x: ArrayLike<number>,
  dy: ArrayLike<number>,
  shape: PoolShape,
  dx: Float32Array = new Float32Array(x.length),
): Float32Array {
  dx.fill(0);
  eachWindow(shape, (a, b, c, d, from) => {
    const upper = x[a]! >= x[b]! ? a : b, lower = x[c]! >= x[d]! ? c : d;
    dx[x[upper]! >= x[lower]! ? upper : lower] = dy[from]!;
  });
  return dx;
}

/** Visits the indices of the four pixels under each index of y. */
function eachWindow(
  [batch, height, width, channels]: PoolShape,
  visit: (a: number, b: number, c: number, d: number, index: number) => void,
): void {
  let index = 0;
  for (let n = 0; n < batch; n++) {
    for (let y = 0; y + 1 < height; y += 2) {
      for (let x = 0; x + 1 < width; x += 2) {
        const first = ((n * height + y) * width + x) * channels;
        for (let at = first; at < first + channels; at++) {
          const below = at + width * channels;
          visit(at, at + channels, below, below + channels, index++);
        }
      }
    }
  }
}

/** The kernels for both engines. */
export const maxPoolKernels = [
  ...kernelConfigs(MAX_POOL, {
    wasm: ({ backend, inputs }) => wasmPool(backend, inputs.x!),
    webgpu: ({ backend, inputs }) => pool(backend, inputs.x!),
  }),
  ...kernelConfigs(MAX_POOL_GRADIENT, {
    wasm: ({ backend, inputs }) =>
      wasmGradient(
        backend as unknown as WasmBackend,
        inputs.x!,
        inputs.dy!,
      ),
    webgpu: ({ backend, inputs }) =>
      poolGradient(backend, inputs.x!, inputs.dy!),
  }),
];

/** Calls tfjs's WASM kernel; the caller releases the result. */
function wasmPool(backend: BackendWasm, x: tf.TensorInfo): tf.TensorInfo {
  return tf.getKernel("MaxPool", "wasm").kernelFunc({
    inputs: { x },
    backend,
    attrs: { filterSize: 2, strides: 2, pad: "valid" },
  }) as tf.TensorInfo;
}

function wasmGradient(
  backend: WasmBackend,
  x: tf.TensorInfo,
  dy: tf.TensorInfo,
): tf.TensorInfo {
  const dx = backend.makeOutput(x.shape, "float32");
  const shape = x.shape as PoolShape;
  const [batch, height, width, channels] = shape;
  const [from, upstream, to] = [x, dy, dx]
    .map((info) => backend.typedArrayFromHeap(info)) as [
      Float32Array,
      Float32Array,
      Float32Array,
    ];
  if (channels % LANES !== 0) {
    maxPoolGradientReference(from, upstream, shape, to);
    return dx;
  }
  to.fill(0); // an odd last row or column is in no window
  const gradientRow = routine(backend, "max_pool_gradient", maxPoolGradientRow);
  const [xAt, dyAt, dxAt] = [x, dy, dx]
    .map((info) => offsetOf(backend, info)) as [number, number, number];
  const pixelBytes = channels * FLOAT_BYTES;
  const rowBytes = width * pixelBytes;
  const windows = Math.floor(width / 2), rows = Math.floor(height / 2);
  for (let n = 0; n < batch; n++) {
    for (let row = 0; row < rows; row++) {
      const above = (n * height + 2 * row) * rowBytes;
      const below = above + rowBytes;
      gradientRow(
        xAt + above,
        xAt + below,
        dyAt + (n * rows + row) * windows * pixelBytes,
        dxAt + above,
        dxAt + below,
        windows,
        channels / LANES,
        pixelBytes,
      );
    }
  }
  return dx;
}

// Invocations a workgroup; see max_pool.wgsl.
const WORKGROUP_SIZE = 64;

const poolKernels = elementKernels("max pool", code, "pool");
const gradientKernels = elementKernels("max pool gradient", code, "gradient");

function pool(backend: TfjsWebGpuInternals, x: tf.TensorInfo): tf.TensorInfo {
  const [batch, height, width, channels] = x.shape as PoolShape;
  const rows = Math.floor(height / 2), columns = Math.floor(width / 2);
  const y = backend.makeTensorInfo([batch, rows, columns, channels], "float32");
  runOverWindows(backend, poolKernels, {
    windows: { rows, columns },
    inputs: [x],
    output: y,
  });
  return y;
}

function poolGradient(
  backend: TfjsWebGpuInternals,
  x: tf.TensorInfo,
  dy: tf.TensorInfo,
): tf.TensorInfo {
  const [, height, width] = x.shape as PoolShape;
  const dx = backend.makeTensorInfo(x.shape, "float32");
  runOverWindows(backend, gradientKernels, {
    windows: { rows: Math.ceil(height / 2), columns: Math.ceil(width / 2) },
    inputs: [x, dy],
    output: dx,
  });
  return dx;
}

/** One invocation for each element of the windows on `inputs[0]`. */
function runOverWindows(
  backend: TfjsWebGpuInternals,
  kernels: ElementKernels,
  { windows: { rows, columns }, inputs, output }: {
    windows: { rows: number; columns: number };
    inputs: [x: tf.TensorInfo, ...others: tf.TensorInfo[]];
    output: tf.TensorInfo;
  },
): void {
  const [batch, height, width, channels] = inputs[0].shape as PoolShape;
  const lanes = lanesOf(channels);
  const elements = channels / lanes;
  const count = batch * rows * columns * elements;
  kernels[lanes].run(backend, {
    params: new Uint32Array([height, width, rows, columns, elements, count]),
    inputs,
    outputs: [output],
    groups: Math.ceil(count / WORKGROUP_SIZE),
  });
}
