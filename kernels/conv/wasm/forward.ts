/**
 * The convolution of a padded frame on the WASM engine, a row of output pixels at
 * a time, sums in registers.
 *
 * @module
 */
import type * as tf from "@tensorflow/tfjs-core";
import type { ConvShape } from "../conv.ts";
import { LANES, largestDivisor, rowBlock } from "./register_blocks.ts";
import { convolveRow, convolveRowToOne } from "./routines.ts";
import { offsetOf, routine, type WasmBackend } from "../../wasm/routine.ts";

const FLOAT_BYTES = 4;
// Unrolled steps of a row's loop, which saves loop counting: +30 %.
const MAX_UNROLLED = 6;

/** Shapes that {@linkcode convolvePadded} can compute. */
export function suitsWasm({ kernel, inputs, outputs }: ConvShape): boolean {
  return outputs % LANES === 0 ||
    (outputs === 1 && (kernel * inputs) % LANES === 0);
}

/** The valid convolution of a `frame` that already holds its padding. */
export function convolvePadded(backend: WasmBackend, frame: tf.TensorInfo, {
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
  const { vectors, values: most } = rowBlock(outputs);
  const pixels = Math.min(most, outWidth);
  const run = toOne ? (kernel * inputs) / LANES : kernel * inputs;
  const unroll = largestDivisor(run, MAX_UNROLLED);
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

function clampNegative(values: Float32Array): void {
  for (let i = 0; i < values.length; i++) {
    if (values[i]! < 0) values[i] = 0;
  }
}
