/**
 * Layout of a synthetic slide: tissue in whole cells, so that all blocks inside
 * it repeat, and clusters of objects in the tissue.
 *
 * @module
 */
import { randomKey, RandomStream } from "../../../kernels/random.ts";
import { ConfigError } from "../../errors.ts";
import { cellHolding, type Point } from "../../image/geometry.ts";
import { clusterRadius, placeApart, placeCluster } from "./needle.ts";
import type { NeedleObject } from "./needle_pixels.ts";

/** Options of a slide. */
export interface SlideOptions {
  /** Pixels of level 0, in 10^9, rounded to a size that halves evenly. */
  gigapixels: number;
  /** The objects of the first cluster are needles. */
  positive: boolean;
  clusters: number;
  /** Average objects of a cluster. */
  objects: number;
  /** Diameter of the largest object, px. */
  diameter: number;
  seed: number;
}

/** A slide of a gigapixel. */
export const SLIDE_DEFAULTS: Omit<SlideOptions, "gigapixels"> = {
  positive: false,
  clusters: 12,
  objects: 7,
  diameter: 22,
  seed: 0,
};

/** A slide before it is drawn. */
export interface SlidePlan {
  /** Width and height, px. */
  side: number;
  /** Cells per side; a cell is a square of blocks. */
  cells: number;
  /** 1 if a cell is tissue, `[cells, cells]`. */
  tissue: Uint8Array;
  objects: NeedleObject[];
}

/** Width and height of a block of the file, px. */
export const BLOCK_SIZE = 256;

// More cells give finer outlines, but more distinct blocks.
const MAX_CELLS = 63;

// Ellipses of tissue: their number, and their half axes, as shares of the side.
const PIECES = 5;
const HALF_AXIS = { shortest: 0.1, longest: 0.24 };

// Words of the random keys: one stream for each purpose.
const PIECE = 1, CLUSTER = 2;

/**
 * Plans a slide; the result depends only on the options.
 *
 * @throws {ConfigError} If the clusters do not fit into the tissue.
 */
export function planSlide(options: SlideOptions): SlidePlan {
  const grid = slideGrid(options.gigapixels);
  const tissue = placeTissue(grid.cells, options.seed);
  const plan = { ...grid, tissue };
  return { ...plan, objects: placeObjects(plan, options) };
}

/** The pixel of the slide is tissue. */
export function isTissue(
  { side, cells, tissue }: Omit<SlidePlan, "objects">,
  { x, y }: Point,
): boolean {
  const row = cellHolding(y, cells, side);
  const column = cellHolding(x, cells, side);
  return tissue[row * cells + column] === 1;
}

/**
 * The cells whose side is a power of two times the block's: every level halves
 * evenly, and all its blocks inside tissue are the same.
 */
function slideGrid(gigapixels: number): { side: number; cells: number } {
  const wanted = Math.sqrt(gigapixels * 1e9);
  let cell = BLOCK_SIZE;
  while (wanted / cell > MAX_CELLS) cell *= 2;
  const cells = Math.round(wanted / cell);
  return { side: cells * cell, cells };
}

function placeTissue(cells: number, seed: number): Uint8Array {
  const random = new RandomStream(randomKey(seed, PIECE));
  const pieces = Array.from({ length: PIECES }, () => {
    const axis = () =>
      HALF_AXIS.shortest +
      (HALF_AXIS.longest - HALF_AXIS.shortest) * random.uniform();
    const [a, b] = [axis(), axis()];
    const within = (half: number) => half + (1 - 2 * half) * random.uniform();
    return { a, b, x: within(a), y: within(b) };
  });
  return Uint8Array.from({ length: cells * cells }, (_, i) => {
    const x = (i % cells + 0.5) / cells;
    const y = (Math.floor(i / cells) + 0.5) / cells;
    const isInside = pieces.some((piece) =>
      Math.hypot((x - piece.x) / piece.a, (y - piece.y) / piece.b) < 1
    );
    return isInside ? 1 : 0;
  });
}

function placeObjects(
  plan: Omit<SlidePlan, "objects">,
  options: SlideOptions,
): NeedleObject[] {
  const random = new RandomStream(randomKey(options.seed, CLUSTER));
  const radius = clusterRadius(options) + options.diameter;
  const centres = placeApart(
    options.clusters,
    2 * radius,
    () => drawInTissue(plan, radius, random),
  );
  return centres.flatMap((centre, i) => {
    const kind = options.positive && i === 0 ? "needle" : "lookalike";
    return placeCluster(centre, options, random)
      .map((object) => ({ ...object, kind }));
  });
}

// Points to try; tissue is about a fifth of a slide, rarely less than a 20th.
const ATTEMPTS = 10_000;

/** Draws a point that has only tissue within `radius` px. */
function drawInTissue(
  plan: Omit<SlidePlan, "objects">,
  radius: number,
  random: RandomStream,
): Point {
  const offsets = [-radius, 0, radius];
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const x = radius + (plan.side - 2 * radius) * random.uniform();
    const y = radius + (plan.side - 2 * radius) * random.uniform();
    const isInside = offsets.every((dx) =>
      offsets.every((dy) => isTissue(plan, { x: x + dx, y: y + dy }))
    );
    if (isInside) return { x, y };
  }
  throw new ConfigError(
    `Cannot place clusters of ${
      Math.ceil(2 * radius)
    } px in the tissue of a slide of ${plan.side} px: take a larger slide or smaller clusters`,
  );
}
