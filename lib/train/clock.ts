/**
 * What work takes: time on the wall and on the CPU (beside other work only the
 * second means something), and memory.
 *
 * @module
 */
import process from "node:process";
import { peakMemoryBytes } from "../memory.ts";

/** What was taken since the clock was started. */
export interface Elapsed {
  seconds: number;
  /** Of all threads of the process. */
  cpuSeconds: number;
  /** The most that the process ever held, bytes. */
  peakBytes: number;
}

/** Starts a clock that tells what was taken since. */
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
