/**
 * The support of one image's draws, block by block of its view: the same px as
 * those of the whole view, in memory that does not grow with the image.
 *
 * @module
 */
import { Top } from "../../../../kernels/sample/top_k.ts";
import { blockPart, mapBlocks, viewSize } from "../../../image/geometry.ts";
import type { Views } from "../../../image/views.ts";
import type { Model } from "../../model.ts";
import { foregroundPixels, Support } from "./support.ts";
import type { LookImage, LookOptions } from "../draws.ts";
import { prepared } from "../input.ts";
import { CONTRAST_RADIUS, localContrast } from "./contrast.ts";

/**
 * The px of highest contrast of an image; undefined if the configuration has no
 * support.
 *
 * @throws {ImageError} If the image cannot be read, or nothing may be drawn.
 */
export async function supportInBlocks(
  model: Model,
  image: LookImage,
  views: Views,
  { memory, signal }: Pick<LookOptions, "memory" | "signal">,
): Promise<Support | undefined> {
  const { view } = model.config;
  if (view.support === null) return undefined;
  const { width, height } = image.pyramid;
  const all = [{ x: 0, y: 0, width, height }];
  const size = viewSize(image.pyramid, view.scale1);
  const map = { rows: size.height, columns: size.width };
  const top = new Top(Math.min(view.support, size.width * size.height));
  const blocks = mapBlocks(map, size, {
    pixels: memory.blockPixels,
    halo: CONTRAST_RADIUS,
  });
  for (const block of blocks) {
    const allowed = foregroundPixels(image, view, block);
    if (allowed?.includes(1) === false) continue;
    const part = blockPart(block, map, { view: size, halo: CONTRAST_RADIUS });
    const raw = await views.whole(view.scale1, { part, signal });
    const shown = prepared(raw, all, image, model);
    const values = await shown.data() as Float32Array;
    shown.dispose();
    const contrast = localContrast(values, part);
    for (let r = 0, i = 0; r < block.rows; r++) {
      for (let c = 0; c < block.columns; c++, i++) {
        if (allowed?.[i] === 0) continue;
        const row = block.row + r, column = block.column + c;
        const at = (row - part.y) * part.width + column - part.x;
        top.offer(contrast[at]!, row * map.columns + column);
      }
    }
  }
  return new Support(top.indices, image, view);
}
