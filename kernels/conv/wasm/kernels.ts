/**
 * Convolutions on the WASM engine: tfjs's own kernels are slow on few channels
 * and lack the filter gradient, so all three directions are ours. Each copies
 * its input once into a zero-padded frame and then needs no edge tests:
 *
 * - forward: a row of output pixels at a time, sums in registers;
 * - input gradient: the forward convolution of dY (spread by the stride) with
 *   the filter flipped and its channels swapped;
 * - filter gradient: for every (ky, kx) a sum of outer products of X and dY
 *   over the pixels, a block of it in registers.
 *
 * Those of 5 x 5 px between many channels go in tiles, by a third of the
 * products.
 *
 * Channel counts that fill no vector (not a multiple of 4, and not 1) use tfjs
 * for the forward pass and plain loops for the gradients.
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
  convGradientReference,
  type ConvOptions,
  type ConvShape,
  convShape,
  type KnownOutput,
  RELU_GRADIENT,
  sharing,
} from "../conv.ts";
import {
  layerInputs,
  LAYERS_GRADIENT,
  type LayersAttributes,
} from "../known_layers.ts";
import { LANES } from "./register_blocks.ts";
import { flippedFilter, paddedInput, spread } from "./padding.ts";
import { addRows, sumOuterProducts } from "./outer_products.ts";
import {
  convolveInTiles,
  filterGradientInTiles,
  suitsTiles,
} from "./winograd.ts";
import {
  convolvePadded,
  type PaddedConvolution,
  suitsWasm,
} from "./forward.ts";
import { maskPositive } from "../../wasm/elementwise.ts";
import { offsetOf, routine, type WasmBackend } from "../../wasm/routine.ts";

/** Registers the convolution kernels of the WASM engine. */
export function registerWasmConvolutions(): void {
  const register = (
    kernelName: string,
    run: (
      backend: WasmBackend,
      inputs: Record<string, tf.TensorInfo>,
      attributes: unknown,
    ) => tf.TensorInfo | tf.TensorInfo[],
  ) =>
    tf.registerKernel({
      kernelName,
      backendName: "wasm",
      kernelFunc: ({ inputs, backend, attrs }) =>
        run(
          backend as WasmBackend,
          inputs as Record<string, tf.TensorInfo>,
          attrs,
        ),
    });
  register(
    CONV,
    (backend, { x, filter, bias }, attributes) => {
      const { known, ...options } = attributes as ConvOptions & KnownOutput;
      if (known) return sharing(backend, known);
      return forward(backend, {
        x: x!,
        filter: filter!,
        bias: bias!,
        ...options,
      });
    },
  );
  register(
    CONV_INPUT_GRADIENT,
    (backend, { dy, filter }, attributes) =>
      inputGradient(
        backend,
        dy!,
        filter!,
        attributes as ConvGradientAttributes,
      ),
  );
  register(
    CONV_FILTER_GRADIENT,
    (backend, { x, dy }, attributes) =>
      filterGradient(backend, x!, dy!, attributes as ConvGradientAttributes),
  );
  register(
    CONV_BIAS_GRADIENT,
    (backend, { dy }) => biasGradient(backend, dy!),
  );
  register(
    RELU_GRADIENT,
    (backend, { dy, y }) => reluGradient(backend, dy!, y!),
  );
  register(
    LAYERS_GRADIENT,
    (backend, inputs, attributes) =>
      layersGradient(backend, inputs, attributes as LayersAttributes),
  );
}

function forward(backend: WasmBackend, { x, filter, bias, ...options }: {
  x: tf.TensorInfo;
  filter: tf.TensorInfo;
  bias: tf.TensorInfo;
} & ConvOptions): tf.TensorInfo {
  const shape = convShape(x.shape, filter.shape, options);
  if (!suitsWasm(shape)) {
    return stockForward(backend, { x, filter, bias, options });
  }
  const frame = paddedInput(backend, x, shape);
  const out = convolve(backend, frame, {
    filter,
    bias,
    shape,
    relu: options.relu,
  });
  if (frame !== x) backend.disposeData(frame.dataId);
  return out;
}

