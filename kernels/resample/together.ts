/**
 * Views of several images in one dispatch, on webgpu: what
 * {@linkcode downsample} and {@linkcode gatherPatches} give of each, one after the
 * other, the same bits. A GPU waits for the host, which takes as long to record a
 * dispatch for one image as for all.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { NO_END, type Size } from "./area_means.ts";
import { checkRatio } from "./downsample.ts";
import downsampleCode from "./downsample.wgsl" with { type: "text" };
import gatherCode from "./gather_patches.wgsl" with { type: "text" };
import manyImages from "./many_images.wgsl" with { type: "text" };
import { Kernel, type TfjsWebGpuInternals } from "../gpu.ts";

const VIEWS_TOGETHER = "zoomin/ViewsTogether";

/** Views of one of the images. */
export interface ViewsOfImage {
  /** Place of its first pixel. */
  first: number;
  /** Its size, px. */
  image: Size;
  /** First corners of the views, px; they may lie outside. */
  origins: readonly { x: number; y: number }[];
}

type Attributes = {
  size: readonly [number, number];
  output: readonly [number, number];
};

/**
 * Views `[N, output.height, output.width, 3]` in [0, 1] of rectangles of `size`,
 * image after image.
 *
 * @param pixels packed pixels of all images, one after the other.
 * @throws {RangeError} If the output is larger than the rectangles.
 */
export function viewsTogether(
  pixels: tf.Tensor1D,
  images: readonly ViewsOfImage[],
  { size, output }: { size: Size; output: Size },
): tf.Tensor4D {
  checkRatio("width", size.width, output.width, output.width);
  checkRatio("height", size.height, output.height, output.height);
  const table = images.flatMap(({ first, image, origins }) =>
    origins.flatMap(({ x, y }) => [x, y, first, image.width, image.height])
  );
  const count = table.length / WORDS;
  const views = tf.tensor2d(table, [count, WORDS], "int32");
  const attributes: Attributes = {
    size: [size.width, size.height],
    output: [output.width, output.height],
  };
  const result = tf.engine().runKernel<tf.Tensor4D>(
    VIEWS_TOGETHER,
    { pixels, views },
    attributes,
  );
  views.dispose();
  return result;
}

const WORDS = 5; // of a view; see many_images.wgsl

const kernels = {
  downsample: new Kernel("downsample together", manyImages + downsampleCode),
  gather: new Kernel("gather together", manyImages + gatherCode),
};

const WORKGROUP_SIZE = 64; // see downsample.wgsl and gather_patches.wgsl

/** The kernel of the WebGPU engine; wasm computes one image at a time. */
export const viewsTogetherKernel: tf.KernelConfig = {
  kernelName: VIEWS_TOGETHER,
  backendName: "webgpu",
  kernelFunc({ inputs, attrs, backend }) {
    const { pixels, views } = inputs as Record<string, tf.TensorInfo>;
    const { size, output } = attrs as Attributes;
    return run(backend as TfjsWebGpuInternals, {
      pixels: pixels!,
      views: views!,
      size,
      output,
    });
  },
};

function run(
  backend: TfjsWebGpuInternals,
  { pixels, views, size, output }: Attributes & {
    pixels: tf.TensorInfo;
    views: tf.TensorInfo;
  },
): tf.TensorInfo {
  const [width, height] = output;
  const count = views.shape[0]!;
  const result = backend.makeTensorInfo([count, height, width, 3], "float32");
  const isFull = size[0] === width && size[1] === height;
  const region = [0, 0]; // each view has its own
  kernels[isFull ? "gather" : "downsample"].run(backend, {
    params: isFull
      ? new Uint32Array([...region, ...output, count])
      : new Uint32Array([
        ...[...region, ...size, ...output, ...output],
        ...[0, 0], // no phase
        ...[NO_END, NO_END],
        count,
      ]),
    inputs: [pixels, views],
    outputs: [result],
    groups: Math.ceil((count * height * width) / WORKGROUP_SIZE),
  });
  return result;
}
