/**
 * Small models and images whose every tile and sub-tile can be looked at.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { randomKey, RandomStream } from "../../kernels/random.ts";
import { attentionSoftmax } from "../../kernels/softmax/softmax.ts";
import {
  centredRegion,
  locationAt,
  type Region,
  type Size,
  subTileCentre,
  tileCentre,
  tileMapSize,
  viewSize,
} from "../../lib/image/geometry.ts";
import type { Pyramid } from "../../lib/image/pyramid.ts";
import { RasterPyramid } from "../../lib/image/pyramids/raster.ts";
import { Views } from "../../lib/image/views.ts";
import { Memory } from "../../lib/memory.ts";
import type { Config } from "../../lib/model/config.ts";
import { channelsOf, features, modelSpecs } from "../../lib/model/networks.ts";
import { classify } from "../../lib/model/head.ts";
import { initialParameters, isTrained } from "../../lib/model/parameters.ts";
import { preset } from "../../lib/model/presets.ts";
import type { Model } from "../../lib/model/model.ts";
import { subTileLogits, tileLogits } from "../../lib/model/look/attention.ts";
import { subTileMap } from "../../lib/model/look/draws.ts";

/** An image of `size` by a formula: `pixel` gives RGB, 0-255. */
export function drawnImage(
  { width, height }: Size,
  pixel: (x: number, y: number) => readonly [number, number, number],
): RasterPyramid {
  const data = new Uint8Array(width * height * 4);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at += 4) {
      data.set([...pixel(x, y), 255], at);
    }
  }
  const pixels = { data, width, height };
  return new RasterPyramid("drawn", { pixels, warnings: [] });
}

/** Noise: every pixel its own. */
export function noiseImage(size: Size, seed: number): RasterPyramid {
  const random = new RandomStream(randomKey(seed));
  const byte = () => random.below(256);
  return drawnImage(size, () => [byte(), byte(), byte()]);
}

/** Holds the views of images together as long as a and b see `pixels` of them. */
export class JointMemory extends Memory {
  constructor(readonly pixels: number) {
    super();
  }

  override get jointPixels(): number {
    return this.pixels;
  }
}

/** Choices of a toy model. */
export interface ToyOptions {
  seed?: number;
  view?: Partial<Config["view"]>;
  training?: Partial<Config["training"]>;
  network?: Partial<Config["network"]>;
  /** Factor of the last layers of a and b, which makes attention more peaked. */
  peak?: number;
  classes?: string[];
  referenceClass?: string | null;
}

/** A model, of two classes if not said, with tiles of 16 px, sub-tiles of 7 px. */
export function toyModel(
  {
    seed = 1,
    view,
    training,
    network,
    peak = 1,
    classes = ["negative", "positive"],
    referenceClass = "negative",
  }: ToyOptions = {},
): Model {
  const config = { ...preset("needle"), referenceClass };
  Object.assign(config.view, {
    scale1: 0.125,
    scale2: 0.25,
    tileSize: 16,
    tileStride: 8,
    subTileSize: 7,
    samples: 5,
  }, view);
  Object.assign(config.training, training);
  Object.assign(config.network, network);
  const specs = modelSpecs(config, classes);
  const parameters = initialParameters(specs, { initialisation: "he", seed });
  for (const net of config.network.overview ? [] : ["a", "b"]) {
    const last = parameters.get(`${net}/conv3/weight`)!;
    tf.tidy(() => last.assign(tf.mul(last, peak)));
  }
  return {
    config,
    classes,
    normalisation: null,
    calibration: null,
    parameters,
  };
}

/** The parameters that gradients change, by name. */
export function trainedParameters(
  { config, classes, parameters }: Model,
): Map<string, tf.Variable> {
  const specs = modelSpecs(config, classes).filter(isTrained);
  return new Map(specs.map(({ name }) => [name, parameters.get(name)!]));
}

