/**
 * The Kaplan-Meier estimate: the share of images without an event by each time, with
 * its 95 % interval, from Greenwood's variance on the scale of log(-log S), on which
 * it stays in [0, 1] (Kaplan & Meier 1958; Kalbfleisch & Prentice 1980).
 *
 * @module
 */
import type { Goal } from "../../target.ts";

/** The estimate from a time on. */
export interface SurvivalStep {
  time: number;
  /** Share without an event. */
  survival: number;
  /** Of the share; both ends are it where it is 1 or 0. */
  low: number;
  high: number;
  /** Images still at risk before the time. */
  atRisk: number;
}

const Z = 1.959963984540054; // standard normal quantile of 0.975

/** The steps of the estimate, from time 0 on; the last is at the last time. */
export function kaplanMeier(goals: readonly Goal[]): SurvivalStep[] {
  const times = [...Map.groupBy(goals, ([time]) => time!)]
    .sort(([a], [b]) => a - b);
  let atRisk = goals.length;
  let survival = 1, variance = 0; // of log S
  const steps: SurvivalStep[] = [
    { time: 0, survival, low: 1, high: 1, atRisk },
  ];
  for (const [time, group] of times) {
    const events = group.filter(([, event]) => event === 1).length;
    survival *= 1 - events / atRisk;
    variance += events / (atRisk * (atRisk - events));
    steps.push({ time, survival, ...rangeOf(survival, variance), atRisk });
    atRisk -= group.length;
  }
  return steps;
}

function rangeOf(
  survival: number,
  variance: number,
): { low: number; high: number } {
  if (survival <= 0 || survival >= 1) return { low: survival, high: survival };
  const log = Math.log(survival);
  const spread = Math.exp(Z * Math.sqrt(variance) / log);
  return { low: survival ** (1 / spread), high: survival ** spread };
}
