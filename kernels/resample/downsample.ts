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
import { type Cover, coverAxis } from "./axis_cover.ts";
import code from "./downsample.wgsl" with { type: "text" };
import { RowSums } from "./wasm.ts";
import { Kernel } from "../gpu.ts";
import { floatView, intView, kernelConfigs } from "../kernel_config.ts";
import type { WasmBackend } from "../wasm/routine.ts";

const DOWNSAMPLE = "zoomin/Downsample";

interface Size {
  width: number;
  height: number;
}

/** Rectangles to shrink, and their output size. */
export interface DownsampleOptions {
  /** `[N * 2]`: first corners (x, y), px of the region; may lie outside. */
  origins: Int32Array;
  /** Offset of the corners in their pixel, in 1/output px; (0, 0) if omitted. */
  phase?: { x: number; y: number };
  /** End of the source, measured from the corners' pixel, in 1/output px. */
  end?: { x: number; y: number };
  /** Of every source rectangle, px of the region. */
  size: Size;
  /** Of every result, px. */
  output: Size;
  /** Result pixels to compute, starting with the first; `output` if omitted. */
  pixels?: Size;
}

// An end that no source reaches, as a shader constant.
const NO_END = 2 ** 32 - 1;

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

function checkRatio(
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

/** The same function as plain loops, on packed pixels `[height, width]`. */
export function downsampleReference(
  region: Int32Array,
  regionSize: Size,
  options: DownsampleOptions,
  out?: Float32Array,
): Float32Array {
  return downsampleRows(region, regionSize, options, {
    out,
    addRows(sums, source, first, last) {
      for (let row = first; row < last; row++) addRow(sums, source, row, 1);
    },
  });
}

/** Adds whole rows [first, last) of a source, shrunk, to `[output width, 3]`. */
type AddRows = (
  sums: Float64Array,
  source: Source,
  first: number,
  last: number,
) => void;

function downsampleRows(
  region: Int32Array,
  regionSize: Size,
  { origins, phase, end, size, output, pixels = output }: DownsampleOptions,
  {
    addRows,
    out = new Float32Array(
      (origins.length / 2) * pixels.height * pixels.width * 3,
    ),
  }: { addRows: AddRows; out?: Float32Array | undefined },
): Float32Array {
  const rows = coverAxis({
    source: size.height,
    output: output.height,
    phase: phase?.y ?? 0,
    limit: end?.y ?? NO_END,
    pixels: pixels.height,
  });
  const columns = coverAxis({
    source: size.width,
    output: output.width,
    phase: phase?.x ?? 0,
    limit: end?.x ?? NO_END,
    pixels: pixels.width,
  });
  const mean = (output.width * output.height) /
    (size.width * size.height * 255);
  const sums = new Float64Array(pixels.width * 3);
  for (let n = 0, to = 0; n < origins.length / 2; n++) {
    const x = origins[2 * n]!, y = origins[2 * n + 1]!;
    const source: Source = { region, ...regionSize, x, columns };
    for (let i = 0; i < pixels.height; i++) {
      sums.fill(0);
      const first = y + rows.first[i]!, last = y + rows.last[i]!;
      addRow(sums, source, first - 1, rows.before[i]!);
      addRows(sums, source, first, last);
      addRow(sums, source, last, rows.after[i]!);
      for (let k = 0; k < sums.length; k++) out[to++] = sums[k]! * mean;
    }
  }
  return out;
}

/** One source rectangle: the position of its columns in the region. */
interface Source extends Size {
  region: Int32Array;
  x: number;
  columns: Cover;
}

// Pixels whose red and blue can be added up in the halves of one integer.
const MAX_TOGETHER = 256;

/** Adds `weight` times the shrunk source row to `sums`, `[output width, 3]`. */
function addRow(
  sums: Float64Array,
  { region, width, height, x, columns }: Source,
  row: number,
  weight: number,
): void {
  if (weight === 0 || row < 0 || row >= height) return;
  const start = row * width;
  const { first, last, before, after } = columns;
  for (let j = 0, k = 0; j < first.length; j++, k += 3) {
    const from = x + first[j]!, to = x + last[j]!;
    const end = Math.min(to, width);
    let red = 0, green = 0, blue = 0;
    for (let column = Math.max(from, 0); column < end;) {
      const stop = Math.min(column + MAX_TOGETHER, end);
      let redBlue = 0, greens = 0;
      for (; column < stop; column++) {
        const pixel = region[start + column]!;
        redBlue = (redBlue + (pixel & 0xff00ff)) | 0;
        greens += pixel & 0xff00;
      }
      red += redBlue & 0xffff;
      green += greens >> 8;
      blue += redBlue >>> 16;
    }
    const head = before[j]!, tail = after[j]!;
    if (head > 0 && from > 0 && from <= width) {
      const pixel = region[start + from - 1]!;
      red += head * (pixel & 255);
      green += head * ((pixel >> 8) & 255);
      blue += head * ((pixel >> 16) & 255);
    }
    if (tail > 0 && to >= 0 && to < width) {
      const pixel = region[start + to]!;
      red += tail * (pixel & 255);
      green += tail * ((pixel >> 8) & 255);
      blue += tail * ((pixel >> 16) & 255);
    }
    sums[k]! += weight * red;
    sums[k + 1]! += weight * green;
    sums[k + 2]! += weight * blue;
  }
}

const kernel = new Kernel("downsample", code);

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
    using summed = new RowSums(backend as unknown as WasmBackend, region);
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
