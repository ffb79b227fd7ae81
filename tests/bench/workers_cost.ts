/**
 * What it costs the servers of NATS that workers tell of themselves, and how
 * long it takes to list them.
 *
 *     deno run --allow-all tests/bench/workers_cost.ts [WORKERS] [NODES]
 *
 * @module
 */
import { openNats } from "../../lib/serve/jobs/nats/connection.ts";
import { GpuPriority } from "../../lib/serve/jobs/nats/priority.ts";
import { NatsWorkers } from "../../lib/serve/jobs/nats/workers.ts";
import { JOB_KINDS } from "../../lib/serve/jobs/store.ts";
import type { WorkerStatus } from "../../lib/serve/jobs/workers.ts";
import { startNats } from "../serve/jobs/nats/nats_server.ts";
import { children, statOf } from "./jobs_cost.ts";

const LISTS = 11, ASKS = 1000;
// As often as each worker tells, lib/serve/jobs/presence.ts.
const TELL_EVERY_S = 5;

function statusOf(i: number): WorkerStatus {
  return {
    host: `host-${i}`,
    pid: 1000 + i,
    version: "1.0.0",
    engine: "webgpu: NVIDIA L4, as the machine has a GPU",
    hasGpu: true,
    memoryBytes: 4e9,
    kinds: JOB_KINDS,
    lanes: 7,
    running: Array.from({ length: 3 }, () => ({
      id: crypto.randomUUID(),
      kind: "classify" as const,
    })),
    isDrained: false,
    ended: { succeeded: i, failed: 0, cancelled: 0 },
    images: i,
    imagesPerSecond: 4,
    startedAt: new Date().toISOString(),
  };
}

async function measure(count: number, nodes: number) {
  await using servers = await startNats(nodes);
  const ids = children("nats-server");
  const busiestMs = async (work: () => Promise<void>) => {
    const before = ids.map((id) => statOf(id)!.cpuMs);
    await work();
    return Math.max(...ids.map((id, i) => statOf(id)!.cpuMs - before[i]!));
  };
  const nats = await openNats({ url: servers.url, leaseMs: 15_000 });
  const workers: NatsWorkers[] = [];
  for (let i = 0; i < count; i++) workers.push(await NatsWorkers.open(nats));
  const tellMs = await busiestMs(async () => {
    for (const [i, worker] of workers.entries()) {
      await worker.isDrained(`host-${i}`);
      await worker.tell(statusOf(i));
    }
  }) / count;
  const lists: number[] = [];
  for (let i = 0; i < LISTS; i++) {
    const started = performance.now();
    await workers[0]!.list();
    lists.push(performance.now() - started);
  }
  const priority = new GpuPriority(nats, () => false);
  const started = performance.now();
  for (let i = 0; i < ASKS; i++) await priority.yields("train");
  const yieldMs = (performance.now() - started) / ASKS;
  await nats.connection.close();
  return {
    workers: count,
    nodes,
    /** Processor time of the busiest node, a telling. */
    tellMs,
    /** Share of a core of that node, for all of them. */
    cores: tellMs / 1000 * count / TELL_EVERY_S,
    /** Median, from call to answer. */
    listMs: lists.toSorted((a, b) => a - b)[(LISTS - 1) / 2]!,
    /** From asking if a host with a GPU waits to the answer that none does. */
    yieldMs,
  };
}

const [workers = 1000, nodes = 1] = Deno.args.map(Number);
console.log(JSON.stringify(await measure(workers, nodes), null, 2));
