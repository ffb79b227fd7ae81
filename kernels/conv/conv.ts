/**
 * Two-dimensional convolution with fused bias and ReLU, and its gradients.
 *
 *     Y[n, y, x, o] = relu(B[o] + sum over ky, kx, i of
 *                     X[n, y s + ky - p, x s + kx - p, i] W[ky, kx, i, o])
 *
 * NHWC, square kernels, zero padding p on all four sides. This is an operation
 * in its own right, not `tf.fused.conv2d` because tfjs computes the gradient of
 * the input image too, which is never used and costs as much as the layer
 * itself; here each gradient is computed only on demand.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";

/** Stride and padding in px, and an optional ReLU. */
export interface ConvOptions {
  stride: number;
  padding: number;
  relu: boolean;
}

/** An output that was computed before, whose gradient alone is wanted. */
export interface KnownOutput {
  known?: tf.TensorInfo | undefined;
}

/** Sizes of one convolution: counts, px and channels. */
export interface ConvShape {
  batch: number;
  height: number;
  width: number;
  inputs: number;
  kernel: number;
  outputs: number;
  outHeight: number;
  outWidth: number;
  stride: number;
  padding: number;
}

export const CONV = "zoomin/Conv2D";
export const CONV_INPUT_GRADIENT = "zoomin/Conv2DInputGradient";
export const CONV_FILTER_GRADIENT = "zoomin/Conv2DFilterGradient";
export const CONV_BIAS_GRADIENT = "zoomin/Conv2DBiasGradient";
export const RELU_GRADIENT = "zoomin/ReluGradient";

/**
 * Convolves `x` `[N, H, W, I]` with `filter` `[k, k, I, O]` and adds `bias`
 * `[O]`; if the output is `known`, for the same inputs, it is that one.
 *
 * @throws {TypeError} If the shapes do not fit.
 */
export function conv2d(
  x: tf.Tensor4D,
  { filter, bias, known, ...options }: ConvOptions & {
    filter: tf.Tensor4D;
    bias: tf.Tensor1D;
    known?: tf.Tensor4D | undefined;
  },
): tf.Tensor4D {
  convShape(x.shape, filter.shape, options);
  const attributes = {
    ...options,
    ...(known && {
      known: { dataId: known.dataId, shape: known.shape, dtype: known.dtype },
    }),
  };
  return tf.engine().runKernel(
    CONV,
    { x, filter, bias },
    attributes as unknown as tf.NamedAttrMap, // tfjs passes it on as it is
  );
}

/** A further tensor of data that is on the engine. */
export function sharing(
  backend: Pick<tf.KernelBackend, "incRef">,
  info: tf.TensorInfo,
): tf.TensorInfo {
  backend.incRef(info.dataId);
  return info;
}

/** Sizes of a convolution of `x` with `filter`. */
export function convShape(
  x: readonly number[],
  filter: readonly number[],
  { stride, padding }: { stride: number; padding: number },
): ConvShape {
  const [batch = 0, height = 0, width = 0, inputs = 0] = x;
  const [kernel = 0, kernelWidth = 0, filterInputs = 0, outputs = 0] = filter;
  if (filterInputs !== inputs || kernel !== kernelWidth) {
    throw new TypeError(
      `Cannot convolve [${x}] with a filter of shape [${filter}]`,
    );
  }
  const extent = (length: number) =>
    Math.floor((length + 2 * padding - kernel) / stride) + 1;
  const outHeight = extent(height), outWidth = extent(width);
  if (outHeight < 1 || outWidth < 1) {
    throw new TypeError(
      `Cannot convolve ${width}x${height} px with a ${kernel}-px kernel: nothing is left`,
    );
  }
  return {
    batch,
    height,
    width,
    inputs,
    kernel,
    outputs,
    outHeight,
    outWidth,
    stride,
    padding,
  };
}

