/**
 * Convolutions on the WASM engine: tfjs's own kernels lose most of their time
 * on few channels and know no filter gradient, so all three directions are
 * ours. Each copies its input once into a zero-padded frame and then needs no
 * test for the edge:
 *
 * - forward: a row of output pixels at a time, sums in registers;
 * - input gradient: the forward convolution of dY (spread by the stride) with
 *   the filter flipped and its channels swapped;
 * - filter gradient: for every (ky, kx) a sum of outer products of X and dY
 *   over the pixels, a block of it in registers.
 *
 * Channel counts that fill no vector (not a multiple of 4, and not 1) fall
 * back on tfjs forward and on the plain loops for the gradients.
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
  RELU_GRADIENT,
} from "./conv.ts";
import {
  convolveRow,
  convolveRowToOne,
  outerProducts,
} from "./conv_wasm_routines.ts";
import { maskPositive } from "./elements_wasm_routines.ts";
import { offsetOf, routine, type WasmBackend } from "./wasm_routine.ts";

const FLOAT_BYTES = 4;
const LANES = 4;

// Rows of X and dY that stay in the second-level cache while every block of dW
// passes over them.
const CHUNK_BYTES = 128 * 1024;

/** Registers the convolution kernels of the WASM engine. */
export function registerWasmConvolutions(): void {
  const register = (
    kernelName: string,
    run: (
      backend: WasmBackend,
      inputs: Record<string, tf.TensorInfo>,
      attributes: unknown,
    ) => tf.TensorInfo,
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
}

function forward(backend: WasmBackend, { x, filter, bias, ...options }: {
  x: tf.TensorInfo;
  filter: tf.TensorInfo;
  bias: tf.TensorInfo;
} & ConvOptions): tf.TensorInfo {
  const shape = convShape(x.shape, filter.shape, options);
  if (!suits(shape)) return stockForward(backend, { x, filter, bias, options });
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

/** Whether {@linkcode convolve} can compute this shape. */
function suits({ kernel, inputs, outputs }: ConvShape): boolean {
  return outputs % LANES === 0 ||
    (outputs === 1 && (kernel * inputs) % LANES === 0);
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

/** The valid convolution of a `frame` that already holds its padding. */
function convolve(backend: WasmBackend, frame: tf.TensorInfo, {
  filter,
  bias,
  shape,
  relu,
}: {
  filter: tf.TensorInfo;
  bias: tf.TensorInfo;
  shape: ConvShape;
  relu: boolean;
}): tf.TensorInfo {
  const { batch, outHeight, outWidth, outputs, inputs, kernel, stride } = shape;
  const out = backend.makeOutput(
    [batch, outHeight, outWidth, outputs],
    "float32",
  );
  const [, frameHeight = 0, frameWidth = 0] = frame.shape;
  const frameRow = frameWidth * inputs * FLOAT_BYTES;
  const outPixel = outputs * FLOAT_BYTES;
  const outRow = outWidth * outPixel;
  const pixelBytes = inputs * stride * FLOAT_BYTES;
  const toOne = outputs % LANES !== 0;
  const { vectors, pixels: most } = toOne ? ROW_TO_ONE : rowBlock(outputs);
  const pixels = Math.min(most, outWidth);
  const run = toOne ? (kernel * inputs) / LANES : kernel * inputs;
  const unroll = largestDivisor(run, MOST_UNROLLED);
  const name =
    `convolve_${toOne}_${pixels}x${vectors}x${unroll}_${pixelBytes}_${relu}`;
  const block = { pixels, unroll, pixelBytes };
  const convolveTiles = routine(
    backend,
    name,
    (name, relaxed) =>
      toOne
        ? convolveRowToOne(name, { ...block, relaxed })
        : convolveRow(name, { ...block, vectors, relu, relaxed }),
  );
  const [xStart, filterStart, biasStart, outStart] = [frame, filter, bias, out]
    .map((info) => offsetOf(backend, info)) as [number, number, number, number];
  const blockBytes = vectors * LANES * FLOAT_BYTES;
  const blocks = toOne ? 1 : outputs / (vectors * LANES);
  const tiles = Math.floor(outWidth / pixels);
  for (let n = 0; n < batch; n++) {
    for (let y = 0; y < outHeight; y++) {
      const x = xStart + (n * frameHeight + y * stride) * frameRow;
      const outAt = outStart + (n * outHeight + y) * outRow;
      for (let block = 0; block < blocks; block++) {
        const shift = block * blockBytes;
        const runTiles = (first: number, count: number) =>
          convolveTiles(
            x + first * pixelBytes,
            filterStart + shift,
            biasStart + shift,
            outAt + shift + first * outPixel,
            count,
            kernel,
            run / unroll,
            frameRow,
            outPixel,
            outPixel,
          );
        runTiles(0, tiles);
        // The last pixels of a row: one more tile, which overlaps the one before.
        if (tiles * pixels < outWidth) runTiles(outWidth - pixels, 1);
      }
    }
  }
  if (toOne && relu) clampNegative(backend.typedArrayFromHeap(out));
  return out;
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
  // A padding wider than the kernel gives outputs that see no input at all.
  if (!suits(turned) || padding >= kernel) {
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
  const frame = paddedInput(backend, x, shape);
  const dFilter = backend.makeOutput(filterShape, "float32");
  backend.typedArrayFromHeap(dFilter).fill(0);
  sumOuterProducts(backend, { frame, dy, dFilter, shape, swapped });
  if (frame !== x) backend.disposeData(frame.dataId);
  return dFilter;
}

/**
 * Adds up the outer products of inputs and upstream gradients; `swapped` lets
 * the vectors run along the inputs where there is one output channel only.
 */
function sumOuterProducts(
  backend: WasmBackend,
  { frame, dy, dFilter, shape, swapped }: {
    frame: tf.TensorInfo;
    dy: tf.TensorInfo;
    dFilter: tf.TensorInfo;
    shape: ConvShape;
    swapped: boolean;
  },
): void {
  const { batch, outHeight, outWidth, inputs, outputs, kernel, stride } = shape;
  const [, frameHeight = 0, frameWidth = 0] = frame.shape;
  const xPixel = inputs * FLOAT_BYTES;
  const xRow = frameWidth * xPixel;
  const [xStep, xPixelStep] = [xRow * stride, xPixel * stride];
  const dyPixel = outputs * FLOAT_BYTES;
  const dyRow = outWidth * dyPixel;
  const [xStart, dyStart, outStart] = [frame, dy, dFilter]
    .map((info) => offsetOf(backend, info)) as [number, number, number];
  const vectorExtent = swapped ? inputs : outputs;
  const splatExtent = swapped ? outputs : inputs;
  const { height, vectors } = outerBlock(splatExtent, vectorExtent);
  const addProducts = outerRoutine(backend, height, vectors);
  const rowsAtOnce = Math.max(
    1,
    Math.floor(CHUNK_BYTES / (xRow * stride + dyRow)),
  );
  for (let n = 0; n < batch; n++) {
    for (let y = 0; y < outHeight; y += rowsAtOnce) {
      const rows = Math.min(rowsAtOnce, outHeight - y);
      const dyAt = dyStart + (n * outHeight + y) * dyRow;
      for (let ky = 0; ky < kernel; ky++) {
        for (let kx = 0; kx < kernel; kx++) {
          const xAt = xStart + kx * xPixel +
            (n * frameHeight + y * stride + ky) * xRow;
          const outAt = outStart +
            (ky * kernel + kx) * inputs * outputs * FLOAT_BYTES;
          for (let i = 0; i < splatExtent; i += height) {
            for (let j = 0; j < vectorExtent; j += vectors * LANES) {
              const [inputAt, outputAt] = swapped ? [j, i] : [i, j];
              const block = outAt +
                (inputAt * outputs + outputAt) * FLOAT_BYTES;
              const xBlock = xAt + inputAt * FLOAT_BYTES;
              const dyBlock = dyAt + outputAt * FLOAT_BYTES;
              if (swapped) {
                addProducts(
                  dyBlock,
                  xBlock,
                  block,
                  rows,
                  outWidth,
                  dyRow,
                  xStep,
                  dyPixel,
                  xPixelStep,
                  xPixel,
                );
              } else {
                addProducts(
                  xBlock,
                  dyBlock,
                  block,
                  rows,
                  outWidth,
                  xStep,
                  dyRow,
                  xPixelStep,
                  dyPixel,
                  dyPixel,
                );
              }
            }
          }
        }
      }
    }
  }
}

/** The sum of dY over all pixels: an outer product with one. */
function biasGradient(
  backend: WasmBackend,
  dy: tf.TensorInfo,
): tf.TensorInfo {
  const outputs = dy.shape.at(-1)!;
  const pixels = tf.util.sizeFromShape(dy.shape) / outputs;
  const out = backend.makeOutput([outputs], "float32");
  const sums = backend.typedArrayFromHeap(out).fill(0);
  if (outputs % LANES !== 0) {
    const values = backend.typedArrayFromHeap(dy);
    const exact = new Float64Array(outputs);
    for (let at = 0; at < values.length;) {
      for (let o = 0; o < outputs; o++, at++) exact[o]! += values[at]!;
    }
    sums.set(exact);
    return out;
  }
  const one = backend.makeOutput([1], "float32");
  backend.typedArrayFromHeap(one).fill(1);
  const [oneAt, dyAt, outAt] = [one, dy, out]
    .map((info) => offsetOf(backend, info)) as [number, number, number];
  const { vectors } = outerBlock(1, outputs);
  const addRows = outerRoutine(backend, 1, vectors);
  const pixelBytes = outputs * FLOAT_BYTES;
  for (let o = 0; o < outputs; o += vectors * LANES) {
    const shift = o * FLOAT_BYTES;
    addRows(
      oneAt,
      dyAt + shift,
      outAt + shift,
      1,
      pixels,
      0,
      0,
      0,
      pixelBytes,
      0,
    );
  }
  backend.disposeData(one.dataId);
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

/** A gradient by the plain loops, for channel counts that fill no vector. */
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

/** `x` with its zero padding; `x` itself where there is none. */
function paddedInput(
  backend: WasmBackend,
  x: tf.TensorInfo,
  { height, width, padding }: ConvShape,
): tf.TensorInfo {
  if (padding === 0) return x;
  return spread(backend, x, {
    height: height + 2 * padding,
    width: width + 2 * padding,
    offset: padding,
    stride: 1,
  });
}

/** Images of zeros with the pixels of `x` from `offset` on, `stride` apart. */
function spread(backend: WasmBackend, x: tf.TensorInfo, {
  height,
  width,
  offset,
  stride,
}: { height: number; width: number; offset: number; stride: number }) {
  const [batch, xHeight, xWidth, channels] = x.shape as [
    number,
    number,
    number,
    number,
  ];
  const frame = backend.makeOutput([batch, height, width, channels], "float32");
  const from = backend.typedArrayFromHeap(x);
  const to = backend.typedArrayFromHeap(frame);
  to.fill(0);
  const run = stride === 1 ? xWidth * channels : channels; // values side by side
  for (let n = 0; n < batch; n++) {
    for (let y = 0; y < xHeight; y++) {
      const fromRow = (n * xHeight + y) * xWidth * channels;
      const toRow = ((n * height + offset + y * stride) * width + offset) *
        channels;
      for (let at = 0; at < xWidth * channels; at += run) {
        to.set(
          from.subarray(fromRow + at, fromRow + at + run),
          toRow + at * stride,
        );
      }
    }
  }
  return frame;
}

/** The filter turned by 180 degrees, its channels swapped: `[k, k, O, I]`. */
function flippedFilter(
  backend: WasmBackend,
  filter: tf.TensorInfo,
): tf.TensorInfo {
  const [kernel, , inputs, outputs] = filter.shape as [
    number,
    number,
    number,
    number,
  ];
  const out = backend.makeOutput([kernel, kernel, outputs, inputs], "float32");
  const from = backend.typedArrayFromHeap(filter);
  const to = backend.typedArrayFromHeap(out);
  const taps = kernel * kernel;
  for (let tap = 0; tap < taps; tap++) {
    for (let i = 0; i < inputs; i++) {
      for (let o = 0; o < outputs; o++) {
        to[((taps - 1 - tap) * outputs + o) * inputs + i] =
          from[(tap * inputs + i) * outputs + o]!;
      }
    }
  }
  return out;
}

// Blocks of sums, each with the vectors and the one value that it meets, in 15
// registers: of x64's 16, V8 keeps one. A block of 4 x 3 spills, and takes twice
// as long as one of 3 x 3.

/** Pixels and vectors of 4 channels in a block of a row. */
interface RowBlock {
  pixels: number;
  vectors: number;
}

const ROW_BLOCKS: readonly RowBlock[] = [
  { pixels: 3, vectors: 3 },
  { pixels: 5, vectors: 2 },
  { pixels: 8, vectors: 1 },
];
const ROW_TO_ONE: RowBlock = { pixels: 8, vectors: 1 };

/** The block for so many output channels. */
function rowBlock(channels: number): RowBlock {
  return ROW_BLOCKS.find(({ vectors }) => channels % (vectors * LANES) === 0)!;
}

/** Values and vectors in a block of outer products. */
interface OuterBlock {
  height: number;
  vectors: number;
}

const OUTER_BLOCKS: readonly OuterBlock[] = [
  { height: 6, vectors: 2 },
  { height: 3, vectors: 3 },
  { height: 8, vectors: 1 },
];

/** The block for so many channels on either side. */
function outerBlock(splats: number, channels: number): OuterBlock {
  const { height, vectors } = OUTER_BLOCKS.find(({ vectors }) =>
    channels % (vectors * LANES) === 0
  )!;
  return { vectors, height: largestDivisor(splats, height) };
}

// Steps of a row's loop in one round, to save its counting: +30 %.
const MOST_UNROLLED = 6;

/** The largest divisor of `n` up to `most`. */
function largestDivisor(n: number, most: number): number {
  let divisor = Math.min(n, most);
  while (n % divisor !== 0) divisor--;
  return divisor;
}

function clampNegative(values: Float32Array): void {
  for (let i = 0; i < values.length; i++) {
    if (values[i]! < 0) values[i] = 0;
  }
}

function outerRoutine(backend: WasmBackend, height: number, vectors: number) {
  return routine(
    backend,
    `outer_${height}x${vectors}`,
    (name, relaxed) => outerProducts(name, { height, vectors, relaxed }),
  );
}
