/**
 * Decoded images kept on a GPU between uses: training reads the same few hundred
 * in every epoch, and sending one takes longer than looking at it.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { LRUCache } from "lru-cache";
import { packPixels } from "../../kernels/resample/gather_patches.ts";
import type { Pyramid } from "./pyramid.ts";

/** An image whose pixels may be kept on the engine. */
export interface KeptPyramid extends Pyramid {
  /**
   * Level 0 on the engine, `[height, width]` packed pixels, if it is kept there.
   * The tensor belongs to the caller.
   *
   * @throws {ImageError} As `read`.
   */
  onEngine(signal?: AbortSignal): Promise<tf.Tensor2D | undefined>;
}

/** Level 0 of any image as {@linkcode KeptPyramid} has it. */
export async function onEngine(
  pyramid: Pyramid | KeptPyramid,
  signal?: AbortSignal,
): Promise<tf.Tensor2D | undefined> {
  return "onEngine" in pyramid ? await pyramid.onEngine(signal) : undefined;
}

/**
 * Packed pixels of images by what they are of. Those that have no room replace
 * no others: an epoch uses each once, so the last used would always be the wrong
 * ones.
 */
export class EngineCopies<Of extends object> {
  readonly #copies: LRUCache<Of, tf.Tensor2D>;

  /** @param maxBytes bytes of all copies. */
  constructor(maxBytes: number) {
    this.#copies = new LRUCache({
      maxSize: Math.max(1, maxBytes), // 0 would be no bound; a pixel is 4 bytes
      dispose: (copy) => copy.dispose(),
    });
  }

  /** Bytes of the copies kept. */
  get bytes(): number {
    return this.#copies.calculatedSize;
  }

  /**
   * Level 0 of an image, `[height, width]` packed pixels, which belong to the
   * caller; undefined if they are not kept: on the CPU, or for want of room.
   *
   * @param room bytes that may be kept, those of the others included.
   * @throws {ImageError} If it cannot be read.
   */
  async copyOf(
    of: Of,
    image: Pyramid,
    room: () => number,
    signal?: AbortSignal,
  ): Promise<tf.Tensor2D | undefined> {
    if (tf.getBackend() !== "webgpu") return undefined;
    const known = this.#copies.get(of);
    if (known) return tf.clone(known);
    const { width, height } = image;
    const size = width * height * 4;
    if (this.bytes + size > room()) return undefined;
    const copy = packPixels(
      await image.read({ x: 0, y: 0, width, height }, 0, signal),
    );
    if (this.bytes + size <= room()) { // others may have come meanwhile
      this.#copies.set(of, tf.clone(copy), { size });
    }
    return copy;
  }

  /** Leaves at most `bytes`. */
  trim(bytes: number): void {
    while (this.bytes > Math.max(0, bytes)) this.#copies.pop();
  }

  /** Drops the copy of an image, if there is one. */
  drop(of: Of): void {
    this.#copies.delete(of);
  }
}
