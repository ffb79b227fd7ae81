/**
 * Reads what the network looks at out of a pyramid, as tensors on the engine:
 * the view of the whole, views of tiles, and sub-tiles at full resolution.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { downsample } from "../../kernels/downsample.ts";
import { gatherPatches, packPixels } from "../../kernels/gather_patches.ts";
import { clipRegion, type Region, type Size, viewSize } from "./geometry.ts";
import type { Pyramid } from "./pyramid.ts";

// An image up to this size is read once and stays packed on the engine (64 MiB)
// while all its tiles are cut from it; of a larger one each region is read.
const LARGEST_WHOLE = 4096 * 4096;

/** An image being looked at. Dispose of it when all views are taken. */
export class Views {
  readonly #pyramid: Pyramid;
  readonly #whole: tf.Tensor2D | undefined;

  private constructor(pyramid: Pyramid, whole: tf.Tensor2D | undefined) {
    this.#pyramid = pyramid;
    this.#whole = whole;
  }

  /** @throws {ImageError} If the image cannot be read. */
  static async open(pyramid: Pyramid, signal?: AbortSignal): Promise<Views> {
    const { width, height } = pyramid;
    const whole = width * height <= LARGEST_WHOLE
      ? await pack(pyramid, { x: 0, y: 0, width, height }, signal)
      : undefined;
    return new Views(pyramid, whole);
  }

  dispose(): void {
    this.#whole?.dispose();
  }

  /** V(x, s): the whole image at `scale`, `[1, h, w, 3]` in [0, 1]. */
  whole(scale: number, signal?: AbortSignal): Promise<tf.Tensor4D> {
    const { width, height } = this.#pyramid;
    const region = { x: 0, y: 0, width, height };
    return this.regions([region], viewSize(region, scale), signal);
  }

  /**
   * Views of regions of one size, `[N, h, w, 3]` in [0, 1]; zero outside the
   * image.
   *
   * @param output size of each view; that of the regions for full resolution.
   */
  async regions(
    regions: readonly Region[],
    output: Size,
    signal?: AbortSignal,
  ): Promise<tf.Tensor4D> {
    if (this.#whole) return cut(this.#whole, regions, output);
    const views: tf.Tensor4D[] = [];
    for (const region of regions) {
      const inside = clipRegion(region, this.#pyramid);
      const pixels = await pack(this.#pyramid, inside, signal);
      views.push(cut(pixels, [relativeTo(region, inside)], output));
      pixels.dispose();
    }
    const all = tf.concat4d(views, 0);
    tf.dispose(views);
    return all;
  }
}

async function pack(
  pyramid: Pyramid,
  region: Region,
  signal?: AbortSignal,
): Promise<tf.Tensor2D> {
  return packPixels(await pyramid.read(region, 0, signal));
}

function relativeTo(region: Region, origin: Region): Region {
  return { ...region, x: region.x - origin.x, y: region.y - origin.y };
}

function cut(
  pixels: tf.Tensor2D,
  regions: readonly Region[],
  output: Size,
): tf.Tensor4D {
  const { width, height } = regions[0]!;
  const origins = Int32Array.from(regions.flatMap(({ x, y }) => [x, y]));
  const size = { width, height };
  return width === output.width && height === output.height
    ? gatherPatches(pixels, { origins, size })
    : downsample(pixels, { origins, size, output });
}
