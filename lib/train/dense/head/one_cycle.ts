/**
 * The learning rate of a one-cycle schedule: it rises, then falls to nothing,
 * along half a cosine each (Smith & Topin, 2019; as torch's OneCycleLR).
 *
 * @module
 */

// Learning rate at the start and at the end, as shares of the highest.
const FIRST = 1 / 25, LAST = FIRST / 1e4;

/**
 * Factor of the learning rate in `step` (from 0) of `steps`.
 *
 * @param rising share of the steps in which it rises.
 */
export function oneCycle(step: number, steps: number, rising: number): number {
  const top = Math.max(0, rising * steps - 1), end = Math.max(1, steps - 1);
  return step <= top && top > 0
    ? between(FIRST, 1, step / top)
    : between(1, LAST, Math.min(1, (step - top) / Math.max(1, end - top)));
}

function between(from: number, to: number, done: number): number {
  return to + (from - to) * (1 + Math.cos(Math.PI * done)) / 2;
}
