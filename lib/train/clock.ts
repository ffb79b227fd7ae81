/**
 * The cost of work: wall-clock time, CPU time (beside other work only this one
 * means something), and memory.
 *
 * @module
 */
import process from "node:process";
import { peakMemoryBytes } from "../memory.ts";

/** Time and memory taken since the clock was started. */
export interface Elapsed {
  seconds: number;
  /** Of all threads of the process. */
  cpuSeconds: number;
  /** Peak memory of the process, bytes. */
  peakBytes: number;
}

/** Starts a clock, which returns the time and memory taken since. */
export function startClock(): () => Elapsed {
  const started = performance.now(), used = process.cpuUsage();
  return function elapsed() {
    const { user, system } = process.cpuUsage(used); // us
    return {
      seconds: (performance.now() - started) / 1000,
      cpuSeconds: (user + system) / 1e6,
      peakBytes: peakMemoryBytes(),
    };
  };
}
