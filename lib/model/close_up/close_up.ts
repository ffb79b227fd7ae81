/**
 * The close-up: a third look, at the objects in the heaviest sub-tiles. Sub-tiles lie
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
  candidates,
  firstSquare,
  placedIn,
  type Square,
  squareAbout,
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
  /** From the object's square to the logits of the classes. */
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
 * Close-ups of the objects in the heaviest sub-tiles, of which the one counts that
 * is least taken for background; undefined if the model takes none.
 *
 * @throws {ImageError} If the image cannot be read.
 * @throws {EncoderError} If a feature is not finite.
 */
export async function closeUpOf(
  model: Model,
  pyramid: Pyramid,
  subTiles: readonly (Region & { weight: number })[],
  signal: AbortSignal | undefined,
): Promise<CloseUp | undefined> {
  const { closeUp: encoder, config: { network, view } } = model;
  if (!encoder || !network.closeUp) return undefined;
  const maps = await mapsOf(model);
  const { inputSize } = network.closeUp;
  const crops = cropsOf(encoder, pyramid, { inputSize, signal });
  const middles = subTiles.toSorted((a, b) => b.weight - a.weight)
    .map((region) => squareAbout(region).middle);
  const { subTileSize } = view;
  const taken: CloseUp[] = [];
  for (const middle of candidates(middles, subTileSize)) {
    const object = await foundObject(maps, crops, { middle, subTileSize });
    taken.push({ object, logits: maps.read(await crops(object)) });
  }
  const background = model.classes.indexOf(model.config.referenceClass ?? "");
  if (background < 0) return taken[0];
  return taken.reduce((a, b) =>
    lead(b, background) > lead(a, background) ? b : a
  );
}

async function mapsOf({ parameters }: Model): Promise<CloseUpMaps> {
  return {
    find: await affineMap(parameters, CLOSE_UP.find),
    place: await affineMap(parameters, CLOSE_UP.place),
    read: await affineMap(parameters, CLOSE_UP.read),
  };
}

/** By how much the strongest class leads the background. */
function lead({ logits }: CloseUp, background: number): number {
  const others = logits.filter((_, index) => index !== background);
  return Math.max(...others) - logits[background]!;
}
