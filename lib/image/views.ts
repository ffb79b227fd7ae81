/**
 * Reads the network's inputs from a pyramid, as tensors on the engine: the view
 * of the whole or a part of it, views of tiles, and sub-tiles at full
 * resolution. Each is read from the coarsest level that is at least as fine.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { downsample } from "../../kernels/resample/downsample.ts";
import {
  gatherPatches,
  packPixels,
} from "../../kernels/resample/gather_patches.ts";
import { largestTensorBytes } from "../../kernels/gpu.ts";
import type { Memory } from "../memory.ts";
import { type Region, type Size, viewSize } from "./geometry.ts";
import {
  levelFor,
  levelPart,
  type ViewPart,
  viewPieces,
} from "./level_geometry.ts";
import { readPart } from "./level_parts.ts";
import { onEngine } from "./engine_copies.ts";
import type { Pyramid } from "./pyramid.ts";
import { collected, joined } from "./tensors.ts";

// An image of one level up to this size is read once and stays packed on the
// engine (64 MiB) while all its tiles are cut from it; larger ones are read
// region by region.
const MAX_WHOLE = 4096 * 4096;

const PACKED_BYTES = 4; // a pixel on the engine

// Number of small regions read at a time.
const MAX_AT_A_TIME = 64;

/**
 * Blocks of the file from which the view of the whole image at `scale` is read;
 * undefined if it is not stored in blocks.
 */
export function blocksOfWhole(
  pyramid: Pyramid,
  scale: number,
): number | undefined {
  const { width, height, levels, blockCounts } = pyramid;
  const region = { x: 0, y: 0, width, height };
  const output = viewSize(region, scale);
  return blockCounts?.[levelFor(pyramid, levels, { region, output })];
}

/** Views of one image. Dispose of it when all views are taken. */
export class Views {
  readonly #pyramid: Pyramid;
  readonly #readPixels: number;
  readonly #whole: tf.Tensor2D | undefined;

  private constructor(
    pyramid: Pyramid,
    readPixels: number,
    whole: tf.Tensor2D | undefined,
  ) {
    this.#pyramid = pyramid;
    this.#readPixels = readPixels;
    this.#whole = whole;
  }

  /** @throws {ImageError} If the image cannot be read. */
  static async open(
    pyramid: Pyramid,
    { memory, signal }: { memory: Memory; signal?: AbortSignal | undefined },
  ): Promise<Views> {
    const { width, height, levels } = pyramid;
    const isSmall = levels.length === 1 && width * height <= MAX_WHOLE;
    const whole = isSmall
      ? await onEngine(pyramid, signal) ?? packPixels(
        await pyramid.read({ x: 0, y: 0, width, height }, 0, signal),
      )
      : undefined;
    const most = Math.min(
      memory.readPixels,
      largestTensorBytes() / PACKED_BYTES,
    );
    return new Views(pyramid, most, whole);
  }

  dispose(): void {
    this.#whole?.dispose();
  }

  /** Packed pixels of the image, if they are on the engine as a whole. */
  get pixels(): tf.Tensor2D | undefined {
    return this.#whole;
  }

  /**
   * V(x, s): the whole image at `scale`, `[1, h, w, 3]` in [0, 1].
   *
   * @param part of the view, px; all of it if omitted.
   */
  async whole(
    scale: number,
    { part, signal }: { part?: Region; signal?: AbortSignal | undefined } = {},
  ): Promise<tf.Tensor4D> {
    signal?.throwIfAborted();
    const { width, height } = this.#pyramid;
    const region = { x: 0, y: 0, width, height };
    const output = viewSize(region, scale);
    if (this.#whole && !part) return cut(this.#whole, [region], output);
    return await this.#view({
      region,
      output,
      part: part ?? { x: 0, y: 0, ...output },
    }, signal);
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
    signal?.throwIfAborted();
    if (this.#whole) return cut(this.#whole, regions, output);
    const part = { x: 0, y: 0, ...output };
    this.announce(regions, output, signal);
    return joined(
      await collected(
        regions,
        (region) => this.#view({ region, output, part }, signal),
        this.#atATime(regions, output),
      ),
    );
  }

  /**
   * Announces the views that `regions()` reads next, perhaps in several calls,
   * so that a remote image coalesces their requests.
   */
  announce(
    regions: readonly Region[],
    output: Size,
    signal?: AbortSignal,
  ): void {
    const [first] = regions;
    if (this.#whole || first === undefined) return;
    const { levels } = this.#pyramid;
    const view = { output, part: { x: 0, y: 0, ...output } };
    const level = levelFor(this.#pyramid, levels, { ...view, region: first });
    const parts = regions.map((region) =>
      levelPart({ ...view, region }, this.#pyramid, levels[level]!).region
    );
    this.#pyramid.prefetch?.(parts, level, signal);
  }

  /** Number of regions read at a time: blocks fetched together are faster. */
  #atATime([first]: readonly Region[], output: Size): number {
    if (first === undefined) return 1;
    const view = { output, part: { x: 0, y: 0, ...output }, region: first };
    const level = levelFor(this.#pyramid, this.#pyramid.levels, view);
    const { region: { width, height } } = levelPart(
      view,
      this.#pyramid,
      this.#pyramid.levels[level]!,
    );
    const fitting = Math.floor(this.#readPixels / (width * height));
    return Math.min(MAX_AT_A_TIME, Math.max(1, fitting));
  }

  /** A part of a view, assembled from pieces that are read one by one. */
  async #view(view: ViewPart, signal?: AbortSignal): Promise<tf.Tensor4D> {
    const level = levelFor(this.#pyramid, this.#pyramid.levels, view);
    const rows = viewPieces(view, this.#pyramid.levels[level]!, {
      image: this.#pyramid,
      most: this.#readPixels,
    });
    const strips = await collected(rows, async (row) =>
      joined(
        await collected(
          row,
          (part) => this.#piece({ ...view, part }, level, signal),
        ),
        2,
      ));
    return joined(strips, 1);
  }

  async #piece(
    view: ViewPart,
    index: number,
    signal: AbortSignal | undefined,
  ): Promise<tf.Tensor4D> {
    const { width, height } = view.part;
    const read = await readPart(this.#pyramid, view, { index, signal });
    if (read === undefined) return tf.zeros([1, height, width, 3]);
    const { pixels, at } = read;
    const packed = packPixels(read.shown);
    const origins = Int32Array.of(read.origin.x, read.origin.y);
    const { size, output, phase, end } = at;
    const isWhole = size.width === output.width &&
      size.height === output.height && phase.x === 0 && phase.y === 0 &&
      end.x >= width * size.width && end.y >= height * size.height;
    const piece = isWhole
      ? gatherPatches(packed, { origins, size: view.part })
      : downsample(packed, {
        origins,
        size,
        output,
        phase,
        end,
        pixels: view.part,
      });
    packed.dispose();
    this.#pyramid.release?.(pixels);
    return piece;
  }
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
