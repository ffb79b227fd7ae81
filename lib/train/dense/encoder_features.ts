/**
 * The features of an encoder about all locations of images, with those that a
 * cache on disk keeps.
 *
 * @module
 */
import { type FeatureCache, imageContent } from "../../encoder/cache.ts";
import type { Encoder } from "../../encoder/encoder.ts";
import { blockKey, gridFeatures } from "../../encoder/grid.ts";
import type { Model } from "../../model/model.ts";
import type { LocationFeatures } from "./locations.ts";

/**
 * Features of `encoder`.
 *
 * @param cache keeps them on disk; computed each time if omitted.
 * @param windowSize side of a sub-tile, for an encoder that sees one at a time.
 */
export function encoderFeatures(
  encoder: Encoder,
  { cache, windowSize }: {
    cache?: FeatureCache | undefined;
    windowSize: number;
  },
): LocationFeatures {
  return {
    channels: encoder.channels,
    async read(pyramid, places, { recolour, memory, signal }) {
      const make = () =>
        gridFeatures(encoder, pyramid, places, {
          memory,
          signal,
          windowSize,
          recolour: recolour && ((pixels) => recolour.apply(pixels)),
        });
      if (!cache) return await make();
      return await cache.features({
        image: await imageContent(pyramid),
        encoder: `${encoder.key} ${windowSize}${
          blockKey(encoder, pyramid, memory)
        }`,
        places,
        copy: recolour?.key ?? "",
      }, make);
    },
  };
}

/** The features of a model's own encoder. */
export function modelFeatures(
  { encoder, config: { network, view } }: Model,
  featureCache: FeatureCache | undefined,
): LocationFeatures {
  if (!encoder) throw new TypeError(`${network.features} is not frozen`);
  // A dictionary is one of this run: no other would find its features.
  const cache = network.features === "dictionary" ? undefined : featureCache;
  return encoderFeatures(encoder, { cache, windowSize: view.subTileSize });
}
