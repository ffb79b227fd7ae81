/**
 * A part of an image as an image of its own. Training moves the grid of stage I
 * over a slide with it, and reads nothing more for it.
 *
 * @module
 */
import {
  clipRegion,
  movedRegion,
  type Region,
  wholeRatio,
} from "./geometry.ts";
import {
  type Level,
  type Pixels,
  type Pyramid,
  WrappedPyramid,
} from "./pyramid.ts";

/**
 * The `region` of `pyramid`, level-0 px; closing the one closes the other. Has
 * the levels on which the region begins at a whole pixel.
 */
export function crop(pyramid: Pyramid, region: Region): Pyramid {
  return new CroppedPyramid(pyramid, clipRegion(region, pyramid));
}

class CroppedPyramid extends WrappedPyramid {
  readonly #region: Region;
  /** The levels kept, and which of the whole image's each is. */
  readonly #kept: { level: Level; index: number }[] = [];

  constructor(whole: Pyramid, region: Region) {
    super(whole);
    this.#region = region;
    for (const [index, stored] of whole.levels.entries()) {
      const ratio = wholeRatio(whole, stored);
      if (ratio === undefined) continue;
      const { x, y, width, height } = region;
      if (x % ratio !== 0 || y % ratio !== 0) continue;
      // A level may lack the last part of a pixel of the image.
      const level = {
        width: Math.min(Math.ceil(width / ratio), stored.width - x / ratio),
        height: Math.min(Math.ceil(height / ratio), stored.height - y / ratio),
        downsample: ratio,
      };
      if (level.width < 1 || level.height < 1) continue;
      this.#kept.push({ level, index });
    }
  }

  override get width(): number {
    return this.#region.width;
  }

  override get height(): number {
    return this.#region.height;
  }

  override get levels(): readonly Level[] {
    return this.#kept.map(({ level }) => level);
  }

  /** Its origin is elsewhere now, and nobody asks where. */
  override get georeference(): undefined {
    return undefined;
  }

  override get bounds(): undefined {
    return undefined; // likewise
  }

  override async read(
    region: Region,
    level: number,
    signal?: AbortSignal,
  ): Promise<Pixels> {
    const kept = this.#kept[level];
    if (kept === undefined) {
      throw new RangeError(
        `Cannot read level ${level} of ${this.source}: it has ${this.#kept.length}`,
      );
    }
    return await super.read(
      movedRegion(region, this.#region, kept.level.downsample),
      kept.index,
      signal,
    );
  }

  override prefetch(
    regions: readonly Region[],
    level: number,
    signal?: AbortSignal,
  ): void {
    const kept = this.#kept[level];
    if (kept === undefined) return;
    super.prefetch(
      regions.map((region) =>
        movedRegion(region, this.#region, kept.level.downsample)
      ),
      kept.index,
      signal,
    );
  }
}
