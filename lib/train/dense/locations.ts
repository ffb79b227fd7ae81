/**
 * The locations of images and their frozen features, read image by image.
 *
 * @module
 */
import { placesOn } from "../../data/annotations/places.ts";
import { objectsSeen } from "../../data/annotations/seen.ts";
import type { ManifestEntry } from "../../data/manifest.ts";
import { ConfigError } from "../../errors.ts";
import {
  type ForegroundChoice,
  foregroundOf,
} from "../../image/foreground/tissue.ts";
import type { Foreground } from "../../image/foreground/foreground.ts";
import type { Point } from "../../image/geometry.ts";
import type { ImageCache } from "../../image/image_cache.ts";
import type { Pyramid } from "../../image/pyramid.ts";
import { openAtMpp } from "../../image/resampled.ts";
import { Views } from "../../image/views.ts";
import { prepared } from "../../model/look/input.ts";
import { placesOf } from "../../model/look/places.ts";
import type { Model } from "../../model/model.ts";
import type { Memory } from "../../memory.ts";
import type { Config } from "../../model/config.ts";
import { nothingToLookAt } from "../../model/look/support/nothing_to_look_at.ts";
import { Support } from "../../model/look/support/support.ts";
import type { TrainingBoxes } from "../boxes.ts";
import { changesColours, type Recolouring, recolouring } from "./copies.ts";
import {
  gridSize,
  gridView,
  locationCount,
  type LocationGrid,
  locationGrid,
} from "../../model/look/location_grid.ts";

/** Frozen features of places of an image. */
export interface LocationFeatures {
  /** K. */
  readonly channels: number;
  /**
   * The features about `places`, px of level 0: `[places, channels]`.
   *
   * @param options.recolour changes the pixels before.
   */
  read(
    pyramid: Pyramid,
    places: readonly Point[],
    options: {
      recolour: Recolouring | undefined;
      memory: Memory;
      signal: AbortSignal | undefined;
    },
  ): Promise<Float32Array>;
}

/** Options of {@linkcode Locations}. */
export interface LocationOptions {
  config: Config;
  cache: ImageCache;
  memory: Memory;
  features: LocationFeatures;
  /** Places of a sub-tile at which features are read, to a side. */
  side: number;
  /** Of the views, as the draws see them. */
  normalisation: Model["normalisation"];
  foreground?: ForegroundChoice | undefined;
  boxes?: TrainingBoxes | undefined;
  signal?: AbortSignal | undefined;
}

/** The locations of an image that count. */
export interface ImageLocations {
  grid: LocationGrid;
  /** Indices of the locations that count, ascending. */
  indices: Uint32Array;
  /** 1 for each location that counts, `[G]`; null if all do. */
  allowed: Uint8Array | null;
  /** G: by how many locations the draws divide their sum. */
  total: number;
  /** Places of each location: rows of features. */
  places: number;
  /** 1 where an object lies, by the places of `indices`; null: unknown. */
  objects: Uint8Array | null;
}

/** Copies of a training image, the one as it is included. */
export function copyCount({ training }: Config): number {
  const { dense, augmentation } = training;
  return 1 + (changesColours(augmentation) ? dense?.copies ?? 0 : 0);
}

/** Reads locations and features. */
export class Locations {
  readonly #options: LocationOptions;

  constructor(options: LocationOptions) {
    this.#options = options;
  }