function convolve(
  backend: WasmBackend,
  frame: tf.TensorInfo,
  convolution: PaddedConvolution,
): tf.TensorInfo {
  const way = suitsTiles(convolution.shape) ? convolveInTiles : convolvePadded;
  return way(backend, frame, convolution);
}

function stockForward(backend: WasmBackend, { x, filter, bias, options }: {
  x: tf.TensorInfo;
  filter: tf.TensorInfo;
  bias: tf.TensorInfo;
  options: ConvOptions;
}): tf.TensorInfo {
  return tf.getKernel("FusedConv2D", "wasm").kernelFunc({
    inputs: { x, filter, bias },
    backend,
    attrs: {
      strides: options.stride,
      pad: options.padding,
      dataFormat: "NHWC",
      dilations: 1,
      activation: options.relu ? "relu" : "linear",
    },
  }) as tf.TensorInfo;
}

function inputGradient(
  backend: WasmBackend,
  dy: tf.TensorInfo,
  filter: tf.TensorInfo,
  { shape: xShape, stride, padding }: ConvGradientAttributes,
): tf.TensorInfo {
  const shape = convShape(xShape, filter.shape, { stride, padding });
  const { batch, height, width, kernel, inputs, outputs } = shape;
  const turned = convShape(
    [batch, height + kernel - 1, width + kernel - 1, outputs],
    [kernel, kernel, outputs, inputs],
    { stride: 1, padding: 0 },
  );
  // Padding wider than the kernel yields outputs that see no input at all.
  if (!suitsWasm(turned) || padding >= kernel) {
    return plainGradient(backend, "x", { dy, filter, shape });
  }
  const frame = spread(backend, dy, {
    height: height + kernel - 1,
    width: width + kernel - 1,
    offset: kernel - 1 - padding,
    stride,
  });
  const flipped = flippedFilter(backend, filter);
  const zeros = backend.makeOutput([inputs], "float32");
  backend.typedArrayFromHeap(zeros).fill(0);
  const dx = convolve(backend, frame, {
    filter: flipped,
    bias: zeros,
    shape: turned,
    relu: false,
  });
  for (const { dataId } of [frame, flipped, zeros]) backend.disposeData(dataId);
  return dx;
}

function filterGradient(
  backend: WasmBackend,
  x: tf.TensorInfo,
  dy: tf.TensorInfo,
  { shape: filterShape, stride, padding }: ConvGradientAttributes,
): tf.TensorInfo {
  const shape = convShape(x.shape, filterShape, { stride, padding });
  const { inputs, outputs } = shape;
  const swapped = outputs === 1 && inputs % LANES === 0;
  if (!swapped && outputs % LANES !== 0) {
    return plainGradient(backend, "filter", { x, dy, shape });
  }
  const dFilter = backend.makeOutput(filterShape, "float32");
  if (suitsTiles(shape)) {
    filterGradientInTiles(backend, { x, dy, dFilter, shape });
    return dFilter;
  }
  const frame = paddedInput(backend, x, shape);
  backend.typedArrayFromHeap(dFilter).fill(0);
  sumOuterProducts(backend, { frame, dy, dFilter, shape, swapped });
  if (frame !== x) backend.disposeData(frame.dataId);
  return dFilter;
}

