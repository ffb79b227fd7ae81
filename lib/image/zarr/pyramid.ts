/**
 * OME-Zarr images as pyramids, read chunk by chunk.
 *
 * @module
 */
import { ImageError } from "../../errors.ts";
import type { OpenSource } from "../bytes/source.ts";
import type { Pixels } from "../pyramid.ts";
import {
  type BlockLevel,
  blockOrigin,
  BlockPyramid,
  type BlockPyramidOptions,
} from "../pyramids/block_pyramid.ts";
import { type AnyArray, damagedIfNot } from "./store.ts";

/** A level, whose blocks are the chunks of its array. */
export interface ZarrLevel extends BlockLevel {
  array: AnyArray;
  /** Names of the array's axes. */
  axes: readonly string[];
}

const CHANNELS = 3;

/** The pyramid of an image. */
export class ZarrPyramid extends BlockPyramid<OpenSource> {
  readonly #levels: readonly ZarrLevel[];

  constructor(
    source: OpenSource,
    options: BlockPyramidOptions & { levels: readonly ZarrLevel[] },
  ) {
    super(source, options);
    this.#levels = options.levels;
  }

  protected override async decodeBlock(
    level: number,
    block: number,
    signal: AbortSignal,
  ): Promise<Pixels> {
    const stored = this.#levels[level]!;
    const { array, axes, block: { width, height } } = stored;
    const origin = blockOrigin(stored, block);
    const along: Record<string, number> = {
      x: origin.x / width,
      y: origin.y / height,
    };
    const channel = axes.indexOf("c");
    const together = array.chunks[channel]!; // channels of a chunk
    const data = new Uint8Array(width * height * 4).fill(255); // opaque
    const parts = Math.ceil(CHANNELS / together);
    await Promise.all(
      Array.from({ length: parts }, async (_, part) => {
        const place = axes.map((axis) =>
          axis === "c" ? part : along[axis] ?? 0
        );
        const chunk = await damagedIfNot(
          array.getChunk(place, { signal }),
          signal,
        );
        const { data: values, stride } = chunk;
        const size = array.chunks.reduce((product, side) => product * side, 1);
        if (!(values instanceof Uint8Array) || values.length < size) {
          throw new ImageError(
            "it is damaged or truncated: a chunk is too short",
          );
        }
        for (let i = 0; i < together; i++) {
          const c = part * together + i;
          if (c >= CHANNELS) break;
          copyChannel(values.subarray(i * stride[channel]!), data.subarray(c), {
            width,
            height,
            strideX: stride[axes.indexOf("x")]!,
            strideY: stride[axes.indexOf("y")]!,
          });
        }
      }),
    );
    return { data, width, height };
  }
}

/** Copies one channel of a chunk into every fourth byte of `to`. */
function copyChannel(
  from: Uint8Array,
  to: Uint8Array,
  { width, height, strideX, strideY }: {
    width: number;
    height: number;
    strideX: number;
    strideY: number;
  },
): void {
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0, i = y * strideY; x < width; x++, i += strideX, at += 4) {
      to[at] = from[i]!;
    }
  }
}
