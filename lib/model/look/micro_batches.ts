/**
 * Micro-batches: the images that are computed at once. The memory bound decides
 * how many; an image that it does not hold alone is looked at in blocks. On a GPU
 * no tensor of them is larger than it can bind.
 *
 * @module
 */
import { largestTensorBytes } from "../../../kernels/gpu.ts";
import { tileMapSize, viewSize } from "../../image/geometry.ts";
import type { Config } from "../config.ts";
import type { LookImage, LookOptions } from "./draws.ts";
import {
  ATTENTION_TENSOR_BYTES,
  featureBytes,
  featureTensorBytes,
  hasBatchStatistics,
} from "../networks.ts";

/** Places in the batch of images that are computed at once, or of one in blocks. */
export interface MicroBatch {
  images: number[];
  inBlocks: boolean;
}

/**
 * Cuts a batch into micro-batches, in order, as large as the memory bound allows.
 * In training, the activations of f are held, too.
 */
export function microBatches(
  images: readonly Pick<LookImage, "pyramid" | "contrastive">[],
  config: Config,
  { samples, memory, training = false }: Pick<
    LookOptions,
    "samples" | "memory" | "training"
  >,
): MicroBatch[] {
  const { features } = config.network;
  const tensorBytes = largestTensorBytes();
  const joint = Math.min(
    memory.jointPixels,
    tensorBytes / ATTENTION_TENSOR_BYTES,
  );
  // Batch statistics need all sub-tiles at once: more micro-batches change them.
  const readable = training && !hasBatchStatistics[features]
    ? Math.min(
      memory.featurePixels(featureBytes[features]),
      tensorBytes / featureTensorBytes[features],
    )
    : Infinity;
  const batches: MicroBatch[] = [];
  let seen = 0, read = 0; // by the last micro-batch, px
  for (const [i, image] of images.entries()) {
    const more = pixelsSeen(image, config, samples);
    const inBlocks = more > joint;
    seen += more;
    read += pixelsRead(image, config, samples);
    const last = batches.at(-1);
    if (last && seen <= joint && read <= readable) {
      last.images.push(i);
    } else {
      batches.push({ images: [i], inBlocks });
      seen = more;
      read = pixelsRead(image, config, samples);
    }
  }
  return batches;
}

/** Upper bound of the pixels that a and b see of an image. */
function pixelsSeen(
  { pyramid, contrastive }: Pick<LookImage, "pyramid" | "contrastive">,
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

/** Upper bound of the pixels that f reads of an image. */
function pixelsRead(
  { contrastive }: Pick<LookImage, "contrastive">,
  { view }: Config,
  samples: number,
): number {
  return samples * (contrastive ? 2 : 1) * view.subTileSize ** 2;
}
