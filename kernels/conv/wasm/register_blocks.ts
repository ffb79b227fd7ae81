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

const ROW_BLOCKS: readonly RegisterBlock[] = [
  { values: 3, vectors: 3 },
  { values: 5, vectors: 2 },
  { values: 8, vectors: 1 },
];

const OUTER_BLOCKS: readonly RegisterBlock[] = [
  { values: 6, vectors: 2 },
  { values: 3, vectors: 3 },
  { values: 8, vectors: 1 },
];

/** Pixels of a row times so many output channels; one channel: pixels alone. */
export function rowBlock(channels: number): RegisterBlock {
  return channels % LANES === 0
    ? firstToDivide(ROW_BLOCKS, channels)
    : { values: 8, vectors: 1 };
}

/** A block of outer products for so many channels on either side. */
export function outerBlock(splats: number, channels: number): RegisterBlock {
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

/** The largest divisor of `n` up to `most`. */
export function largestDivisor(n: number, most: number): number {
  let divisor = Math.min(n, most);
  while (n % divisor !== 0) divisor--;
  return divisor;
}