  /**
   * The locations of an image.
   *
   * @throws {ConfigError} If its grid is too large.
   * @throws {ImageError} If it cannot be read, or has no foreground.
   */
  async of(entry: ManifestEntry): Promise<ImageLocations> {
    return await this.#opened(entry, async (pyramid) => {
      const grid = this.#grid(entry, pyramid);
      const { allowed, total } = await this.#allowed(pyramid, grid);
      const all = Uint32Array.from(grid.places, (_, i) => i);
      const indices = allowed ? all.filter((i) => allowed[i] === 1) : all;
      if (indices.length === 0) throw nothingToLookAt(pyramid.source);
      return {
        grid,
        indices,
        allowed,
        total,
        places: this.#options.side ** 2,
        objects: this.#objects(entry, pyramid, this.#places(grid, indices)),
      };
    });
  }

  /** The places of locations, one location after the other. */
  #places({ places }: LocationGrid, indices: Uint32Array): Point[] {
    const { side, config: { view: { subTileSize } } } = this.#options;
    return Array.from(
      indices,
      (i) => placesOf(places[i]!, { subTileSize, side }),
    )
      .flat();
  }

  /**
   * The features at the places of an image's locations:
   * `[indices * places, channels]`.
   *
   * @param copy 0: as it is; from 1 on: in other colours.
   */
  async features(
    entry: ManifestEntry,
    { grid, indices }: ImageLocations,
    copy: number,
  ): Promise<Float32Array> {
    const { features, memory, signal, config } = this.#options;
    const places = this.#places(grid, indices);
    const recolour = copy === 0
      ? undefined
      : recolouring(entry.image, copy, config.training.augmentation);
    return await this.#opened(
      entry,
      (pyramid) => features.read(pyramid, places, { recolour, memory, signal }),
    );
  }

  /** Reads the features of an image and of all its copies, for a cache to keep. */
  async read(entry: ManifestEntry): Promise<void> {
    const image = await this.of(entry);
    const copies = copyCount(this.#options.config);
    for (let copy = 0; copy < copies; copy++) {
      await this.features(entry, image, copy);
    }
  }

  async #opened<T>(
    entry: ManifestEntry,
    use: (pyramid: Pyramid) => Promise<T>,
  ): Promise<T> {
    const { cache, config, signal } = this.#options;
    const pyramid = await openAtMpp(cache, entry, config.mpp, signal);
    try {
      return await use(pyramid);
    } finally {
      pyramid.close();
    }
  }

  #grid(entry: ManifestEntry, pyramid: Pyramid): LocationGrid {
    const { view, training: { dense } } = this.#options.config;
    const grid = gridView(view);
    const count = locationCount(gridSize(pyramid, grid));
    const most = dense!.maxLocations;
    if (count <= most) return locationGrid(pyramid, grid);
    throw new ConfigError(
      `Cannot train on all locations of ${entry.image}: it has ${count}, and training.dense.maxLocations is ${most}; raise that, set a larger view.subTileStride than ${view.subTileStride}, or set training.dense=null`,
    );
  }

  /** Locations in the foreground and in the support, as the draws have them. */
  async #allowed(
    pyramid: Pyramid,
    grid: LocationGrid,
  ): Promise<Pick<ImageLocations, "allowed" | "total">> {
    const { config: { view }, foreground: choice, signal } = this.#options;
    const foreground = await foregroundOf(
      pyramid,
      choice ?? { kind: view.foreground },
      signal,
    );
    const tiles = foreground?.locations(grid.tiles, {
      scale: view.scale1,
      stride: view.tileStride,
    });
    const cells = grid.cells.rows * grid.cells.columns;
    const support = view.support === null
      ? undefined
      : await this.#support(pyramid, foreground, view.support);
    if (!tiles && !support) return { allowed: null, total: grid.places.length };
    const allowed = Uint8Array.from(
      grid.places,
      (_, i) => tiles?.[Math.floor(i / cells)] === 0 ? 0 : 1,
    );
    if (!support) {
      return { allowed, total: allowed.filter((mark) => mark === 1).length };
    }
    grid.regions.forEach((region, tile) => {
      support.cells(region).forEach((mark, cell) => {
        if (mark === 0) allowed[tile * cells + cell] = 0;
      });
    });
    return { allowed, total: support.total };
  }

  /** The support of the draws, from the view of stage I. */
  async #support(
    pyramid: Pyramid,
    foreground: Foreground | undefined,
    support: number,
  ): Promise<Support> {
    const { memory, signal, normalisation, config: { view } } = this.#options;
    const views = await Views.open(pyramid, { memory, signal });
    try {
      const { width, height } = pyramid;
      const raw = await views.whole(view.scale1, { signal });
      const all = [{ x: 0, y: 0, width, height }];
      const shown = prepared(raw, all, { pyramid }, { normalisation });
      const pixels = await shown.data() as Float32Array;
      shown.dispose();
      const image = { pyramid, foreground };
      return Support.of(pixels, image, { ...view, support });
    } finally {
      views.dispose();
    }
  }

  /** Places where objects lie; in an image of the background class none. */
  #objects(
    entry: ManifestEntry,
    pyramid: Pyramid,
    places: readonly Point[],
  ): Uint8Array | null {
    const { boxes, config, side } = this.#options;
    if (!boxes) return null;
    if (entry.label === config.referenceClass) {
      return new Uint8Array(places.length);
    }
    const objects = boxes.objects.get(entry.path);
    if (!objects) return null;
    const { width, height, stored = { width, height } } = pyramid;
    const seen = objectsSeen(objects, { stored, size: { width, height } });
    return placesOn(seen, places, {
      within: config.view.subTileSize / side / 2,
    });
  }
}
