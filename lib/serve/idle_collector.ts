/**
 * Gives back the memory of a thread that has had no work for a while. V8
 * collects all garbage only when it needs room, and the allocator keeps what is
 * freed between what is not, so a server that was busy would hold what it no
 * longer uses for as long as it is idle.
 *
 * @module
 */
import { allocatorTrim } from "./allocator.ts";

/** V8's own collector. */
type Collect = (
  how: {
    type: "major";
    execution: "sync";
    /** The last resort gives room back to the system, and takes longer. */
    flavor: "regular" | "last-resort";
  },
) => void;

const IDLE_MS = 2000;
// The last resort takes some tenths of a second: a trickle of work must not pay
// for each of its parts.
const EVERY_MS = 30_000;
// A thread that is never idle collects what would else pile up, in some 40 ms:
// after so much work that this is little of it, however busy the machine is.
const BUSY_MS = 10_000, BUSY_WORKS = 250;

/**
 * Returns what to call whenever work has ended. Does nothing without V8's flag
 * `--expose-gc`.
 */
export function idleCollector(): () => void {
  const { gc } = globalThis as { gc?: Collect };
  if (!gc) return () => {};
  const trim = allocatorTrim();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let givenBack = -Infinity, collected = performance.now(), works = 0;
  const collect = (flavor: "regular" | "last-resort") => {
    gc({ type: "major", execution: "sync", flavor });
    collected = performance.now();
    works = 0;
  };
  const giveBack = () => {
    collect("last-resort");
    trim();
    givenBack = performance.now();
  };
  return function workEnded() {
    const now = performance.now();
    works++;
    if (now - collected > BUSY_MS && works >= BUSY_WORKS) {
      collected = now;
      setTimeout(() => collect("regular")); // once the answer is sent
    }
    clearTimeout(timer);
    timer = setTimeout(giveBack, Math.max(IDLE_MS, givenBack + EVERY_MS - now));
  };
}
