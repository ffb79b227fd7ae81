/**
 * What a job costs where hosts share them, with many that wait: time to accept
 * and to claim one, by a nats-server on this machine.
 *
 *     deno run -A tests/bench/shared_jobs.ts [JOBS]
 *
 * @module
 */
import { NatsJobStore } from "../../lib/serve/jobs/nats/store.ts";
import { startNats } from "../serve/jobs/nats/nats_server.ts";

const TOGETHER = 32; // jobs that are added at a time, to fill the queue
const MEASURED = 300;

const waiting = Number(Deno.args[0] ?? 100_000);
await using servers = await startNats();
const store = await NatsJobStore.open({
  url: servers.url,
  leaseMs: 600_000,
  queuedJobs: 2 * waiting,
  waitMs: 1000,
});
const request = {
  uri: "https://slides.example.org/a.svs",
  model: "m",
  seed: 0,
};
const add = () =>
  store.add({ id: crypto.randomUUID(), kind: "classify", request });

let left = waiting;
const started = performance.now();
await Promise.all(Array.from({ length: TOGETHER }, async () => {
  while (left-- > 0) await add();
}));
const seconds = (performance.now() - started) / 1000;
console.log(`${waiting} accepted in ${seconds.toFixed(0)} s`);
await report("accept", add);
await report("claim", () => store.claim(["classify"]));
console.log(`resident ${Math.round(Deno.memoryUsage().rss / 1e6)} MB`);
await store.close();

/** Prints the median and the 95th percentile of the time of `call`. */
async function report(name: string, call: () => Promise<unknown>) {
  const times: number[] = [];
  for (let i = 0; i < MEASURED; i++) {
    const start = performance.now();
    await call();
    times.push(performance.now() - start);
  }
  times.sort((a, b) => a - b);
  const at = (share: number) => times[Math.floor(share * MEASURED)]!.toFixed(2);
  console.log(`${name}: median ${at(0.5)} ms, 95 % ${at(0.95)} ms`);
}
