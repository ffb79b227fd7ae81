/**
 * Systematic sampling: N draws at equal distances of the running sum of the
 * weights, behind one random start. A location with share p of the weights is
 * drawn N p times in the mean, always rounded up or down, so that sums over the
 * draws vary less than those of independent ones.
 *
 * Source: Madow & Madow, "On the theory of systematic sampling", Annals of
 * Mathematical Statistics 15, 1944.
 *
 * @module
 */

/** Drawn locations in order, and how often each was drawn. */
export interface SystematicDraws {
  indices: number[];
  /** They add up to the number of draws. */
  counts: number[];
}

/**
 * `samples` draws by `weights`, which need not add to 1.
 *
 * @param start uniform in (0, 1).
 * @returns nothing if no weight is above 0.
 */
export function systematicDraws(
  weights: ArrayLike<number>,
  samples: number,
  start: number,
): SystematicDraws {
  let total = 0;
  for (let i = 0; i < weights.length; i++) total += weights[i]!;
  const drawn: SystematicDraws = { indices: [], counts: [] };
  if (!(total > 0)) return drawn;
  let sum = 0, before = 0;
  for (let i = 0; i < weights.length && before < samples; i++) {
    sum += weights[i]!; // in the same order as the total: ends at it
    const passed = Math.ceil(sum / total * samples - start);
    if (passed <= before) continue;
    drawn.indices.push(i);
    drawn.counts.push(passed - before);
    before = passed;
  }
  return drawn;
}
