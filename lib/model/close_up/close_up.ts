/**
 * The close-up: a third look, at the object in the heaviest sub-tile. Sub-tiles lie
 * on a grid and have one size; what tells two small objects apart is hardly seen
 * from beside or from afar. So the object's place and size are found, twice, each
 * time from nearer, as in a cascade of box regressions (Cai & Vasconcelos, CVPR
 * 2018), and it is read again at one size. The image's logits are those of what is
 * read there.
 *
 * @module
 */
import { type AffineMap, affineMap } from "./affine.ts";
import { type CropFeatures, cropsOf } from "./crops.ts";
import { CLOSE_UP } from "./parameters.ts";
import {
  around,
  firstSquare,
  placedIn,
  type Square,
  squareAbout,
  tight,
} from "./squares.ts";
import type { Point, Region } from "../../image/geometry.ts";
import type { Pyramid } from "../../image/pyramid.ts";
import type { Model } from "../model.ts";

/** The linear maps of a close-up, each from the features of a square. */
export interface CloseUpMaps {
  /** From the square about a sub-tile's middle to the object's placement. */
  find: AffineMap;
  /** From a square around the object to its placement. */
  place: AffineMap;
  /** From a tight square to the logits of the classes. */
  read: AffineMap;
}

/** What a close-up shows. */
export interface CloseUp {
  /** The object. */
  object: Square;
  /** `[classes]`. */
  logits: Float64Array;
}

// How often an object is placed from near.
const TIMES = 2;

/** The object about `middle`, by the features of squares. */
export async function foundObject(
  { find, place }: Pick<CloseUpMaps, "find" | "place">,
  crops: CropFeatures,
  { middle, subTileSize }: { middle: Point; subTileSize: number },
): Promise<Square> {
  const first = firstSquare(middle, subTileSize);
  let object = placedIn(first, find(await crops(first)), subTileSize);
  for (let time = 0; time < TIMES; time++) {
    const square = around(object);
    object = placedIn(square, place(await crops(square)), subTileSize);
  }
  return object;
}

/**
 * The close-up of the object in `subTile`; undefined if the model takes none.
 *
 * @throws {ImageError} If the image cannot be read.
 * @throws {EncoderError} If a feature is not finite.
 */
export async function closeUpOf(
  model: Model,
  pyramid: Pyramid,
  subTile: Region,
  signal: AbortSignal | undefined,
): Promise<CloseUp | undefined> {
  const { closeUp: encoder, parameters, config: { network, view } } = model;
  if (!encoder || !network.closeUp) return undefined;
  const [find, place, read] = await Promise.all(
    Object.values(CLOSE_UP).map((name) => affineMap(parameters, name)),
  );
  const { inputSize } = network.closeUp;
  const crops = cropsOf(encoder, pyramid, { inputSize, signal });
  const object = await foundObject(
    { find: find!, place: place! },
    crops,
    { middle: squareAbout(subTile).middle, subTileSize: view.subTileSize },
  );
  return { object, logits: read!(await crops(tight(object))) };
}
