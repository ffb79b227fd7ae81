/**
 * A part of an image as an image of its own. Training uses it to shift the grid
 * of stage I over a slide without further reads.
 *
 * @module
 */
import { clipRegion, type Region } from "../geometry.ts";
import { movedRegion, wholeRatio } from "../level_geometry.ts";
import { type Level, MovedPyramid, type Pyramid } from "../pyramid.ts";

/**
 * The `region` of `pyramid`, level-0 px; closing the one closes the other. Has
 * the levels on which the region begins at a whole pixel.
 */
export function crop(pyramid: Pyramid, region: Region): Pyramid {
  return new CroppedPyramid(pyramid, clipRegion(region, pyramid));
}

class CroppedPyramid extends MovedPyramid {
  readonly #region: Region;
  /** The levels kept, with their index in the whole image. */
  readonly #kept: { level: Level; index: number }[] = [];

  constructor(whole: Pyramid, region: Region) {
    super(whole);
    this.#region = region;
    for (const [index, stored] of whole.levels.entries()) {
      const ratio = wholeRatio(whole, stored);
      if (ratio === undefined) continue;
      const { x, y, width, height } = region;
      if (x % ratio !== 0 || y % ratio !== 0) continue;
      // A level may lack the last fraction of a pixel of the image.
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

  protected override placeOf(region: Region, level: number) {
    const { level: { downsample }, index } = this.#kept[level]!;
    return {
      region: movedRegion(region, this.#region, downsample),
      level: index,
    };
  }
}
