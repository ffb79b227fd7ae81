/**
 * Copies that the convolutions of the WASM engine read: padded or spread
 * images, rotated filters.
 *
 * @module
 */
import type * as tf from "@tensorflow/tfjs-core";
import type { ConvShape } from "../conv.ts";
import type { WasmBackend } from "../../wasm/routine.ts";

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
