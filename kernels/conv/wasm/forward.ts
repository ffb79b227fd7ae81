/**
 * The convolution of a padded frame on the WASM engine, a row of output pixels at
 * a time, sums in registers.
 *
 * @module
 */
import type * as tf from "@tensorflow/tfjs-core";
import type { ConvShape } from "../conv.ts";
import {
  LANES,
  largestDivisor,
  leftBlocks,
  rowBlocks,
  TO_ONE_PIXELS,
  unrolledSteps,
} from "./register_blocks.ts";
import { convolveRow, convolveRowToOne } from "./routines.ts";
import {
  offsetOf,
  type Routine,
  routine,
  type WasmBackend,
} from "../../wasm/routine.ts";

const FLOAT_BYTES = 4;
// Unrolled steps of a row's loop, which saves loop counting: +30 %.
const MAX_UNROLLED = 6;

/** Shapes that {@linkcode convolvePadded} can compute. */
export function suitsWasm({ kernel, inputs, outputs }: ConvShape): boolean {
  return outputs % LANES === 0 ||
    (outputs === 1 && (kernel * inputs) % LANES === 0);
}

/** What a frame is convolved with. */
export interface PaddedConvolution {
  filter: tf.TensorInfo;
  bias: tf.TensorInfo;
  shape: ConvShape;
  relu: boolean;
}

/** The valid convolution of a `frame` that already holds its padding. */
export function convolvePadded(
  backend: WasmBackend,
  frame: tf.TensorInfo,
  { filter, bias, shape, relu }: PaddedConvolution,
): tf.TensorInfo {
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
  const run = toOne ? (kernel * inputs) / LANES : kernel * inputs;
  const options = { run, pixelBytes, relu };
  const parts = toOne
    ? partsToOne(backend, outWidth, options)
    : partsOfRow(backend, { outWidth, outputs }, options);
  const [xStart, filterStart, biasStart, outStart] = [frame, filter, bias, out]
    .map((info) => offsetOf(backend, info)) as [number, number, number, number];
  for (let n = 0; n < batch; n++) {
    for (let y = 0; y < outHeight; y++) {
      const x = xStart + (n * frameHeight + y * stride) * frameRow;
      const outAt = outStart + (n * outHeight + y) * outRow;
      for (
        const { convolve, rounds, first, tiles, channel, blocks } of parts
      ) {
        const shift = channel * FLOAT_BYTES;
        convolve(
          x + first * pixelBytes,
          filterStart + shift,
          biasStart + shift,
          outAt + shift + first * outPixel,
          tiles,
          kernel,
          rounds,
          frameRow,
          outPixel,
          outPixel,
          blocks,
        );
      }
    }
  }
  if (toOne && relu) clampNegative(backend.typedArrayFromHeap(out));
  return out;
}

/** Multiplies a matrix `[rows, inputs]` by one of `[inputs, outputs]`. */
export type Multiply = (
  offsets: { x: number; matrix: number; bias: number; out: number },
) => void;

/** Multiplies matrices of these sizes, all at byte offsets; adds a bias. */
export function multiplier(
  backend: WasmBackend,
  { rows, inputs, outputs }: { rows: number; inputs: number; outputs: number },
): Multiply {
  const pixelBytes = inputs * FLOAT_BYTES, outPixel = outputs * FLOAT_BYTES;
  const parts = partsOfRow(
    backend,
    { outWidth: rows, outputs },
    { run: inputs, pixelBytes, relu: false },
  );
  return ({ x, matrix, bias, out }) => {
    for (
      const { convolve, rounds, first, tiles, channel, blocks } of parts
    ) {
      const shift = channel * FLOAT_BYTES;
      convolve(
        x + first * pixelBytes,
        matrix + shift,
        bias + shift,
        out + shift + first * outPixel,
        tiles,
        1,
        rounds,
        0,
        outPixel,
        outPixel,
        blocks,
      );
    }
  };
}

/** Some pixels of a row and some of their channels, and what computes them. */
interface RowPart {
  convolve: Routine;
  /** Unrolled rounds of a run. */
  rounds: number;
  /** First pixel, and tiles of pixels from there on. */
  first: number;
  tiles: number;
  /** First output channel, and blocks of channels from there on. */
  channel: number;
  blocks: number;
}

interface RowOptions {
  /** Steps of a run: inputs of a pixel in a row of the kernel. */
  run: number;
  pixelBytes: number;
  relu: boolean;
}

/** All tiles of a row, channel block by channel block, then its last pixels. */
function partsOfRow(
  backend: WasmBackend,
  { outWidth, outputs }: { outWidth: number; outputs: number },
  { run, pixelBytes, relu }: RowOptions,
): RowPart[] {
  const unroll = unrolledSteps(run);
  const whole = rowBlocks(outputs);
  const left = outWidth % whole.pixels;
  const rest = leftBlocks(left, outputs);
  const runs = [
    { ...whole, first: 0, tiles: (outWidth - left) / whole.pixels },
    { ...rest, first: outWidth - left, tiles: Math.min(left, 1) },
  ];
  return runs.filter(({ tiles }) => tiles > 0).flatMap(
    ({ pixels, fours, first, tiles, ...blocks }) => {
      const sizes = [...new Set(blocks.vectors)];
      return sizes.map((vectors) => {
        const place = blocks.vectors.indexOf(vectors);
        const channel = LANES *
          blocks.vectors.slice(0, place).reduce((sum, size) => sum + size, 0);
        const alike = blocks.vectors.filter((size) => size === vectors).length;
        const block = { pixels, vectors, fours, unroll, pixelBytes, relu };
        const convolve = routine(
          backend,
          `convolve_${Object.values(block).join("_")}`,
          (name, relaxed) => convolveRow(name, { ...block, relaxed }),
        );
        return {
          convolve,
          rounds: run / unroll,
          first,
          tiles,
          channel,
          blocks: alike,
        };
      });
    },
  );
}

/** All tiles of a row of one channel. */
function partsToOne(
  backend: WasmBackend,
  outWidth: number,
  { run, pixelBytes }: RowOptions,
): RowPart[] {
  const pixels = Math.min(TO_ONE_PIXELS, outWidth);
  const unroll = largestDivisor(run, MAX_UNROLLED);
  const convolve = routine(
    backend,
    `convolve_to_one_${pixels}x${unroll}_${pixelBytes}`,
    (name, relaxed) =>
      convolveRowToOne(name, { pixels, unroll, pixelBytes, relaxed }),
  );
  const tiles = Math.floor(outWidth / pixels);
  const part = { convolve, rounds: run / unroll, channel: 0, blocks: 1 };
  const whole = { ...part, first: 0, tiles };
  // The last pixels: one more tile, which overlaps the one before.
  return tiles * pixels < outWidth
    ? [whole, { ...part, first: outWidth - pixels, tiles: 1 }]
    : [whole];
}

function clampNegative(values: Float32Array): void {
  for (let i = 0; i < values.length; i++) {
    if (values[i]! < 0) values[i] = 0;
  }
}
