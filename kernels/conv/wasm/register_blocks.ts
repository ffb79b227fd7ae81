/**
 * Blocks of sums that the convolutions of the WASM engine keep in registers.
 *
 * Each block, with the vectors and the one value that it is multiplied by,
 * takes 15 registers: V8 reserves one of x64's 16. A block of 4 x 3 spills, and
 * takes twice as long as one of 3 x 3.
 *
 * @module
 */

/** Values of a vector. */
export const LANES = 4;

/** Values on one side of a block, vectors of channels on the other. */
export interface RegisterBlock {
  values: number;
  vectors: number;
}

const MAX_UNROLLED = 12;
const MAX_RUN = 24; // that is unrolled as a whole

const OUTER_BLOCKS: readonly RegisterBlock[] = [
  { values: 4, vectors: 2 },
  { values: 3, vectors: 3 },
  { values: 8, vectors: 1 },
];

// Vectors that one value is multiplied by: enough that none waits for the last.
const MAX_VECTORS = 9;

/** Pixels of a row of a convolution to one channel. */
export const TO_ONE_PIXELS = 8;

/** How the pixels of a row are computed: some together, of some channels. */
export interface RowBlocks {
  pixels: number;
  /** Vectors of each block of channels. */
  vectors: number[];
  /** Four inputs of each pixel are one load, which takes a register a pixel. */
  fours: boolean;
}

/** The blocks of a row of so many channels. */
export function rowBlocks(channels: number): RowBlocks {
  const vectors = channels / LANES;
  return vectors % 3 === 0 && vectors % 2 !== 0
    ? { pixels: 3, vectors: evenly(vectors, 3), fours: false }
    : { pixels: 4, vectors: evenly(vectors, 2), fours: true };
}

// By the number of pixels that are left of a row: vectors that fit beside.
const LEFT_VECTORS = [MAX_VECTORS, 4, 2];

/** The blocks of the last pixels of a row, if there are any: at most 3. */
export function leftBlocks(pixels: number, channels: number): RowBlocks {
  const vectors = evenly(channels / LANES, LEFT_VECTORS[pixels - 1] ?? 1);
  return { pixels, vectors, fours: true };
}

/**
 * `count` in as few parts as `most` allows, each about as large as the others; those
 * of a size are side by side.
 */
function evenly(count: number, most: number): number[] {
  const parts = Math.ceil(count / most);
  const endOf = (part: number) => Math.floor(part * count / parts);
  return Array.from({ length: parts }, (_, i) => endOf(i + 1) - endOf(i))
    .sort((a, b) => a - b);
}

/** A block of outer products for so many channels on either side. */
export function outerBlock(splats: number, channels: number): RegisterBlock {
  if (splats === 1) {
    return {
      values: 1,
      vectors: largestDivisor(channels / LANES, MAX_VECTORS),
    };
  }
  const { values, vectors } = firstToDivide(OUTER_BLOCKS, channels);
  return { vectors, values: largestDivisor(splats, values) };
}

/** The first block whose vectors divide the channels: one vector always does. */
function firstToDivide(
  blocks: readonly RegisterBlock[],
  channels: number,
): RegisterBlock {
  return blocks.find(({ vectors }) => channels % (vectors * LANES) === 0)!;
}

/**
 * Steps of a loop of `run` that are unrolled, which saves loop counting: whole
 * loads of four if that can be.
 */
export function unrolledSteps(run: number): number {
  if (run % LANES === 0) {
    return LANES * largestDivisor(run / LANES, MAX_UNROLLED / LANES);
  }
  return run <= MAX_RUN ? run : largestDivisor(run, MAX_UNROLLED);
}

/** The largest divisor of `n` up to `most`. */
export function largestDivisor(n: number, most: number): number {
  let divisor = Math.min(n, most);
  while (n % divisor !== 0) divisor--;
  return divisor;
}