tf.registerGradient({
  kernelName: CONV,
  inputsToSave: ["x", "filter"],
  outputsToSave: [true],
  gradFunc: (dy, saved, attributes) => {
    const [x, filter, y] = saved as [tf.Tensor4D, tf.Tensor4D, tf.Tensor4D];
    const { relu, stride, padding } = attributes as unknown as ConvOptions;
    const run = (kernel: string, inputs: tf.NamedTensorMap, shape: number[]) =>
      tf.engine().runKernel<tf.Tensor>(kernel, inputs, {
        stride,
        padding,
        shape,
      });
    // Not inside the functions below: tfjs frees what each of them makes.
    const upstream = relu
      ? tf.engine().runKernel<tf.Tensor>(RELU_GRADIENT, {
        dy: dy as tf.Tensor,
        y,
      })
      : dy as tf.Tensor;
    return {
      x: () => run(CONV_INPUT_GRADIENT, { dy: upstream, filter }, x.shape),
      filter: () =>
        run(CONV_FILTER_GRADIENT, { x, dy: upstream }, filter.shape),
      bias: () =>
        run(CONV_BIAS_GRADIENT, { dy: upstream }, filter.shape.slice(3)),
    };
  },
});

/** Inputs of the gradient kernels; `shape` is that of the result. */
export interface ConvGradientAttributes {
  stride: number;
  padding: number;
  shape: number[];
}

/** The forward convolution as plain loops (without the ReLU). */
export function convReference(
  x: ArrayLike<number>,
  filter: ArrayLike<number>,
  bias: ArrayLike<number>,
  shape: ConvShape,
): Float32Array {
  const { batch, outHeight, outWidth, outputs } = shape;
  const out = new Float32Array(batch * outHeight * outWidth * outputs);
  for (let at = 0; at < out.length; at++) out[at] = bias[at % outputs]!;
  eachProduct(shape, (xAt, filterAt, outAt) => {
    out[outAt]! += x[xAt]! * filter[filterAt]!;
  });
  return out;
}

/** The three gradients as plain loops, from the upstream gradient `dy`. */
export function convGradientReference(
  x: ArrayLike<number>,
  filter: ArrayLike<number>,
  dy: ArrayLike<number>,
  shape: ConvShape,
): { x: Float32Array; filter: Float32Array; bias: Float32Array } {
  const dx = new Float64Array(x.length);
  const dFilter = new Float64Array(filter.length);
  const dBias = new Float64Array(shape.outputs);
  eachProduct(shape, (xAt, filterAt, outAt) => {
    dx[xAt]! += dy[outAt]! * filter[filterAt]!;
    dFilter[filterAt]! += dy[outAt]! * x[xAt]!;
  });
  for (let at = 0; at < dy.length; at++) {
    dBias[at % shape.outputs]! += dy[at]!;
  }
  return {
    x: Float32Array.from(dx),
    filter: Float32Array.from(dFilter),
    bias: Float32Array.from(dBias),
  };
}

/** Visits every product of the convolution by its three indices. */
function eachProduct(
  s: ConvShape,
  visit: (xAt: number, filterAt: number, outAt: number) => void,
): void {
  for (let n = 0; n < s.batch; n++) {
    for (let oy = 0; oy < s.outHeight; oy++) {
      for (let ox = 0; ox < s.outWidth; ox++) {
        for (let ky = 0; ky < s.kernel; ky++) {
          const y = oy * s.stride + ky - s.padding;
          if (y < 0 || y >= s.height) continue;
          for (let kx = 0; kx < s.kernel; kx++) {
            const x = ox * s.stride + kx - s.padding;
            if (x < 0 || x >= s.width) continue;
            for (let i = 0; i < s.inputs; i++) {
              for (let o = 0; o < s.outputs; o++) {
                visit(
                  ((n * s.height + y) * s.width + x) * s.inputs + i,
                  ((ky * s.kernel + kx) * s.inputs + i) * s.outputs + o,
                  ((n * s.outHeight + oy) * s.outWidth + ox) * s.outputs + o,
                );
              }
            }
          }
        }
      }
    }
  }
}
