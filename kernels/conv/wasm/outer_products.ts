/**
 * Sums of outer products over pixels on the WASM engine: filter and bias
 * gradients of the convolutions, a block in registers.
 *
 * @module
 */
import type * as tf from "@tensorflow/tfjs-core";
import type { ConvShape } from "../conv.ts";
import { LANES, outerBlock, type RegisterBlock } from "./register_blocks.ts";
import { outerProducts } from "./routines.ts";
import { offsetOf, routine, type WasmBackend } from "../../wasm/routine.ts";

const FLOAT_BYTES = 4;
// Rows of X and dY that stay in the second-level cache while every block of dW
// passes over them.
const CHUNK_BYTES = 128 * 1024;

/**
 * Adds up the outer products of inputs and upstream gradients; `swapped` lets
 * the vectors run along the inputs if there is only one output channel.
 */
export function sumOuterProducts(
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
  // The inputs of a pixel in a row of the kernel lie side by side, as their
  // gradients do.
  const run = kernel * inputs;
  const vectorExtent = swapped ? run : outputs;
  const splatExtent = swapped ? outputs : run;
  const { values, vectors } = outerBlock(splatExtent, vectorExtent);
  const addProducts = outerRoutine(backend, { values, vectors });
  const rowsAtOnce = Math.max(
    1,
    Math.floor(CHUNK_BYTES / (xRow * stride + dyRow)),
  );
  for (let n = 0; n < batch; n++) {
    for (let y = 0; y < outHeight; y += rowsAtOnce) {
      const rows = Math.min(rowsAtOnce, outHeight - y);
      const dyAt = dyStart + (n * outHeight + y) * dyRow;
      for (let ky = 0; ky < kernel; ky++) {
        const xAt = xStart + (n * frameHeight + y * stride + ky) * xRow;
        const outAt = outStart + ky * run * outputs * FLOAT_BYTES;
        const [aBlocks, bBlocks] = [
          splatExtent / values,
          vectorExtent / (vectors * LANES),
        ];
        if (swapped) {
          addProducts(
            dyAt,
            xAt,
            outAt,
            rows,
            outWidth,
            dyRow,
            xStep,
            dyPixel,
            xPixelStep,
            xPixel,
            aBlocks,
            bBlocks,
          );
        } else {
          addProducts(
            xAt,
            dyAt,
            outAt,
            rows,
            outWidth,
            xStep,
            dyRow,
            xPixelStep,
            dyPixel,
            dyPixel,
            aBlocks,
            bBlocks,
          );
        }
      }
    }
  }
}

/** Adds A^T B of two matrices to a third, all at byte offsets. */
export type AddProduct = (a: number, b: number, out: number) => void;

/** Adds A^T B of A `[rows, height]` and B `[rows, width]`, of whole vectors. */
export function productAdder(
  backend: WasmBackend,
  { rows, height, width }: { rows: number; height: number; width: number },
): AddProduct {
  const { values, vectors } = outerBlock(height, width);
  const addProducts = outerRoutine(backend, { values, vectors });
  const aRow = height * FLOAT_BYTES, bRow = width * FLOAT_BYTES;
  const aBlocks = height / values, bBlocks = width / (vectors * LANES);
  return (a, b, out) =>
    addProducts(
      a,
      b,
      out,
      1,
      rows,
      0,
      0,
      aRow,
      bRow,
      bRow,
      aBlocks,
      bBlocks,
    );
}

/**
 * Adds up rows of `outputs` values, which begin at a byte offset, into `sums`, of
 * whole vectors: an outer product with one.
 */
export function addRows(
  backend: WasmBackend,
  { at, rows, outputs }: { at: number; rows: number; outputs: number },
  sums: tf.TensorInfo,
): void {
  const rowBytes = outputs * FLOAT_BYTES;
  const one = backend.makeOutput([1], "float32");
  backend.typedArrayFromHeap(one).fill(1);
  const [oneAt, sumsAt] = [one, sums]
    .map((info) => offsetOf(backend, info)) as [number, number];
  const { values, vectors } = outerBlock(1, outputs);
  const addProducts = outerRoutine(backend, { values, vectors });
  const blocks = outputs / (vectors * LANES);
  addProducts(oneAt, at, sumsAt, 1, rows, 0, 0, 0, rowBytes, 0, 1, blocks);
  backend.disposeData(one.dataId);
}

function outerRoutine(
  backend: WasmBackend,
  { values, vectors }: RegisterBlock,
) {
  return routine(
    backend,
    `outer_${values}x${vectors}`,
    (name, relaxed) =>
      outerProducts(name, { height: values, vectors, relaxed }),
  );
}
