/**
 * The sub-tiles that were drawn, as network f reads them: all at once if the
 * memory bound holds f's activations, else in batches.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { largestTensorBytes } from "../../../kernels/gpu.ts";
import type { JointViews, RegionsOfImage } from "../../image/joint_views.ts";
import { Memory } from "../../memory.ts";
import { prefetched } from "./prefetch.ts";
import type { Glimpse, LookImage, LookOptions, SubTiles } from "./draws.ts";
import { frozenFeatures } from "../frozen.ts";
import { preparedTogether } from "./input.ts";
import type { Model } from "../model.ts";
import {
  featureBytes,
  featureTensorBytes,
  hasBatchStatistics,
} from "../networks.ts";

/**
 * Reads all sub-tiles of glimpses, in their order. If they do not fit at once,
 * `views` are read when the batches are asked for.
 *
 * @param alone true if no views of the stages are held meanwhile: their share is
 *   then for a network that has to read all sub-tiles at once.
 */
export async function readSubTiles(
  model: Model,
  images: readonly LookImage[],
  views: JointViews,
  { glimpses, alone = false, memory, signal }:
    & { glimpses: readonly Glimpse[]; alone?: boolean }
    & Pick<LookOptions, "memory" | "signal">,
): Promise<SubTiles> {
  const { view: { subTileSize }, network } = model.config;
  const { encoder } = model;
  if (encoder) {
    const side = network.places;
    const options = { memory, signal, subTileSize, side };
    return {
      ...NONE,
      frozen: () => frozenFeatures(encoder, images, glimpses, options),
    };
  }
  const size = { width: subTileSize, height: subTileSize };
  const bytes = featureBytes[network.features];
  const isAlone = alone && hasBatchStatistics[network.features];
  const area = subTileSize ** 2;
  const tensorPixels = largestTensorBytes() /
    featureTensorBytes[network.features];
  const pixels = Math.min(memory.featurePixels(bytes, isAlone), tensorPixels);
  const most = Math.max(1, Math.floor(pixels / area));
  const count = glimpses
    .reduce((sum, { subTileRegions }) => sum + subTileRegions.length, 0);
  const togetherBytes = count * area > tensorPixels
    ? Infinity
    : Memory.toRead(count * area, bytes, isAlone);
  const prepare = async (parts: RegionsOfImage[]) =>
    preparedTogether(
      await views.regions(parts, size, signal),
      parts.map(({ image, regions }) => ({ regions, image: images[image]! })),
      model,
    );
  const parts = glimpses.map(({ image, subTileRegions: regions }) => ({
    image,
    regions,
  }));
  if (count <= most) return { ...held(await prepare(parts)), togetherBytes };
  const batches = batchesOf(parts, most);
  return {
    subTiles: undefined,
    subTileBatches() {
      for (const part of parts) views.announce(part, size, signal);
      return prefetched(batches, prepare, { drop: (batch) => batch.dispose() });
    },
    togetherBytes,
  };
}

/** Sub-tiles in batches of at most `most`, in order. */
function batchesOf(
  parts: readonly RegionsOfImage[],
  most: number,
): RegionsOfImage[][] {
  const batches: RegionsOfImage[][] = [];
  let room = 0;
  for (const { image, regions } of parts) {
    for (let at = 0; at < regions.length;) {
      if (room === 0) {
        batches.push([]);
        room = most;
      }
      const some = regions.slice(at, at + room);
      batches.at(-1)!.push({ image, regions: some });
      at += some.length;
      room -= some.length;
    }
  }
  return batches;
}

const NONE: SubTiles = {
  subTiles: undefined,
  async *subTileBatches() {},
  togetherBytes: 0,
};

/** Sub-tiles that are on the engine. */
export function held(subTiles: tf.Tensor4D): SubTiles {
  return {
    subTiles,
    async *subTileBatches() {
      yield subTiles;
    },
    togetherBytes: 0,
  };
}
