/**
 * What a few draws lose: the logarithm of a mean is lower on average than that of
 * the sum over all locations, the more so the fewer locations hold it. On the
 * training images both are known, so a line through them corrects the evidence of
 * N draws. It needs no label.
 *
 * @module
 */
import { randomKey } from "../../../kernels/random.ts";
import type { ManifestEntry } from "../../data/manifest.ts";
import {
  type ForegroundChoice,
  foregroundOf,
} from "../../image/foreground/tissue.ts";
import type { ImageCache } from "../../image/image_cache.ts";
import { openAtMpp } from "../../image/resampled.ts";
import type { Memory } from "../../memory.ts";
import { lookAt } from "../../model/look/look_at.ts";
import type { Drawn } from "../../model/look/draws.ts";
import type { Model } from "../../model/model.ts";
import { evidenceOffsets } from "../../sampling/evidence.ts";
import { evidenceOf } from "./head/bag_loss.ts";
import type { ImageBag } from "./bags.ts";
import { forward, type HeadArrays, headShape } from "./head/head_arrays.ts";
import { locationCount } from "../../model/look/location_grid.ts";

/** E of all locations is about `slope` E of the draws + `offset`. */
export interface DrawCorrection {
  slope: number;
  offset: number;
}

/** Options of {@linkcode fitDrawCorrection}. */
export interface CorrectionOptions {
  cache: ImageCache;
  memory: Memory;
  seed: number;
  /** Foreground that is drawn from; the configuration's if omitted. */
  foreground?: ForegroundChoice | undefined;
  /** Awaited before each image. */
  beforeImage?: () => Promise<void>;
  signal?: AbortSignal | undefined;
}

// Draws of an image: one alone says little.
const REPEATS = 3;
const CORRECTION = 112; // word of the random keys
// Fewer points do not make a line.
const LEAST_POINTS = 8;
const MIN_SLOPE = 0.5, MAX_SLOPE = 3;

/**
 * The correction of a model's draws, from images of which `head` sees all
 * locations; no change if they are too few.
 */
export async function fitDrawCorrection(
  model: Model,
  head: HeadArrays,
  bags: readonly ImageBag[],
  options: CorrectionOptions,
): Promise<DrawCorrection> {
  const points: [drawn: number, all: number][] = [];
  const { outputs } = headShape(head);
  const { evidence } = model.config.network;
  for (const [index, bag] of bags.entries()) {
    await options.beforeImage?.();
    const { logits } = forward(head, bag.copies[0]!);
    const { locations, total } = bag;
    const all = evidenceOf(logits, outputs, { ...evidence, locations, total });
    const ofLocations = spread(logits, outputs, bag, evidence.sharpness);
    for (const drawn of await looks(model, bag.entry, index, options)) {
      evidenceOfDraws(drawn, ofLocations, outputs, model)
        .forEach((value, i) => points.push([value, all[i % outputs]!]));
    }
  }
  return lineThrough(points);
}

/** Logits of the locations that count at their place in the grid, `[G, outputs]`. */
function spread(
  logits: Float64Array,
  outputs: number,
  { image: { grid, indices, places } }: ImageBag,
  sharpness: number,
): Float64Array {
  const all = new Float64Array(locationCount(grid) * outputs).fill(-Infinity);
  const size = places * outputs;
  const mean = { sharpness, objects: null, locations: places, total: places };
  indices.forEach((location, i) => {
    const own = logits.subarray(i * size, (i + 1) * size);
    all.set(evidenceOf(own, outputs, mean), location * outputs);
  });
  return all;
}

/** The draws of several looks at an image. */
async function looks(
  model: Model,
  entry: ManifestEntry,
  index: number,
  { cache, memory, seed, foreground: choice, signal }: CorrectionOptions,
): Promise<Drawn[]> {
  const { mpp, view, evaluation: { samples } } = model.config;
  const pyramid = await openAtMpp(cache, entry, mpp, signal);
  try {
    const foreground = await foregroundOf(
      pyramid,
      choice ?? { kind: view.foreground },
      signal,
    );
    const images = Array.from({ length: REPEATS }, (_, repeat) => ({
      pyramid,
      foreground,
      key: randomKey(seed, CORRECTION, index, repeat),
    }));
    const found: Drawn[] = [];
    const options = { samples, draws: "seeded", memory, signal } as const;
    for await (const look of lookAt(model, images, options)) found.push(look);
    return found;
  } finally {
    pyramid.close();
  }
}

/** E by each of the draws from one image: `[glimpses, outputs]`. */
function evidenceOfDraws(
  { draws, proposed, glimpses, locations, subTileMap }: Drawn,
  logits: Float64Array,
  outputs: number,
  { config }: Model,
): Float64Array {
  const { sharpness, objects } = config.network.evidence;
  const { locations: all, ...proposals } = proposed!;
  const offsets = evidenceOffsets({
    draws,
    ...proposals,
    locations: all.map((count) => objects ?? count),
  });
  const cells = subTileMap.rows * subTileMap.columns;
  const tiles = glimpses.flatMap(({ tiles }) => tiles);
  const sums = new Float64Array(glimpses.length * outputs);
  let at = 0;
  draws.drawn.forEach((count, tile) => {
    for (let k = 0; k < count; k++, at++) {
      const place = (tiles[tile]! * cells + locations[at]!) * outputs;
      for (let output = 0; output < outputs; output++) {
        const z = logits[place + output]!;
        sums[draws.rowOf[tile]! * outputs + output]! += Math.exp(
          sharpness * z + offsets[at]!,
        );
      }
    }
  });
  return sums.map((sum) => Math.log(sum) / sharpness);
}

/** The least-squares line through points, within bounds. */
export function lineThrough(
  points: readonly (readonly [number, number])[],
): DrawCorrection {
  const finite = points.filter((point) => point.every(Number.isFinite));
  if (finite.length < LEAST_POINTS) return { slope: 1, offset: 0 };
  const mean = (of: (point: readonly [number, number]) => number) =>
    finite.reduce((sum, point) => sum + of(point), 0) / finite.length;
  const [x, y] = [mean(([drawn]) => drawn), mean(([, all]) => all)];
  const variance = mean(([drawn]) => (drawn - x) ** 2);
  const covariance = mean(([drawn, all]) => (drawn - x) * (all - y));
  const raw = variance > 0 ? covariance / variance : 1;
  const slope = Math.min(MAX_SLOPE, Math.max(MIN_SLOPE, raw));
  return { slope, offset: y - slope * x };
}
