/**
 * Copies that the convolutions of the WASM engine read: padded or spread
 * images, rotated filters.
 *
 * @module
 */
import type * as tf from "@tensorflow/tfjs-core";
import type { ConvShape } from "../conv.ts";
import { FunctionBuilder } from "../../wasm/assembler.ts";
import { offsetOf, routine, type WasmBackend } from "../../wasm/routine.ts";

const FLOAT_BYTES = 4;

/** `x` with zero padding; `x` itself if the padding is 0. */
export function paddedInput(
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
export function spread(backend: WasmBackend, x: tf.TensorInfo, {
  height,
  width,
  offset,
  stride,
}: {
  height: number;
  width: number;
  offset: number;
  stride: number;
}): tf.TensorInfo {
  const [batch, xHeight, xWidth, channels] = x.shape as [
    number,
    number,
    number,
    number,
  ];
  const frame = backend.makeOutput([batch, height, width, channels], "float32");
  const copy = routine(backend, "copy_runs", copyRuns);
  const pixel = channels * FLOAT_BYTES;
  const xRow = xWidth * pixel, row = width * pixel;
  const xImage = xHeight * xRow, image = height * row;
  const xAt = offsetOf(backend, x);
  const at = offsetOf(backend, frame) + offset * (row + pixel);
  if (stride === 1) clearAround(backend, frame, x, offset);
  else backend.typedArrayFromHeap(frame).fill(0);
  for (let n = 0; n < batch; n++) {
    const from = xAt + n * xImage, to = at + n * image;
    if (stride === 1) {
      copy(from, to, xHeight, xRow, xRow, row);
      continue;
    }
    for (let y = 0; y < xHeight; y++) {
      const inRow = to + y * stride * row;
      copy(from + y * xRow, inRow, xWidth, pixel, pixel, stride * pixel);
    }
  }
  return frame;
}

/** Zeroes what lies around images of the size of `x` in a frame of theirs. */
function clearAround(
  backend: WasmBackend,
  frame: tf.TensorInfo,
  { shape: [, xHeight = 0, xWidth = 0] }: tf.TensorInfo,
  offset: number,
): void {
  const [batch, height, width, channels] = frame.shape as [
    number,
    number,
    number,
    number,
  ];
  const pixel = channels * FLOAT_BYTES;
  const row = width * pixel, xRow = xWidth * pixel;
  const before = offset * (row + pixel);
  const inside = (xHeight - 1) * row + xRow;
  const image = height * row;
  const clear = routine(backend, "clear_runs", clearRuns);
  for (let n = 0; n < batch; n++) {
    const start = offsetOf(backend, frame) + n * image;
    clear(start, 1, before, 0);
    // From the end of a row to the begin of the next.
    if (xHeight > 1) clear(start + before + xRow, xHeight - 1, row - xRow, row);
    clear(start + before + inside, 1, image - before - inside, 0);
  }
}

/**
 * Zeroes runs of bytes. Parameters: to, runs, bytes of a run, and the bytes from a
 * run to the next one.
 */
function clearRuns(name: string): FunctionBuilder {
  const f = new FunctionBuilder(name, 4);
  const [to, runs, bytes, next] = [0, 1, 2, 3] as const;
  f.repeat(runs, () => {
    f.clear(to, bytes).advance(to, next);
  });
  return f;
}

/**
 * Copies runs of bytes. Parameters: from, to, runs, bytes of a run, and the bytes
 * from a run to the next one of either.
 */
function copyRuns(name: string): FunctionBuilder {
  const f = new FunctionBuilder(name, 6);
  const [from, to, runs, bytes, fromNext, toNext] = [0, 1, 2, 3, 4, 5] as const;
  f.repeat(runs, () => {
    f.copy(to, from, bytes).advance(from, fromNext).advance(to, toNext);
  });
  return f;
}

/** The filter rotated by 180 degrees, its channels swapped: `[k, k, O, I]`. */
export function flippedFilter(
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
