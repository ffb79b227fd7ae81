/**
 * Gives back the memory of a thread that has had no work for a while. V8
 * collects all garbage only when it needs room, and the allocator keeps what is
 * freed between what is not, so a server that was busy would hold what it no
 * longer uses for as long as it is idle.
 *
 * @module
 */
import { allocatorTrim } from "./allocator.ts";

/** V8's own collector; the last resort gives room back to the system. */
type Collect = (
  how: { type: "major"; execution: "sync"; flavor: "last-resort" },
) => void;

const IDLE_MS = 2000;
// A collection takes some tenths of a second: a trickle of work must not pay
// for each of its parts.
const EVERY_MS = 30_000;

/**
 * Returns what to call whenever work has ended. Does nothing without V8's flag
 * `--expose-gc`.
 */
export function idleCollector(): () => void {
  const { gc } = globalThis as { gc?: Collect };
  if (!gc) return () => {};
  const trim = allocatorTrim();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let last = -Infinity;
  const collect = () => {
    last = performance.now();
    gc({ type: "major", execution: "sync", flavor: "last-resort" });
    trim();
  };
  return function workEnded() {
    clearTimeout(timer);
    const earliest = last + EVERY_MS - performance.now();
    timer = setTimeout(collect, Math.max(IDLE_MS, earliest));
  };
}