/** The sum of dY over all pixels. */
function biasGradient(
  backend: WasmBackend,
  dy: tf.TensorInfo,
): tf.TensorInfo {
  const outputs = dy.shape.at(-1)!;
  const out = backend.makeOutput([outputs], "float32");
  const length = tf.util.sizeFromShape(dy.shape);
  if (outputs % LANES === 0) {
    backend.typedArrayFromHeap(out).fill(0);
    const rows = length / outputs;
    addRows(backend, { at: offsetOf(backend, dy), rows, outputs }, out);
    return out;
  }
  // Rows of whole pixels and vectors, and the pixels that are left.
  const together = outputs * LANES;
  const rows = Math.floor(length / together);
  const sums = backend.makeOutput([together], "float32");
  backend.typedArrayFromHeap(sums).fill(0);
  if (rows > 0) {
    const at = offsetOf(backend, dy);
    addRows(backend, { at, rows, outputs: together }, sums);
  }
  const values = backend.typedArrayFromHeap(dy);
  const exact = new Float64Array(outputs);
  backend.typedArrayFromHeap(sums)
    .forEach((sum, i) => exact[i % outputs]! += sum);
  for (let at = rows * together; at < length; at++) {
    exact[at % outputs]! += values[at]!;
  }
  backend.typedArrayFromHeap(out).set(exact);
  backend.disposeData(sums.dataId);
  return out;
}

function reluGradient(
  backend: WasmBackend,
  dy: tf.TensorInfo,
  y: tf.TensorInfo,
): tf.TensorInfo {
  const out = backend.makeOutput(dy.shape, "float32");
  const tensors = [dy, y, out];
  const [upstream, value, result] = tensors
    .map((info) => backend.typedArrayFromHeap(info)) as [
      Float32Array,
      Float32Array,
      Float32Array,
    ];
  const vectors = Math.floor(result.length / LANES);
  if (vectors > 0) {
    routine(backend, "mask_positive", maskPositive)(
      ...tensors.map((info) => offsetOf(backend, info)),
      vectors,
    );
  }
  for (let i = vectors * LANES; i < result.length; i++) {
    result[i] = value[i]! > 0 ? upstream[i]! : 0;
  }
  return out;
}

/** The gradients of all filters and biases, layer by layer. */
function layersGradient(
  backend: WasmBackend,
  inputs: Record<string, tf.TensorInfo>,
  { relus, padding }: LayersAttributes,
): tf.TensorInfo[] {
  const gradients: tf.TensorInfo[] = [];
  let dy = inputs.dy!;
  for (let layer = relus.length - 1; layer >= 0; layer--) {
    const { x, filter, y } = layerInputs(inputs, layer);
    const upstream = relus[layer] ? reluGradient(backend, dy, y) : dy;
    const options = { stride: 1, padding };
    gradients.unshift(
      filterGradient(backend, x, upstream, { ...options, shape: filter.shape }),
      biasGradient(backend, upstream),
    );
    const next = layer > 0
      ? inputGradient(backend, upstream, filter, { ...options, shape: x.shape })
      : undefined;
    const spent = new Set([dy, upstream]);
    spent.delete(inputs.dy!);
    for (const { dataId } of spent) backend.disposeData(dataId);
    if (next) dy = next;
  }
  return gradients;
}

/** A gradient computed by plain loops, for channel counts that fill no vector. */
function plainGradient(
  backend: WasmBackend,
  wanted: "x" | "filter",
  { x, filter, dy, shape }: {
    x?: tf.TensorInfo;
    filter?: tf.TensorInfo;
    dy: tf.TensorInfo;
    shape: ConvShape;
  },
): tf.TensorInfo {
  const { batch, height, width, inputs, kernel, outputs } = shape;
  const xShape = [batch, height, width, inputs];
  const filterShape = [kernel, kernel, inputs, outputs];
  const out = backend.makeOutput(
    wanted === "x" ? xShape : filterShape,
    "float32",
  );
  const values = (info: tf.TensorInfo | undefined, like: number[]) =>
    info
      ? backend.typedArrayFromHeap(info)
      : new Float32Array(tf.util.sizeFromShape(like));
  const gradient = convGradientReference(
    values(x, xShape),
    values(filter, filterShape),
    values(dy, []),
    shape,
  );
  backend.typedArrayFromHeap(out).set(gradient[wanted]);
  return out;
}
