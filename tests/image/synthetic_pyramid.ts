/**
 * An image of any size, computed on reading: RGB by a formula of level-0
 * coordinates, in levels of any sizes.
 *
 * @module
 */
import type { Region, Size } from "../../lib/image/geometry.ts";
import type { Level, Pixels, Pyramid } from "../../lib/image/pyramid.ts";

/** Colour, 0 to 255, around a level-0 point. */
export type Paint = (
  x: number,
  y: number,
) => readonly [number, number, number];

/** Records its reads, so that a test can check their amount. */
export class SyntheticPyramid implements Pyramid {
  readonly source = "synthetic";
  readonly width: number;
  readonly height: number;
  readonly levels: readonly Level[];
  readonly warnings = [];
  readonly traffic = { bytes: 0, requests: 0 };
  /** Regions read, px of their level. */
  readonly reads: { region: Region; level: number }[] = [];
  readonly #paint: Paint;

  /**
   * @param downsamples of the levels. A level with a whole ratio may end within
   *   the image's last pixels; any other is the whole image at another size.
   * @param paint called with the middle of each pixel of a level.
   */
  constructor(
    { width, height }: Size,
    downsamples: readonly number[],
    paint: Paint,
  ) {
    this.width = width;
    this.height = height;
    this.levels = downsamples.map((downsample) => ({
      width: Math.ceil(width / downsample),
      height: Math.ceil(height / downsample),
      downsample,
    }));
    this.#paint = paint;
  }

  // deno-lint-ignore require-await
  async read(
    region: Region,
    level: number,
    signal?: AbortSignal,
  ): Promise<Pixels> {
    signal?.throwIfAborted();
    this.reads.push({ region, level });
    const size = this.levels[level]!;
    const { downsample } = size;
    const isWhole = Number.isInteger(downsample);
    const stepX = isWhole ? downsample : this.width / size.width;
    const stepY = isWhole ? downsample : this.height / size.height;
    const data = new Uint8Array(region.width * region.height * 4);
    for (let row = 0, at = 0; row < region.height; row++) {
      for (let column = 0; column < region.width; column++, at += 4) {
        const x = region.x + column, y = region.y + row;
        if (x < 0 || y < 0 || x >= size.width || y >= size.height) continue;
        const colour = this.#paint((x + 0.5) * stepX, (y + 0.5) * stepY);
        data.set([...colour.map(Math.round), 255], at);
      }
    }
    return { data, width: region.width, height: region.height };
  }

  close(): void {}
}
