/**
 * Views of several images: on a GPU they are cut by one dispatch for all images
 * whose pixels are there.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { viewsTogether } from "../../kernels/resample/together.ts";
import type { Memory } from "../memory.ts";
import { type Region, type Size, viewSize } from "./geometry.ts";
import type { Pyramid } from "./pyramid.ts";
import { collected } from "./tensors.ts";
import { Views } from "./views.ts";

// Pixels of images that are joined, as many as of one that is held whole.
const MAX_PIXELS = 4096 * 4096;

/** Regions of one of the images, px. */
export interface RegionsOfImage {
  /** Place of the image among those that were opened. */
  image: number;
  regions: readonly Region[];
}

/** Views of images. Dispose of it when all views are taken. */
export class JointViews {
  readonly #each: readonly Views[];
  readonly #images: readonly Size[];
  #joined: tf.Tensor1D | undefined;

  constructor(each: readonly Views[], images: readonly Size[]) {
    this.#each = each;
    this.#images = images;
  }

  /** @throws {ImageError} If an image cannot be read. */
  static async open(
    images: readonly Pyramid[],
    options: { memory: Memory; signal?: AbortSignal | undefined },
  ): Promise<JointViews> {
    const each: Views[] = [];
    try {
      for (const image of images) each.push(await Views.open(image, options));
    } catch (error) {
      for (const views of each) views.dispose();
      throw error;
    }
    return new JointViews(each, images);
  }

  dispose(): void {
    for (const views of this.#each) views.dispose();
    this.#joined?.dispose();
  }

  /**
   * V(x, s) of images of one size at `scale`, `[1, h, w, 3]` each, or
   * `[N, h, w, 3]` of all.
   */
  async wholes(
    images: readonly number[],
    scale: number,
    signal?: AbortSignal,
  ): Promise<tf.Tensor4D[]> {
    const parts = images.map((image) => {
      const { width, height } = this.#images[image]!;
      return { image, regions: [{ x: 0, y: 0, width, height }] };
    });
    const output = viewSize(parts[0]!.regions[0]!, scale);
    return this.#together(parts, output) ??
      await collected(
        images,
        (image) => this.#each[image]!.whole(scale, { signal }),
      );
  }

  /**
   * Views of regions of one size, as {@linkcode Views.regions}: those of each
   * part, or of all in one tensor.
   */
  async regions(
    parts: readonly RegionsOfImage[],
    output: Size,
    signal?: AbortSignal,
  ): Promise<tf.Tensor4D[]> {
    return this.#together(parts, output) ??
      await collected(
        parts,
        ({ image, regions }) =>
          this.#each[image]!.regions(regions, output, signal),
      );
  }

  /** As {@linkcode Views.announce}. */
  announce(
    { image, regions }: RegionsOfImage,
    output: Size,
    signal?: AbortSignal,
  ): void {
    this.#each[image]!.announce(regions, output, signal);
  }

  #together(
    parts: readonly RegionsOfImage[],
    output: Size,
  ): [tf.Tensor4D] | undefined {
    const pixels = this.#join();
    if (!pixels) return undefined;
    let end = 0;
    const firsts = this.#images.map(({ width, height }) => {
      const first = end;
      end += width * height;
      return first;
    });
    const { width, height } = parts[0]!.regions[0]!;
    const images = parts.map(({ image, regions: origins }) => ({
      first: firsts[image]!,
      image: this.#images[image]!,
      origins,
    }));
    return [viewsTogether(pixels, images, { size: { width, height }, output })];
  }

  /** The pixels of all images, one after the other; if they can be joined. */
  #join(): tf.Tensor1D | undefined {
    const wholes = this.#each.flatMap(({ pixels }) => pixels ?? []);
    const total = wholes.reduce((sum, { size }) => sum + size, 0);
    const isJoined = tf.getBackend() === "webgpu" && wholes.length > 1 &&
      wholes.length === this.#each.length && total <= MAX_PIXELS;
    if (!isJoined) return undefined;
    this.#joined ??= tf.tidy(() =>
      tf.concat1d(wholes.map((whole) => tf.reshape(whole, [whole.size])))
    );
    return this.#joined;
  }
}
