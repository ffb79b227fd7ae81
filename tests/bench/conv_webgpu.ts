/**
 * Our WebGPU convolutions beside tfjs's own, on the two networks that a step
 * spends its time in:
 *
 * - attention: 3x3, 3-8-8-1, on 1x512x512x3;
 * - features: 5x5, 3-36, pool, 36-48, pool, on 32x27x27x3.
 *
 * Ours and stock run in turn; the median of REPEATS counts. `first` is the first
 * run of ours, with the compilation of its shaders (a driver may have them on
 * disk). With `ours`, tfjs's kernels are left out.
 *
 *     deno run --allow-read --allow-env --allow-sys --allow-ffi \
 *       tests/bench/conv_webgpu.ts [REPEATS = 3] [attention|features] [ours]
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import {
  CONV,
  conv2d,
  CONV_BIAS_GRADIENT,
  CONV_FILTER_GRADIENT,
  CONV_INPUT_GRADIENT,
  RELU_GRADIENT,
} from "../../kernels/conv.ts";
import {
  MAX_POOL,
  MAX_POOL_GRADIENT,
  maxPool,
} from "../../kernels/max_pool.ts";
import { startEngine } from "../../lib/engine/select.ts";
import { normalTensor } from "../finite_differences.ts";

/** One layer of a network: a convolution, and whether a pool follows. */
interface Layer {
  kernel: number;
  inputs: number;
  outputs: number;
  relu: boolean;
  pool: boolean;
}

/** A network and the images it is timed on. */
interface Network {
  input: [number, number, number, number];
  layers: Layer[];
}

const layer = (
  kernel: number,
  inputs: number,
  outputs: number,
  { relu = true, pool = false } = {},
): Layer => ({ kernel, inputs, outputs, relu, pool });

const NETWORKS: Record<string, Network> = {
  attention: {
    input: [1, 512, 512, 3],
    layers: [layer(3, 3, 8), layer(3, 8, 8), layer(3, 8, 1, { relu: false })],
  },
  features: {
    input: [32, 27, 27, 3],
    layers: [layer(5, 3, 36, { pool: true }), layer(5, 36, 48, { pool: true })],
  },
};

const POOL = { filterSize: 2, stride: 2, padding: "valid" };

/** The same operations by tfjs's kernels. */
const STOCK: Record<string, Compute> = {
  [CONV]: (inputs, { relu, ...attributes }) =>
    call("FusedConv2D", inputs, {
      ...attributes,
      activation: relu ? "relu" : "linear",
    }),
  [CONV_INPUT_GRADIENT]: (inputs, { shape, ...attributes }) =>
    call("Conv2DBackpropInput", inputs, { ...attributes, inputShape: shape }),
  [CONV_FILTER_GRADIENT]: (inputs, { shape, ...attributes }) =>
    call("Conv2DBackpropFilter", inputs, { ...attributes, filterShape: shape }),
  [CONV_BIAS_GRADIENT]: ({ dy }) =>
    call("Sum", { x: dy! }, { axis: [0, 1, 2], keepDims: false }),
  [RELU_GRADIENT]: ({ dy, y }) => {
    const open = call("Step", { x: y! }, { alpha: 0 });
    const masked = call("Multiply", { a: dy!, b: open }, {});
    tf.backend().disposeData(open.dataId);
    return masked;
  },
  [MAX_POOL]: ({ x }) => call("MaxPool", { x: x! }, POOL),
  [MAX_POOL_GRADIENT]: ({ x, dy }) =>
    // `output` only serves other backends
    call("MaxPoolGrad", { dy: dy!, input: x!, output: dy! }, POOL),
};

type Compute = (
  inputs: tf.NamedTensorInfoMap,
  attributes: Record<string, unknown>,
) => tf.TensorInfo;

function call(
  name: string,
  inputs: tf.NamedTensorInfoMap,
  attributes: Record<string, unknown>,
): tf.TensorInfo {
  const { stride, padding, ...rest } = attributes;
  return tf.getKernel(name, "webgpu").kernelFunc({
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

/** Runs `work` with tfjs's kernels in the place of ours. */
async function withStock<T>(work: () => Promise<T>): Promise<T> {
  const names = Object.keys(STOCK);
  const replace = (configs: tf.KernelConfig[]) => {
    for (const config of configs) {
      tf.unregisterKernel(config.kernelName, "webgpu");
      tf.registerKernel(config);
    }
  };
  const ours = names.map((name) => tf.getKernel(name, "webgpu"));
  replace(names.map((kernelName) => ({
    kernelName,
    backendName: "webgpu",
    kernelFunc: ({ inputs, attrs }) =>
      STOCK[kernelName]!(
        inputs as tf.NamedTensorInfoMap,
        attrs as Record<string, unknown>,
      ),
  })));
  try {
    return await work();
  } finally {
    replace(ours);
  }
}

/** The network's output, of images and of weights and biases in turn. */
function apply(
  { layers }: Network,
  [images, ...weights]: tf.Tensor[],
): tf.Tensor4D {
  return layers.reduce((x, { kernel, relu, pool }, i) => {
    const y = conv2d(x, {
      filter: weights[2 * i] as tf.Tensor4D,
      bias: weights[2 * i + 1] as tf.Tensor1D,
      stride: 1,
      padding: (kernel - 1) / 2,
      relu,
    });
    return pool ? maxPool(y) : y;
  }, images as tf.Tensor4D);
}

/** Milliseconds of one pass, until the device has done it. */
async function time(
  network: Network,
  { inputs, backward }: { inputs: tf.Tensor[]; backward: boolean },
): Promise<number> {
  const [images, ...weights] = inputs as [tf.Tensor, ...tf.Tensor[]];
  const start = performance.now();
  const results = tf.tidy(() => {
    const output = (...weights: tf.Tensor[]) =>
      apply(network, [images, ...weights]);
    return backward
      ? tf.grads((...weights) => {
        const y = output(...weights);
        return tf.sum(tf.mul(y, y));
      })(weights)
      : [output(...weights)];
  });
  await results.at(-1)!.data();
  const ms = performance.now() - start;
  tf.dispose(results);
  return ms;
}

const median = (values: number[]) =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;

const besideStock = (ours: number, stock: number) =>
  `, stock ${stock.toFixed(0)} ms, ratio ${(stock / ours).toFixed(1)}`;

const [repeats = "3", only, ours] = Deno.args;
const { reason } = await startEngine("webgpu");
console.log(reason);
for (const [name, network] of Object.entries(NETWORKS)) {
  if (only && only !== name) continue;
  const shapes = network.layers.flatMap(({ kernel, inputs, outputs }) => [
    [kernel, kernel, inputs, outputs],
    [outputs],
  ]);
  const inputs = [network.input, ...shapes].map((shape, i) =>
    tf.tidy(() => tf.mul(normalTensor(shape, i + 1), i ? 0.1 : 1))
  );
  for (const backward of [false, true]) {
    const options = { inputs, backward };
    const first = await time(network, options);
    if (!ours) await withStock(() => time(network, options));
    const times = { ours: [] as number[], stock: [] as number[] };
    for (let i = 0; i < Number(repeats); i++) {
      times.ours.push(await time(network, options));
      if (ours) continue;
      times.stock.push(await withStock(() => time(network, options)));
    }
    const ms = median(times.ours);
    const beside = ours ? "" : besideStock(ms, median(times.stock));
    console.log(
      `${name} ${backward ? "forward+backward" : "forward"}: ours ${
        ms.toFixed(1)
      } ms (first ${first.toFixed(0)})${beside}`,
    );
  }
  tf.dispose(inputs);
}
