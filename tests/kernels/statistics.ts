/**
 * Pearson's chi-square, for tests of draws.
 *
 * @module
 */

/** The statistic of observed counts against expected probabilities. */
export function chiSquare(counts: number[], probabilities: number[]): number {
  const total = counts.reduce((a, b) => a + b, 0);
  return counts.reduce((sum, count, i) => {
    const expected = total * probabilities[i]!;
    return sum + (count - expected) ** 2 / expected;
  }, 0);
}

/**
 * Bound that the statistic of `cells` cells exceeds by chance once in 30,000
 * times: 4 standard deviations, by Wilson and Hilferty's cube root (1931).
 */
export function chiSquareBound(cells: number): number {
  const degrees = cells - 1;
  const variance = 2 / (9 * degrees);
  return degrees * (1 - variance + 4 * Math.sqrt(variance)) ** 3;
}
