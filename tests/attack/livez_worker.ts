/**
 * Asks a server for `/livez` every 20 ms, on a thread that does nothing else,
 * and tells how long each answer took, ms.
 *
 * @module
 */
import { setTimeout as pause } from "node:timers/promises";
import { answerCalls } from "../../lib/workers/calls.ts";

/** Functions of the Worker. */
export type LivezMethods = {
  watch(url: string): number[];
};

const EVERY_MS = 20;

answerCalls<LivezMethods, never>({
  async watch(url, signal) {
    const latencies: number[] = [];
    while (!signal.aborted) {
      const sent = performance.now();
      const response = await fetch(`${url}/livez`);
      await response.body?.cancel();
      latencies.push(performance.now() - sent);
      await pause(EVERY_MS);
    }
    return latencies;
  },
});
