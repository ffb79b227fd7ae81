/**
 * The frozen features that a run trains on: opened, or, for a dictionary, learned
 * from its training images.
 *
 * @module
 */
import type * as tf from "@tensorflow/tfjs-core";
import { type FeatureCache, imageContent } from "../../encoder/cache.ts";
import type { Dictionary } from "../../encoder/dictionary.ts";
import type { Encoder, Pictures } from "../../encoder/encoder.ts";
import { gridFeatures } from "../../encoder/grid.ts";
import { learnDictionary } from "../../encoder/learn_dictionary.ts";
import type { ManifestEntry } from "../../data/manifest.ts";
import { clipRegion } from "../../image/geometry.ts";
import type { ImageCache } from "../../image/image_cache.ts";
import type { Pyramid } from "../../image/pyramid.ts";
import { openAtMpp } from "../../image/resampled.ts";
import { Views } from "../../image/views.ts";
import type { Memory } from "../../memory.ts";
import type { Config } from "../../model/config.ts";
import { DICTIONARY_PREFIX } from "../../model/networks.ts";
import type { Parameters } from "../../model/parameters.ts";
import { assign } from "./head_arrays.ts";
import type { LocationFeatures } from "./locations.ts";

/** Features about places of an image by `encoder`, kept in a cache if given. */
export function featuresOf(
  encoder: Encoder,
  { view }: Config,
  cache?: FeatureCache,
): LocationFeatures {
  return {
    channels: encoder.channels,
    async read(pyramid, places, { recolour, memory, signal }) {
      const make = () =>
        gridFeatures(encoder, pyramid, places, {
          memory,
          signal,
          windowSize: view.subTileSize,
          recolour: recolour?.apply,
        });
      if (!cache) return await make();
      return await cache.features({
        image: await imageContent(pyramid, signal),
        encoder: encoder.key,
        places,
        copy: recolour?.key ?? "",
      }, make);
    },
  };
}

// Images that a dictionary is learned from: more give no other patches.
const LEARNED_FROM = 60;
// Side of the part in the middle of an image that patches are taken from, px.
const PART = 1024;

/**
 * Learns the dictionary of a model from the first training images.
 *
 * @throws {ImageError} If an image cannot be read.
 */
export async function learnModelDictionary(
  parameters: Parameters,
  entries: readonly ManifestEntry[],
  { seed, ...options }: ReadingOptions & { seed: number },
): Promise<void> {
  const some = spread(entries, LEARNED_FROM);
  const dictionary: Dictionary = await learnDictionary(
    picturesOf(some, options),
    {
      seed,
      images: some.length,
      ...options.signal ? { signal: options.signal } : {},
    },
  );
  for (const [name, { data }] of dictionary) {
    assign(parameters, DICTIONARY_PREFIX + name, data);
  }
}

interface ReadingOptions {
  config: Config;
  cache: ImageCache;
  memory: Memory;
  signal?: AbortSignal | undefined;
}

/** At most `count` of the entries, evenly spaced: manifests are often sorted. */
function spread<T>(entries: readonly T[], count: number): T[] {
  if (entries.length <= count) return [...entries];
  return Array.from(
    { length: count },
    (_, i) => entries[Math.floor(i * entries.length / count)]!,
  );
}

async function* picturesOf(
  entries: readonly ManifestEntry[],
  { config, cache, memory, signal }: ReadingOptions,
): AsyncGenerator<Pictures> {
  for (const entry of entries) {
    const pyramid = await openAtMpp(cache, entry, config.mpp, signal);
    try {
      yield await middleOf(pyramid, { memory, signal });
    } finally {
      pyramid.close();
    }
  }
}

/** The middle of an image in full resolution. */
async function middleOf(
  pyramid: Pyramid,
  options: { memory: Memory; signal: AbortSignal | undefined },
): Promise<Pictures> {
  const region = clipRegion({
    x: Math.max(0, Math.floor((pyramid.width - PART) / 2)),
    y: Math.max(0, Math.floor((pyramid.height - PART) / 2)),
    width: PART,
    height: PART,
  }, pyramid);
  const { width, height } = region;
  const views = await Views.open(pyramid, options);
  let read: tf.Tensor4D | undefined;
  try {
    read = await views.regions([region], { width, height }, options.signal);
    const data = await read.data() as Float32Array;
    return { data, count: 1, width, height };
  } finally {
    read?.dispose();
    views.dispose();
  }
}
