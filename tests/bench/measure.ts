/**
 * A benchmark and its timing: ours and stock in turn, so that other work of the
 * machine slows both.
 *
 * @module
 */
import type { Engine } from "../../lib/engine/select.ts";

/** One line of the table. */
export interface Row {
  id: string;
  engine: Engine["backend"];
  oursMs: number;
  /** Null if nothing stock does the same. */
  stockMs: number | null;
  /** stockMs / oursMs. */
  ratio: number | null;
  note: string;
}

/** Something to time. Both sides return the milliseconds they took. */
export interface Subject {
  ours: () => Promise<number>;
  stock?: () => Promise<number>;
  /** Floating-point operations of either side's direct sums. */
  operations?: number;
  note: string;
}

/** The subjects of an id on one engine; none if it does not apply there. */
export interface Bench {
  subjects: Subject[];
  dispose(): void;
}

/** Prepares the subjects of an id on the current engine. */
export type Benchmark = (engine: Engine) => Bench | Promise<Bench>;

// The first round is not counted: shaders are compiled, files are cached.
const ROUNDS = 8;
// A subject is left after it, once a round was counted.
const BUDGET_MS = 15_000;

/** Medians of both sides over rounds in which they take turns. */
export async function sideBySide(
  { ours, stock }: Subject,
): Promise<Pick<Row, "oursMs" | "stockMs" | "ratio">> {
  const oursMs: number[] = [], stockMs: number[] = [];
  let spent = 0;
  for (
    let round = 0;
    round < 2 || (round < ROUNDS && spent < BUDGET_MS);
    round++
  ) {
    const started = performance.now();
    oursMs.push(await ours());
    if (stock) stockMs.push(await stock());
    spent += performance.now() - started;
  }
  const times = { oursMs: settled(oursMs), stockMs: settled(stockMs) };
  if (!stock) return { oursMs: times.oursMs, stockMs: null, ratio: null };
  return { ...times, ratio: times.stockMs / times.oursMs };
}

/** The median without the first round. */
function settled(times: number[]): number {
  return median(times.slice(1));
}

/** Middle value, or the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const half = Math.floor(sorted.length / 2);
  return sorted.length % 2
    ? sorted[half]!
    : (sorted[half - 1]! + sorted[half]!) / 2;
}

/** Milliseconds that `work` takes. */
export async function timed(work: () => Promise<void>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}
