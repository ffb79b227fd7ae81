/**
 * Gathers fixed-size patches from one decoded region.
 *
 *     out[n, i, j, c] = region[y_n + i, x_n + j, c] / 255   inside the region
 *                     = 0                                   outside it
 *
 * The sub-tiles of Kong & Henao, CVPR 2022, section 2.1, for locations that
 * geometry has already turned into pixels.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import code from "./gather_patches.wgsl" with { type: "text" };
import oneImage from "./one_image.wgsl" with { type: "text" };
import { Kernel } from "../gpu.ts";
import { floatView, intView, kernelConfigs } from "../kernel_config.ts";

const GATHER_PATCHES = "zoomin/GatherPatches";

/** A decoded region: RGBA, 8 bits a channel, row-major `[height, width, 4]`. */
export interface RgbaRegion {
  data: Uint8Array<ArrayBuffer>;
  width: number; // px
  height: number; // px
}

/** Patches to gather. */
export interface PatchesOptions {
  /** `[N * 2]`: first corners (x, y), px of the region; may lie outside. */
  origins: Int32Array;
  /** Of every patch, px. */
  size: { width: number; height: number };
}

type Attributes = { width: number; height: number };

/**
 * A region as a tensor: int32 `[height, width]`, one packed RGBA8 pixel each.
 * The bytes are not copied: do not change them while the tensor lives.
 */
export function packPixels({ data, width, height }: RgbaRegion): tf.Tensor2D {
  const aligned = data.byteOffset % 4 === 0 ? data : data.slice();
  const packed = new Int32Array(
    aligned.buffer,
    aligned.byteOffset,
    aligned.byteLength / 4,
  );
  return tf.tensor2d(packed, [height, width], "int32");
}

/** Gathers `[N, height, width, 3]` floats in [0, 1]; zero outside `region`. */
export function gatherPatches(
  region: tf.Tensor2D,
  { origins, size: { width, height } }: PatchesOptions,
): tf.Tensor4D {
  const corners = tf.tensor2d(origins, [origins.length / 2, 2], "int32");
  const attributes: Attributes = { width, height };
  const output = tf.engine().runKernel<tf.Tensor4D>(
    GATHER_PATCHES,
    { region, origins: corners },
    attributes,
  );
  corners.dispose();
  return output;
}

// v / 255, rounded once, without a division a channel.
const UNIT = Float32Array.from({ length: 256 }, (_, v) => v / 255);

/** The same function as plain loops, on packed pixels `[height, width]`. */
export function gatherPatchesReference(
  region: Int32Array,
  regionSize: { width: number; height: number },
  { origins, size: { width, height } }: PatchesOptions,
  out: Float32Array = new Float32Array(
    (origins.length / 2) * height * width * 3,
  ),
): Float32Array {
  out.fill(0);
  for (let n = 0; n < origins.length / 2; n++) {
    const x = origins[2 * n]!, y = origins[2 * n + 1]!;
    const left = Math.max(0, -x), top = Math.max(0, -y);
    const right = Math.min(width, regionSize.width - x);
    const bottom = Math.min(height, regionSize.height - y);
    for (let i = top; i < bottom; i++) {
      let from = (y + i) * regionSize.width + x + left;
      let to = ((n * height + i) * width + left) * 3;
      for (let j = left; j < right; j++) {
        const pixel = region[from++]!;
        out[to++] = UNIT[pixel & 255]!;
        out[to++] = UNIT[(pixel >> 8) & 255]!;
        out[to++] = UNIT[(pixel >> 16) & 255]!;
      }
    }
  }
  return out;
}

const kernel = new Kernel("gather_patches", oneImage + code);

// Pixels a workgroup; see gather_patches.wgsl.
const WORKGROUP_SIZE = 64;

/** The kernel for both engines. */
export const gatherPatchesKernels = kernelConfigs<Attributes>(GATHER_PATCHES, {
  wasm: ({ backend, inputs, attributes: { width, height } }) => {
    const region = inputs.region!, origins = inputs.origins!;
    const [rows, columns] = region.shape as [number, number];
    const output = backend.makeOutput(
      [origins.shape[0]!, height, width, 3],
      "float32",
    );
    gatherPatchesReference(
      intView(backend, region),
      { width: columns, height: rows },
      { origins: intView(backend, origins), size: { width, height } },
      floatView(backend, output),
    );
    return output;
  },
  webgpu: ({ backend, inputs, attributes: { width, height } }) => {
    const region = inputs.region!, origins = inputs.origins!;
    const [rows, columns] = region.shape as [number, number];
    const count = origins.shape[0]!;
    const output = backend.makeTensorInfo([count, height, width, 3], "float32");
    kernel.run(backend, {
      params: new Uint32Array([columns, rows, width, height, count]),
      inputs: [region, origins],
      outputs: [output],
      groups: Math.ceil((count * height * width) / WORKGROUP_SIZE),
    });
    return output;
  },
});
