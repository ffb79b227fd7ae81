/**
 * An image mirrored or turned by quarters: the pixels are those of another
 * pyramid, read in place and rearranged. Training augments with it without
 * further reads.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { freeNow } from "../../memory.ts";
import { type KeptPyramid, onEngine } from "../engine_copies.ts";
import type { Region, Size } from "../geometry.ts";
import {
  type Orientation,
  orientedSize,
  storedPoint,
  storedRegion,
} from "./orientation.ts";
import {
  type Level,
  MovedPyramid,
  type Pixels,
  type Pyramid,
} from "../pyramid.ts";

/** `pyramid` in `orientation`. Closing the one closes the other. */
export function orient(pyramid: Pyramid, orientation: Orientation): Pyramid {
  return orientation === 1
    ? pyramid
    : new OrientedPyramid(pyramid, orientation);
}

class OrientedPyramid extends MovedPyramid implements KeptPyramid {
  readonly #size: Size;
  readonly #levels: readonly Level[];
  readonly #orientation: Orientation;

  constructor(stored: Pyramid, orientation: Orientation) {
    super(stored);
    this.#size = orientedSize(stored, orientation);
    this.#levels = stored.levels.map((level) => ({
      ...level,
      ...orientedSize(level, orientation),
    }));
    this.#orientation = orientation;
  }

  override get width(): number {
    return this.#size.width;
  }

  override get height(): number {
    return this.#size.height;
  }

  override get levels(): readonly Level[] {
    return this.#levels;
  }

  override get stored(): Size | undefined {
    const { stored } = this.inner;
    return stored && orientedSize(stored, this.#orientation);
  }

  protected override placeOf(region: Region, level: number) {
    const stored = this.inner.levels[level]!;
    return { region: storedRegion(region, stored, this.#orientation), level };
  }

  override async read(
    region: Region,
    level: number,
    signal?: AbortSignal,
  ): Promise<Pixels> {
    const pixels = await super.read(region, level, signal);
    const turned = orientPixels(pixels, this.#orientation);
    super.release(pixels);
    return turned;
  }

  async onEngine(signal?: AbortSignal): Promise<tf.Tensor2D | undefined> {
    const stored = await onEngine(this.inner, signal);
    return stored && orientTensor(stored, this.#orientation);
  }

  override release({ data }: Pixels): void {
    freeNow(data);
  }
}

/** A copy of `pixels` in `orientation`. */
export function orientPixels(pixels: Pixels, orientation: Orientation): Pixels {
  const { width, height } = orientedSize(pixels, orientation);
  const stored = new Uint32Array(
    pixels.data.buffer,
    pixels.data.byteOffset,
    pixels.width * pixels.height,
  ); // a pixel a number
  const indexOf = (x: number, y: number) => {
    const point = storedPoint({ x, y }, pixels, orientation);
    return point.y * pixels.width + point.x;
  };
  // Orientations are linear: a step right or down is a constant stride.
  const first = indexOf(0, 0);
  const right = indexOf(1, 0) - first;
  const down = indexOf(0, 1) - first;

  const out = new Uint32Array(width * height);
  for (let row = 0, from = first; row < out.length; row += width) {
    for (let x = 0, i = from; x < width; x++, i += right) {
      out[row + x] = stored[i]!;
    }
    from += down;
  }
  return { data: new Uint8Array(out.buffer), width, height };
}

/** `stored` packed pixels `[h, w]` in `orientation`; disposes of `stored`. */
function orientTensor(
  stored: tf.Tensor2D,
  orientation: Orientation,
): tf.Tensor2D {
  const [height, width] = stored.shape;
  const oriented = tf.tidy(() => {
    const size = { width, height };
    const first = storedPoint({ x: 0, y: 0 }, size, orientation);
    const upright: tf.Tensor2D = orientation >= 5
      ? tf.transpose(stored)
      : stored;
    const [x, y] = orientation >= 5 ? [first.y, first.x] : [first.x, first.y];
    const axes = [...y > 0 ? [0] : [], ...x > 0 ? [1] : []];
    return axes.length > 0 ? tf.reverse(upright, axes) : tf.clone(upright);
  });
  stored.dispose();
  return oriented;
}
