/**
 * The sub-tiles that were drawn, as network f reads them: all at once if the
 * memory bound holds f's activations, else in batches.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { largestTensorBytes } from "../../../kernels/gpu.ts";
import { collected } from "../../image/tensors.ts";
import type { Views } from "../../image/views.ts";
import { Memory } from "../../memory.ts";
import { prefetched } from "./prefetch.ts";
import type { Glimpse, LookImage, LookOptions, SubTiles } from "./draws.ts";
import { frozenFeatures } from "../frozen.ts";
import { preparedTogether, type RawViews } from "./input.ts";
import type { Model } from "../model.ts";
import {
  featureBytes,
  featureTensorBytes,
  hasBatchStatistics,
} from "../networks.ts";

/** Sub-tiles of one glimpse. */
type Part = Pick<Glimpse, "image" | "subTileRegions">;

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
  views: readonly Views[],
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
  const read = ({ image, subTileRegions }: Part) =>
    views[image]!.regions(subTileRegions, size, signal);
  const rawViews = (
    { image, subTileRegions: regions }: Part,
    raw: tf.Tensor4D,
  ): RawViews => ({ raw, regions, image: images[image]! });
  const togetherBytes = count * area > tensorPixels
    ? Infinity
    : Memory.toRead(count * area, bytes, isAlone);
  const prepare = async (parts: Part[]) => {
    const raw = await collected(parts, read);
    return preparedTogether(
      parts.map((part, i) => rawViews(part, raw[i]!)),
      model,
    );
  };
  if (count <= most) {
    return { ...held(await prepare([...glimpses])), togetherBytes };
  }
  const batches = batchesOf(glimpses, most);
  return {
    subTiles: undefined,
    subTileBatches() {
      for (const { image, subTileRegions } of glimpses) {
        views[image]!.announce(subTileRegions, size, signal);
      }
      return prefetched(batches, prepare, { drop: (batch) => batch.dispose() });
    },
    togetherBytes,
  };
}

/** Sub-tiles of glimpses in batches of at most `most`, in order. */
function batchesOf(glimpses: readonly Part[], most: number): Part[][] {
  const batches: Part[][] = [];
  let room = 0;
  for (const { image, subTileRegions } of glimpses) {
    for (let at = 0; at < subTileRegions.length;) {
      if (room === 0) {
        batches.push([]);
        room = most;
      }
      const some = subTileRegions.slice(at, at + room);
      batches.at(-1)!.push({ image, subTileRegions: some });
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
