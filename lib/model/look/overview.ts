/**
 * Attention by the encoder: a linear layer on its features at every location of
 * the whole image, at a reduced scale. The softmax of the logits over all
 * locations is alpha_c beta_c', so alpha of a tile is its sum over the tile.
 *
 * Networks a and b have 881 parameters, which hold no detector of objects as
 * rare as a road sign; the frozen network has seen such things.
 *
 * @module
 */
import { gridFeatures } from "../../encoder/grid.ts";
import { ImageError } from "../../errors.ts";
import type { Pyramid } from "../../image/pyramid.ts";
import type { Memory } from "../../memory.ts";
import { LogSumExp } from "../../sampling/streams.ts";
import type { Model } from "../model.ts";
import { OVERVIEW } from "../networks.ts";
import {
  gridSize,
  gridView,
  locationCount,
  type LocationGrid,
  locationGrid,
} from "./location_grid.ts";

/** Logits of all locations of an image. */
export interface Overview {
  grid: LocationGrid;
  /** Of each location, cell by cell, tile after tile, `[G]`. */
  logits: Float32Array;
  /** Log-sum-exp over the cells of each tile: what its alpha is made of. */
  tiles: Float32Array;
}

/**
 * Looks at a whole image by the encoder.
 *
 * @throws {ImageError} If it cannot be read, or has too many locations.
 */
export async function overviewOf(
  { config, parameters, overview }: Model,
  pyramid: Pyramid,
  { memory, signal }: { memory: Memory; signal?: AbortSignal | undefined },
): Promise<Overview> {
  const view = gridView(config.view);
  const count = locationCount(gridSize(pyramid, view));
  const most = config.training.dense!.maxLocations;
  if (count > most) {
    throw new ImageError(
      `Cannot look at ${pyramid.source}: it has ${count} locations, and attention by the encoder sees at most ${most} (training.dense.maxLocations); classify a smaller part, or train with network.overview=null`,
    );
  }
  const grid = locationGrid(pyramid, view);
  const features = await gridFeatures(overview!, pyramid, grid.places, {
    memory,
    signal,
  });
  const weight = await parameters.get(OVERVIEW)!.data() as Float32Array;
  const logits = products(features, weight);
  return { grid, logits, tiles: tileLogits(logits, grid) };
}

/** Each row of features times the weights. */
function products(features: Float32Array, weight: Float32Array): Float32Array {
  const channels = weight.length;
  return Float32Array.from({ length: features.length / channels }, (_, row) => {
    let sum = 0;
    for (let c = 0; c < channels; c++) {
      sum += features[row * channels + c]! * weight[c]!;
    }
    return sum;
  });
}

function tileLogits(
  logits: Float32Array,
  { tiles, cells }: Pick<LocationGrid, "tiles" | "cells">,
): Float32Array {
  const size = cells.rows * cells.columns;
  return Float32Array.from(
    { length: tiles.rows * tiles.columns },
    (_, tile) => {
      const sum = new LogSumExp();
      sum.add(logits.subarray(tile * size, (tile + 1) * size));
      return sum.value;
    },
  );
}
