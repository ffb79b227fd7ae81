/**
 * Long work that gives way: messages, such as one that the work was given up,
 * arrive between macrotasks only, and decoding from memory makes none.
 *
 * @module
 */
import { setImmediate } from "node:timers/promises";

// Longest that work may keep the thread, ms. A stage of a network takes longer, so
// to turn more often would only cost time.
const TURN_MS = 20;

let began = performance.now();

/** Lets other events in, if the thread was kept for 20 ms. */
export async function turn(signal?: AbortSignal): Promise<void> {
  while (performance.now() - began > TURN_MS) {
    await setImmediate();
    began = performance.now();
  }
  signal?.throwIfAborted();
}
