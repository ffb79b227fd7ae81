/**
 * Shrinks rectangles of one decoded region by an area-weighted mean, at any
 * ratio >= 1 on each axis.
 *
 *     out[n, i, j, c] = mean of region[.., .., c] / 255 over the source rows
 *     [i height/u, (i + 1) height/u) and columns [j width/v, (j + 1) width/v)
 *
 * from the rectangle's corner on, which may lie within a pixel (its phase), and
 * for as many result pixels as requested: a view can be computed piece by
 * piece. A partly covered source pixel counts in proportion, so the mean of a
 * rectangle is the mean of its view; a pixel outside the region is zero and
 * counts. This is V(x, s) of Kong & Henao, CVPR 2022, section 2.1.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import {
  type DownsampleOptions,
  downsampleRows,
  NO_END,
  type Size,
} from "./area_means.ts";
import code from "./downsample.wgsl" with { type: "text" };
import oneImage from "./one_image.wgsl" with { type: "text" };
import { RowSums } from "./wasm.ts";
import { Kernel } from "../gpu.ts";
import { floatView, intView, kernelConfigs } from "../kernel_config.ts";
import type { WasmBackend } from "../wasm/routine.ts";

const DOWNSAMPLE = "zoomin/Downsample";

type Attributes = {
  phase: readonly [number, number];
  end: readonly [number, number];
  size: readonly [number, number];
  output: readonly [number, number];
  pixels: readonly [number, number];
};

/**
 * Shrinks N rectangles of `region` (packed pixels, see `packPixels`) to
 * `[N, output.height, output.width, 3]` floats in [0, 1].
 *
 * @example Halve a region of 4 x 4 px
 * ```ts
 * import { packPixels } from "./gather_patches.ts";
 *
 * const data = new Uint8Array(4 * 4 * 4).fill(255);
 * const region = packPixels({ data, width: 4, height: 4 });
 * const halved = downsample(region, {
 *   origins: Int32Array.of(0, 0),
 *   size: { width: 4, height: 4 },
 *   output: { width: 2, height: 2 },
 * }); // [1, 2, 2, 3]
 * ```
 *
 * @throws {RangeError} If the output is larger than the source.
 */
export function downsample(
  region: tf.Tensor2D,
  { origins, phase, end, size, output, pixels = output }: DownsampleOptions,
): tf.Tensor4D {
  checkRatio("width", size.width, output.width, pixels.width);
  checkRatio("height", size.height, output.height, pixels.height);
  const corners = tf.tensor2d(origins, [origins.length / 2, 2], "int32");
  const attributes: Attributes = {
    phase: [phase?.x ?? 0, phase?.y ?? 0],
    end: [end?.x ?? NO_END, end?.y ?? NO_END],
    size: [size.width, size.height],
    output: [output.width, output.height],
    pixels: [pixels.width, pixels.height],
  };
  const views = tf.engine().runKernel<tf.Tensor4D>(
    DOWNSAMPLE,
    { region, origins: corners },
    attributes,
  );
  corners.dispose();
  return views;
}

/** @throws {RangeError} If views cannot be computed. */
export function checkRatio(
  axis: string,
  source: number,
  output: number,
  pixels: number,
): void {
  if (output < 1 || output > source) {
    throw new RangeError(
      `Cannot downsample because the output ${axis} must be in [1, ${source}]: current value is ${output}`,
    );
  }
  // The shader finds the covered part in whole numbers: 1/output of a pixel.
  if ((pixels + 2) * source >= 2 ** 32) {
    throw new RangeError(
      `Cannot downsample because source ${axis} times result ${axis} must be < 2^32: current values are ${source} and ${pixels}`,
    );
  }
}

const kernel = new Kernel("downsample", oneImage + code);

// Output pixels a workgroup; see downsample.wgsl.
const WORKGROUP_SIZE = 64;

/** The kernel for both engines. */
export const downsampleKernels = kernelConfigs<Attributes>(DOWNSAMPLE, {
  wasm: ({ backend, inputs, attributes }) => {
    const region = inputs.region!, origins = inputs.origins!;
    const [rows, columns] = region.shape as [number, number];
    const [width, height] = attributes.pixels;
    const result = backend.makeOutput(
      [origins.shape[0]!, height, width, 3],
      "float32",
    );
    using summed = new RowSums(
      backend as unknown as WasmBackend,
      region,
      result,
    );
    downsampleRows(
      intView(backend, region),
      { width: columns, height: rows },
      {
        origins: intView(backend, origins),
        phase: { x: attributes.phase[0], y: attributes.phase[1] },
        end: { x: attributes.end[0], y: attributes.end[1] },
        size: sizeOf(attributes.size),
        output: sizeOf(attributes.output),
        pixels: sizeOf(attributes.pixels),
      },
      {
        out: floatView(backend, result),
        addRows: (...range) => summed.addRows(...range),
        writeMeans: (...row) => summed.writeMeans(...row),
      },
    );
    return result;
  },
  webgpu: ({ backend, inputs, attributes }) => {
    const region = inputs.region!, origins = inputs.origins!;
    const { phase, end, size, output, pixels } = attributes;
    const [rows, columns] = region.shape as [number, number];
    const [width, height] = pixels;
    const count = origins.shape[0]!;
    const result = backend.makeTensorInfo([count, height, width, 3], "float32");
    kernel.run(backend, {
      params: new Uint32Array([
        ...[columns, rows],
        ...size,
        ...output,
        ...pixels,
        ...phase,
        ...end,
        count,
      ]),
      inputs: [region, origins],
      outputs: [result],
      groups: Math.ceil((count * height * width) / WORKGROUP_SIZE),
    });
    return result;
  },
});

function sizeOf([width, height]: readonly [number, number]): Size {
  return { width, height };
}