/** All that a network can look at in one image; dispose of `tensors`. */
export interface WholeLook {
  /** Rows and columns of both maps. */
  tiles: number;
  subTiles: number;
  /** Level-0 px: tiles, and the sub-tiles of each, tile after tile. */
  regions: { tiles: Region[]; subTiles: Region[] };
  tensors: {
    view: tf.Tensor4D; // [1, h, w, 3]
    tileViews: tf.Tensor4D; // [tiles, u, v, 3]
    subTiles: tf.Tensor4D; // [tiles * subTiles, h2, w2, 3]
  };
}

/** Reads every tile and every sub-tile of `image`. */
export async function lookEverywhere(
  { config }: Model,
  image: Pyramid,
): Promise<WholeLook> {
  const { scale1, scale2, tileStride, tileSize, subTileSize, subTileStride } =
    config.view;
  const stage1 = { scale: scale1, stride: tileStride };
  const map = tileMapSize(image, stage1);
  const square = { width: tileSize, height: tileSize };
  const view = viewSize(square, scale2);
  const subMap = subTileMap({ config });
  const tileRegions = Array.from(
    { length: map.rows * map.columns },
    (_, i) =>
      centredRegion(
        tileCentre(locationAt(i, map.columns), map, image, stage1),
        square,
      ),
  );
  const subTileRegions = tileRegions.flatMap((tile) =>
    Array.from(
      { length: subMap.rows * subMap.columns },
      (_, i) =>
        centredRegion(
          subTileCentre(locationAt(i, subMap.columns), subMap, tile, {
            scale: scale2,
            stride: subTileStride,
          }),
          { width: subTileSize, height: subTileSize },
        ),
    )
  );
  const views = await Views.open(image, { memory: new Memory() });
  const tensors = {
    view: await views.whole(scale1),
    tileViews: await views.regions(tileRegions, view),
    subTiles: await views.regions(subTileRegions, {
      width: subTileSize,
      height: subTileSize,
    }),
  };
  views.dispose();
  return {
    tiles: tileRegions.length,
    subTiles: subMap.rows * subMap.columns,
    regions: { tiles: tileRegions, subTiles: subTileRegions },
    tensors,
  };
}

/** 0, or -Infinity where nothing may be drawn. */
export interface Masks {
  tiles: tf.Tensor2D; // [1, tiles]
  subTiles: tf.Tensor2D; // [tiles, subTiles]
}

/**
 * The exact sum over all tiles and locations (eq. 5), differentiable in a and
 * b: F = sum_c alpha_c sum_c' beta^c_c' f, `[1, K]`, and its logits.
 */
export function exactExpectation(
  { parameters, config }: Model,
  { tiles, subTiles, tensors }: WholeLook,
  masks?: Masks,
): { F: tf.Tensor2D; logits: tf.Tensor2D } {
  const { rows, columns } = tileMapSize(
    { width: tensors.view.shape[2], height: tensors.view.shape[1] },
    { scale: 1, stride: config.view.tileStride * config.view.scale1 },
  );
  const ofTiles = tileLogits(parameters, tensors.view, { rows, columns });
  const alpha = attentionSoftmax(
    masks ? tf.add(ofTiles, masks.tiles) : ofTiles,
  ); // [1, tiles]
  const beta = attentionSoftmax(
    subTileLogits(
      parameters,
      tensors.tileViews,
      subTileMap({ config }),
      masks?.subTiles,
    ),
  ); // [tiles, subTiles]
  const channels = channelsOf(config.network);
  const read = features(parameters, config.network, tensors.subTiles);
  const means = tf.matMul(
    tf.reshape(beta, [tiles, 1, subTiles]),
    tf.reshape(read, [tiles, subTiles, channels]),
  ); // [tiles, 1, K]
  const F = tf.matMul(
    alpha,
    tf.reshape(means, [tiles, channels]) as tf.Tensor2D,
  ) as tf.Tensor2D;
  return { F, logits: classify(parameters, F) };
}
