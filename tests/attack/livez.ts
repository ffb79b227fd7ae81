/** Whether a server stays live while it is kept busy, and how soon it says so. */
import assert from "node:assert/strict";
import { WorkerCalls } from "../../lib/workers/calls.ts";
import type { LivezMethods } from "./livez_worker.ts";

/** Longest answer of `/livez` but for one in a hundred, ms. */
export const MAX_P99_MS = 100;

/** How long `/livez` took, ms. */
export interface Latency {
  count: number;
  p50: number;
  p99: number;
  most: number;
}

/** Watches `/livez` from a thread of its own until `work` is done. */
export async function latencyDuring<T>(
  url: string,
  work: () => Promise<T>,
): Promise<{ result: T; latency: Latency }> {
  const worker = new WorkerCalls<LivezMethods>(
    new URL("./livez_worker.ts", import.meta.url),
    { onCrash: (reason) => assert.fail(reason) },
  );
  try {
    const stop = new AbortController();
    const watched = worker.call("watch", url, stop.signal);
    const result = await work().finally(() => stop.abort());
    const latencies = (await watched).sort((a, b) => a - b);
    const at = (share: number) =>
      Math.round(latencies[Math.floor(share * (latencies.length - 1))]!);
    const latency = {
      count: latencies.length,
      p50: at(0.5),
      p99: at(0.99),
      most: at(1),
    };
    return { result, latency };
  } finally {
    worker.close(new Error("It is over"));
  }
}

/** Number of times that `/livez` answered before `work` settled. */
export async function livezDuring(
  url: string,
  work: Promise<unknown>,
): Promise<number> {
  let isDone = false, answers = 0;
  const done = work.finally(() => isDone = true);
  while (!isDone) {
    const response = await fetch(`${url}/livez`);
    await response.body?.cancel();
    if (!isDone && response.ok) answers++;
  }
  await done;
  return answers;
}
