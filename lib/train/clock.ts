/**
 * Time on the wall and on the CPU: beside other work only the second means
 * something.
 *
 * @module
 */
import process from "node:process";

/** Time that has passed. */
export interface Elapsed {
  seconds: number;
  /** Of all threads of the process. */
  cpuSeconds: number;
}

/** Starts a clock that tells the time since. */
export function startClock(): () => Elapsed {
  const started = performance.now(), used = process.cpuUsage();
  return function elapsed() {
    const { user, system } = process.cpuUsage(used); // us
    return {
      seconds: (performance.now() - started) / 1000,
      cpuSeconds: (user + system) / 1e6,
    };
  };
}
