/**
 * Worker that makes frozen features of images and keeps them on disk.
 *
 * @module
 */
import type { ManifestEntry } from "../../data/manifest.ts";
import { FeatureCache } from "../../encoder/cache.ts";
import { startEngine } from "../../engine/select.ts";
import type { ForegroundChoice } from "../../image/foreground/tissue.ts";
import { imageCache } from "../../image/image_cache.ts";
import { Memory } from "../../memory.ts";
import type { Config } from "../../model/config.ts";
import { openFrozen } from "../../model/frozen.ts";
import type { Model } from "../../model/model.ts";
import { type EndingTask, serveTasks } from "../../workers/pool.ts";
import { encoderFeatures } from "./encoder_features.ts";
import { Locations } from "./locations.ts";

/** Settings shared by all images. */
export interface FeatureSetup {
  config: Config;
  /** Of the views, as the draws see them. */
  normalisation: Model["normalisation"];
  foreground: ForegroundChoice | undefined;
  /** Bound on tensors and caches. */
  memoryBytes: number;
  /** Where the features are kept, and the bound there. */
  folder: string;
  maxBytes: number;
}

serveTasks<FeatureSetup, ManifestEntry, void>(start);

async function start(
  { config, normalisation, foreground, memoryBytes, folder, maxBytes }:
    FeatureSetup,
): Promise<EndingTask<ManifestEntry, void>> {
  await startEngine("wasm");
  const encoder = await openFrozen(config.network, new Map(), 1);
  const memory = new Memory(memoryBytes);
  const cache = imageCache(memory);
  const options = { config, normalisation, foreground, memory, cache };
  const features = encoderFeatures(encoder!, {
    cache: new FeatureCache(folder, maxBytes),
    windowSize: config.view.subTileSize,
  });
  const side = config.network.places;
  const keep: EndingTask<ManifestEntry, void> = (entry, { signal }) =>
    new Locations({ ...options, features, side, signal }).read(entry);
  return Object.assign(keep, {
    async [Symbol.asyncDispose]() {
      cache.close();
      await encoder!.dispose();
    },
  });
}
