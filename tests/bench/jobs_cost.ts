/**
 * What a job costs the servers of NATS and its own host: the processor time and
 * the latency of accepting, claiming, keeping and ending it, and the memory of
 * those that wait.
 *
 *     deno run --allow-all tests/bench/jobs_cost.ts [NODES] [QUEUED] > costs.json
 *
 * @module
 */
import process from "node:process";
import { NatsJobStore } from "../../lib/serve/jobs/nats/store.ts";
import type { Job } from "../../lib/serve/jobs/store.ts";
import { startNats } from "../serve/jobs/nats/nats_server.ts";

/** Costs of one kind of call, a job. */
export interface Cost {
  /** Processor time of the busiest node, ms. */
  serverMs: number;
  /** Processor time of the host, ms. */
  hostMs: number;
  /** Median from call to answer, one call at a time, ms. */
  latencyMs: number;
}

/** The document. */
export interface JobCosts {
  nodes: number;
  queued: number;
  accept: Cost;
  claim: Cost;
  beat: Cost;
  finish: Cost;
  /** Processor time of the busiest node to tell one more host of a change, ms. */
  tellMs: number;
  /** Resident memory of a node for a job that waits, bytes. */
  waitingBytes: number;
  /** Resident memory of a host that lists and counts the jobs, bytes. */
  hostBytes: number;
}

const CALLS = 2000, AT_A_TIME = 32, FOLLOWERS = 20;
const TICKS_A_SECOND = 100; // of /proc

/** The processes of a name that this one started. */
export function children(name: string): string[] {
  return [...Deno.readDirSync("/proc")]
    .filter(({ name: id }) => /^\d+$/.test(id))
    .filter(({ name: id }) => {
      const fields = statOf(id);
      return fields?.name === name && fields.parent === Deno.pid;
    })
    .map(({ name: id }) => id);
}

/** What /proc says of a process; undefined if it has ended. */
export function statOf(
  id: string,
):
  | { name: string; parent: number; cpuMs: number; residentBytes: number }
  | undefined {
  try {
    const text = Deno.readTextFileSync(`/proc/${id}/stat`);
    const name = text.slice(text.indexOf("(") + 1, text.lastIndexOf(")"));
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    const [parent, user, system, pages] = [1, 11, 12, 21]
      .map((i) => Number(fields[i])) as [number, number, number, number];
    const cpuMs = 1000 * (user + system) / TICKS_A_SECOND;
    return { name, parent, cpuMs, residentBytes: pages * 4096 };
  } catch {
    return undefined;
  }
}

/** Costs with so many nodes, while so many jobs wait. */
async function measure(nodes: number, queued: number): Promise<JobCosts> {
  await using servers = await startNats(nodes);
  const ids = children("nats-server");
  const serverMs = () => ids.map((id) => statOf(id)!.cpuMs);
  const resident = () =>
    Math.max(...ids.map((id) => statOf(id)!.residentBytes));
  const options = {
    url: servers.url,
    leaseMs: 60_000,
    queuedJobs: queued + 10 * CALLS,
    waitMs: 5000,
  };
  const store = await NatsJobStore.open(options);
  const cost = async (call: (i: number) => Promise<unknown>): Promise<Cost> => {
    const latencies: number[] = [];
    const [server, host] = [serverMs(), process.cpuUsage()];
    for (let i = 0; i < CALLS; i++) {
      const started = performance.now();
      await call(i);
      latencies.push(performance.now() - started);
    }
    const { user, system } = process.cpuUsage(host);
    return {
      serverMs: Math.max(...serverMs().map((ms, i) => ms - server[i]!)) / CALLS,
      hostMs: (user + system) / 1000 / CALLS,
      latencyMs: latencies.toSorted((a, b) => a - b)[CALLS / 2]!,
    };
  };
  const add = () =>
    store.add({
      id: crypto.randomUUID(),
      kind: "classify",
      request: { image: "slides/0001.svs", model: "default", samples: 30 },
    });
  const empty = resident();
  for (let i = 0; i < queued; i += AT_A_TIME) {
    await Promise.all(Array.from({ length: AT_A_TIME }, add));
  }
  const waitingBytes = (resident() - empty) / Math.max(1, queued);
  const hostBytes = Deno.memoryUsage().rss;
  const accept = await cost(add);
  const held: Job[] = [];
  const claim = await cost(async () => {
    held.push((await store.claim(["classify"]))!);
  });
  const beat = await cost((i) => store.beat(held[i]!));
  const finish = await cost((i) =>
    store.finish(held[i]!, { state: "succeeded" })
  );
  const followers = await Promise.all(
    Array.from({ length: FOLLOWERS }, () => NatsJobStore.open(options)),
  );
  for (const follower of followers) await follower.counts();
  const told = await cost(add);
  const tellMs = (told.serverMs - accept.serverMs) / FOLLOWERS;
  for (const one of [store, ...followers]) await one.close();
  return {
    ...{ nodes, queued, accept, claim, beat, finish },
    ...{ tellMs, waitingBytes, hostBytes },
  };
}

if (import.meta.main) {
  const [nodes = 1, queued = 0] = Deno.args.map(Number);
  console.log(JSON.stringify(await measure(nodes, queued), null, 2));
}
