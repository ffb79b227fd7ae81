/**
 * The views by which a and b look at all of an image, in main memory: they are
 * looked at in each of many steps.
 *
 * @module
 */
import type * as tf from "@tensorflow/tfjs-core";
import type { ManifestEntry } from "../../data/manifest.ts";
import { type Size, viewSize } from "../../image/geometry.ts";
import type { ImageCache } from "../../image/image_cache.ts";
import type { Pyramid } from "../../image/pyramid.ts";
import { openAtMpp } from "../../image/resampled.ts";
import { Views } from "../../image/views.ts";
import type { Memory } from "../../memory.ts";
import { prepared, stainsFor } from "../../model/look/input.ts";
import type { Model } from "../../model/model.ts";
import type { LocationGrid } from "../../model/look/location_grid.ts";

/** Views of one size, as the networks see them. */
export interface ViewStack extends Size {
  /** `[count, height, width, 3]`. */
  data: Float32Array;
}

/** All views of an image. */
export interface ImageViews {
  /** V(x, s1), one. */
  whole: ViewStack;
  /** V(x, s2, c) of each tile. */
  tiles: ViewStack;
}

/** Where views are read from. */
export interface ViewSource {
  cache: ImageCache;
  memory: Memory;
  signal?: AbortSignal | undefined;
}

/** Reads views, and keeps as many as their share of the memory holds. */
export class StudentViews {
  readonly #model: Model;
  readonly #source: ViewSource;
  readonly #kept = new Map<string, ImageViews>();
  #room: number;

  constructor(model: Model, source: ViewSource) {
    this.#model = model;
    this.#source = source;
    this.#room = source.memory.imageCacheBytes;
  }

  /** @throws {ImageError} If the image cannot be read. */
  async of(entry: ManifestEntry, grid: LocationGrid): Promise<ImageViews> {
    const kept = this.#kept.get(entry.path);
    if (kept) return kept;
    const { cache, signal } = this.#source;
    const { mpp } = this.#model.config;
    const pyramid = await openAtMpp(cache, entry, mpp, signal);
    try {
      const views = await this.#read(pyramid, grid);
      const bytes = views.whole.data.byteLength + views.tiles.data.byteLength;
      if (bytes <= this.#room) {
        this.#room -= bytes;
        this.#kept.set(entry.path, views);
      }
      return views;
    } finally {
      pyramid.close();
    }
  }

  async #read(pyramid: Pyramid, grid: LocationGrid): Promise<ImageViews> {
    const { memory, signal } = this.#source;
    const { scale1, scale2, tileSize } = this.#model.config.view;
    const densities = await stainsFor(this.#model, pyramid, signal);
    const seen = { pyramid, densities };
    const views = await Views.open(pyramid, { memory, signal });
    try {
      const { width, height } = pyramid;
      const all = { x: 0, y: 0, width, height };
      const whole = await views.whole(scale1, { signal });
      const size = viewSize({ width: tileSize, height: tileSize }, scale2);
      const wholes = await stacked(prepared(whole, [all], seen, this.#model));
      const tiles = await views.regions(grid.regions, size, signal);
      return {
        whole: wholes,
        tiles: await stacked(
          prepared(tiles, grid.regions, seen, this.#model),
        ),
      };
    } finally {
      views.dispose();
    }
  }
}

/** Views read back from the engine, which are disposed of. */
async function stacked(views: tf.Tensor4D): Promise<ViewStack> {
  try {
    const [, height, width] = views.shape;
    return { data: await views.data() as Float32Array, height, width };
  } finally {
    views.dispose();
  }
}
