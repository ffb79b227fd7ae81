/**
 * The error of an image of which nothing may be drawn.
 *
 * @module
 */
import { ImageError } from "../../../errors.ts";

/** The error of a foreground that lies between the locations of a map. */
export function nothingToLookAt(source: string): ImageError {
  return new ImageError(
    `Cannot look at ${source}: no tile is centred on its foreground; draw from the whole image (foreground none), or lower view.tileStride`,
  );
}
