/**
 * Which images are looked at together: as many as the memory bound takes, and
 * one that it does not take alone in blocks.
 *
 * @module
 */
import { tileMapSize, viewSize } from "../image/geometry.ts";
import { Memory } from "../memory.ts";
import type { Config } from "./config.ts";
import type { PlanImage, PlanOptions } from "./glimpse.ts";

/** Places of images that are looked at together, or of one in blocks. */
export interface LookPass {
  images: number[];
  inBlocks: boolean;
}

/**
 * Cuts a batch into passes, in order.
 *
 * @param most images a pass.
 */
export function lookPasses(
  images: readonly Pick<PlanImage, "pyramid" | "contrastive">[],
  config: Config,
  { samples, memory = new Memory(), most = images.length }:
    & Pick<PlanOptions, "samples" | "memory">
    & { most?: number },
): LookPass[] {
  const passes: LookPass[] = [];
  let room = 0;
  for (const [i, image] of images.entries()) {
    const pixels = pixelsSeen(image, config, samples);
    if (pixels > memory.jointPixels) {
      passes.push({ images: [i], inBlocks: true });
      room = 0;
      continue;
    }
    const last = passes.at(-1);
    if (last && pixels <= room && last.images.length < most) {
      last.images.push(i);
      room -= pixels;
    } else {
      passes.push({ images: [i], inBlocks: false });
      room = memory.jointPixels - pixels;
    }
  }
  return passes;
}

/** Most pixels that a and b see of an image. */
function pixelsSeen(
  { pyramid, contrastive }: Pick<PlanImage, "pyramid" | "contrastive">,
  { view }: Config,
  samples: number,
): number {
  const { scale1, scale2, tileStride, tileSize } = view;
  const whole = viewSize(pyramid, scale1);
  const map = tileMapSize(pyramid, { scale: scale1, stride: tileStride });
  const tile = viewSize({ width: tileSize, height: tileSize }, scale2);
  const tiles = Math.min(samples, map.rows * map.columns) *
    (contrastive ? 2 : 1);
  return whole.width * whole.height + tiles * tile.width * tile.height;
}
