/**
 * The concordance index of risks: of all pairs of images of which it is known whose
 * event came first, the share in which the earlier has the higher risk; equal risks
 * count half (Harrell et al., JAMA 247, 1982). Of two events at one time neither came
 * first; who is censored at the time of an event came later.
 *
 * @module
 */
import type { Goal } from "../../target.ts";

/** Risks, and times to an event. */
export interface RiskScores {
  /** Time, and 1 if the event was seen, of each image. */
  goals: readonly Goal[];
  risks: readonly number[];
}

/** The index if image i counts `counts[i]` times; null if no pair is known. */
export function countedConcordance(
  { goals, risks }: RiskScores,
): (counts: Int32Array) => number | null {
  const levels = [...new Set(risks)].sort((a, b) => a - b);
  const levelOf = new Map(levels.map((risk, level) => [risk, level + 1]));
  const ranks = risks.map((risk) => levelOf.get(risk)!);
  const groups = [...Map.groupBy(goals.keys(), (i) => goals[i]![0]!)]
    .sort(([a], [b]) => b - a).map(([, places]) => ({
      events: places.filter((i) => goals[i]![1] === 1),
      censored: places.filter((i) => goals[i]![1] !== 1),
    }));
  return (counts) => {
    const later = new Tallies(levels.length); // those whose event comes later
    let right = 0, pairs = 0;
    for (const { events, censored } of groups) {
      for (const i of censored) later.add(ranks[i]!, counts[i]!);
      for (const i of events) {
        const below = later.upTo(ranks[i]! - 1);
        const tied = later.upTo(ranks[i]!) - below;
        right += counts[i]! * (below + tied / 2);
        pairs += counts[i]! * later.total;
      }
      for (const i of events) later.add(ranks[i]!, counts[i]!);
    }
    return pairs === 0 ? null : right / pairs;
  };
}

/** Counts by rank whose partial sums take a logarithm of them (Fenwick 1994). */
class Tallies {
  readonly #sums: Float64Array;
  total = 0;

  constructor(ranks: number) {
    this.#sums = new Float64Array(ranks + 1);
  }

  add(rank: number, count: number): void {
    this.total += count;
    for (let at = rank; at < this.#sums.length; at += at & -at) {
      this.#sums[at]! += count;
    }
  }

  /** Sum of the counts of ranks 1 to `rank`. */
  upTo(rank: number): number {
    let sum = 0;
    for (let at = rank; at > 0; at -= at & -at) sum += this.#sums[at]!;
    return sum;
  }
}
