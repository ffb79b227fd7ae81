/**
 * Cox's partial likelihood of risks, with tied times after Efron, and its gradient.
 *
 *     log L = sum over times t of events [ sum_{i in D} r_i
 *             - sum_{l < d} log( sum_{j in R} exp(r_j) - l / d sum_{i in D} exp(r_i) ) ]
 *
 * with r the risks (logarithms of hazard ratios), D the d images whose event is at t
 * and R those still at risk at t. Who is censored at t is still at risk.
 *
 * Sources: Cox, J. R. Stat. Soc. B 34 (1972); Efron, J. Am. Stat. Assoc. 72 (1977).
 *
 * @module
 */
import type { Goal } from "../../target.ts";

/** The loss of a cohort, and its gradient. */
export interface CoxLoss {
  /**
   * -log L / events of each image: of the times of its own event, shared by those
   * tied; `[n]`, 0 of censored ones.
   */
  losses: number[];
  /** d sum of losses / d risk, `[n]`. */
  gradient: Float64Array;
}

/**
 * The negative logarithm of the partial likelihood, over the number of events; all 0
 * without one.
 *
 * @param goals time, and 1 if the event was seen, of each image.
 */
export function coxLoss(
  risks: ArrayLike<number>,
  goals: readonly Goal[],
): CoxLoss {
  const count = goals.length;
  const losses = new Array<number>(count).fill(0);
  const gradient = new Float64Array(count);
  const events = goals.filter(([, event]) => event === 1).length;
  if (events === 0) return { losses, gradient };
  // exp of the largest must not overflow.
  let most = -Infinity;
  for (let i = 0; i < count; i++) most = Math.max(most, risks[i]!);
  const hazard = Float64Array.from(risks, (risk) => Math.exp(risk - most));
  const groups = timesFromLast(goals);
  let atRisk = 0;
  const passed: { from: number; own: number; rate: number }[] = [];
  const order = groups.flat();
  let from = 0;
  for (const group of groups) {
    from += group.length;
    for (const i of group) atRisk += hazard[i]!;
    const died = group.filter((i) => goals[i]![1] === 1);
    const d = died.length;
    if (d === 0) continue;
    const tied = died.reduce((sum, i) => sum + hazard[i]!, 0);
    let logs = 0, rate = 0, rateOfTied = 0;
    for (let l = 0; l < d; l++) {
      const sum = atRisk - l / d * tied;
      logs += Math.log(sum) + most;
      rate += 1 / sum;
      rateOfTied += l / d / sum;
    }
    for (const i of died) {
      losses[i] = (logs / d - risks[i]!) / events;
      gradient[i]! -= (1 + hazard[i]! * rateOfTied) / events;
    }
    passed.push({ from, own: d, rate });
  }
  // Of those at risk at a time: all from the last time on to it.
  let rate = 0;
  let next = passed.length - 1;
  for (let place = count - 1; place >= 0; place--) {
    while (next >= 0 && passed[next]!.from > place) {
      rate += passed[next]!.rate;
      next--;
    }
    const i = order[place]!;
    gradient[i]! += hazard[i]! * rate / events;
  }
  return { losses, gradient };
}

/** Places of images by their time, the last time first. */
function timesFromLast(goals: readonly Goal[]): number[][] {
  const byTime = Map.groupBy(goals.keys(), (i) => goals[i]![0]!);
  return [...byTime].sort(([a], [b]) => b - a).map(([, places]) => places);
}
