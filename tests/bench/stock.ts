/**
 * The same network on stock tfjs: its kernels in the place of ours. The draws
 * stay ours, so that both sides look at the same places.
 *
 * tfjs's WASM backend has no filter gradient: there it is made of the fastest
 * that its kernels offer, a forward convolution of the transposed batch. Its
 * gradient of a max pool writes outside its output (see pool/max_pool.ts), so on
 * that backend ours serves both sides.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import {
  CONV,
  CONV_BIAS_GRADIENT,
  CONV_FILTER_GRADIENT,
  CONV_INPUT_GRADIENT,
  RELU_GRADIENT,
} from "../../kernels/conv/conv.ts";
import { MAX_POOL, MAX_POOL_GRADIENT } from "../../kernels/pool/max_pool.ts";
import { SOFTMAX, SOFTMAX_GRADIENT } from "../../kernels/softmax/softmax.ts";
import type { Subject } from "./measure.ts";

type Compute = (
  inputs: Record<string, tf.Tensor>,
  attributes: Record<string, unknown>,
) => tf.TensorInfo;

const POOL = { filterSize: 2, stride: 2, padding: "valid" };

// Forward kernels call tfjs's directly: an operation of tfjs would be
// recorded for the gradient a second time; gradients are no longer recorded.
const STOCK: Record<string, Compute> = {
  [CONV]: (inputs, { relu, ...attributes }) =>
    call("FusedConv2D", inputs, {
      ...attributes,
      activation: relu ? "relu" : "linear",
    }),
  [CONV_INPUT_GRADIENT]: (inputs, { shape, ...attributes }) =>
    call("Conv2DBackpropInput", inputs, { ...attributes, inputShape: shape }),
  [CONV_FILTER_GRADIENT]: (inputs, attributes) =>
    tf.getKernel("Conv2DBackpropFilter", tf.getBackend())
      ? call("Conv2DBackpropFilter", inputs, {
        ...attributes,
        filterShape: attributes.shape,
      })
      : filterGradientByForward(inputs, attributes),
  [CONV_BIAS_GRADIENT]: ({ dy }) => tf.sum(dy!, [0, 1, 2]),
  [RELU_GRADIENT]: ({ dy, y }) => tf.tidy(() => tf.mul(dy!, tf.step(y!))),
  [MAX_POOL]: ({ x }) => call("MaxPool", { x: x! }, POOL),
  [MAX_POOL_GRADIENT]: ({ x, dy }) =>
    // `output` only serves other backends
    call("MaxPoolGrad", { dy: dy!, input: x!, output: dy! }, POOL),
  [SOFTMAX]: ({ logits }) => call("Softmax", { logits: logits! }, { dim: 1 }),
  [SOFTMAX_GRADIENT]: ({ attention, upstream }) =>
    tf.tidy(() => {
      const dot = tf.sum(tf.mul(attention!, upstream!), 1, true);
      return tf.mul(attention!, tf.sub(upstream!, dot));
    }),
};

/** The same work by our kernels and by tfjs's. */
export function besideStock(
  work: () => Promise<number>,
  note: string,
): Subject {
  return { ours: work, stock: () => withStock(work), note };
}

/** Runs `work` with tfjs's kernels in the place of ours. */
async function withStock<T>(work: () => Promise<T>): Promise<T> {
  const backendName = tf.getBackend();
  const replace = (configs: tf.KernelConfig[]) => {
    for (const config of configs) {
      tf.unregisterKernel(config.kernelName, backendName);
      tf.registerKernel(config);
    }
  };
  const names = Object.keys(STOCK)
    .filter((name) => !(backendName === "wasm" && name === MAX_POOL_GRADIENT));
  const ours = names.map((name) => tf.getKernel(name, backendName));
  replace(names.map((kernelName) => ({
    kernelName,
    backendName,
    kernelFunc: ({ inputs, attrs }) =>
      STOCK[kernelName]!(
        inputs as Record<string, tf.Tensor>,
        attrs as Record<string, unknown>,
      ),
  })));
  try {
    return await work();
  } finally {
    replace(ours);
  }
}

/**
 * dW[ky, kx, i, o] as the convolution of X `[I, H, W, N]` with dY
 * `[h, w, N, O]`, whose pixels lie `stride` apart.
 */
function filterGradientByForward(
  { x, dy }: Record<string, tf.Tensor>,
  { stride, padding, shape }: Record<string, unknown>,
): tf.Tensor {
  const [height, width, inputs, outputs] = shape as number[];
  return tf.tidy(() => {
    const images = tf.transpose(x as tf.Tensor4D, [3, 1, 2, 0]);
    const filter = tf.transpose(dy as tf.Tensor4D, [1, 2, 0, 3]);
    const sums = tf.conv2d(
      images,
      filter,
      1,
      padding as number,
      "NHWC",
      stride as number,
    ); // [I, k or more, k or more, O]
    const wanted = tf.slice(sums, 0, [inputs!, height!, width!, outputs!]);
    return tf.transpose(wanted, [1, 2, 0, 3]);
  });
}

function call(
  name: string,
  inputs: tf.NamedTensorInfoMap,
  { stride, padding, ...rest }: Record<string, unknown>,
): tf.TensorInfo {
  return tf.getKernel(name, tf.getBackend()).kernelFunc({
    inputs,
    backend: tf.backend(),
    attrs: {
      ...rest,
      strides: stride,
      pad: padding,
      dataFormat: "NHWC",
      dilations: 1,
      dimRoundingMode: "floor",
    } as unknown as tf.NamedAttrMap,
  }) as tf.TensorInfo;
}
