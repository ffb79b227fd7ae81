/**
 * Waiting for what must come, on a machine however busy: by events, with a
 * bound that only a fault reaches.
 *
 * @module
 */
import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";

/** Longest wait for anything: far more than it takes on a busy machine. */
export const LONGEST_MS = 60_000;

const LOOK_EVERY_MS = 10;

/** Waits until `isThere` says so; fails with `what` after a minute. */
export async function eventually(
  what: string,
  isThere: () => boolean | Promise<boolean>,
  mostMs = LONGEST_MS,
): Promise<void> {
  const deadline = performance.now() + mostMs;
  while (!await isThere()) {
    assert.ok(performance.now() < deadline, `${what}: not after ${mostMs} ms`);
    await pause(LOOK_EVERY_MS);
  }
}

/**
 * Awaits `promise`; fails with `what` if it does not settle within a minute.
 */
export async function within<T>(
  what: string,
  promise: Promise<T>,
  mostMs = LONGEST_MS,
): Promise<T> {
  const over = new AbortController();
  const late = pause(mostMs, undefined, { signal: over.signal })
    .then(() => assert.fail(`${what}: not within ${mostMs} ms`));
  late.catch(() => {}); // it was in time
  try {
    return await Promise.race([promise, late]);
  } finally {
    over.abort();
  }
}
