/**
 * What it costs to share jobs, and what it gains: CPU and wall time of a batch
 * by one server with jobs of its own, by one that does them in pieces, by NATS,
 * and by that one and a worker. Two servers that share nothing, with half of
 * the images each, show what the machine can give. They take turns, because a
 * machine is slower at times, and nothing else runs meanwhile.
 *
 *     deno run -A tests/bench/shared_batch.ts [IMAGES] [SAMPLES] [ROUNDS]
 *
 * @module
 */
import { join } from "node:path";
import { Client } from "../../lib/client.ts";
import { start } from "../commands/process.ts";
import { startNats } from "../serve/jobs/nats/nats_server.ts";
import { drawModels, type JobDocument, post, serve } from "../serve/served.ts";
import { median } from "./measure.ts";

/** Processes that do a batch together. */
interface SetUp extends AsyncDisposable {
  pids: number[];
  /** Of the servers. */
  urls: string[];
}

/** What a batch took, ms an image. */
interface Cost {
  cpu: number;
  wall: number;
}

const TICKS = 100; // a second, of /proc
const WARM = 8; // part of the images that is done before

const images = Number(Deno.args[0] ?? 320);
const samples = Number(Deno.args[1] ?? 30); // sub-tiles that are read of each
const rounds = Number(Deno.args[2] ?? 3);
const folder = await Deno.makeTempDir({ prefix: "zoomin-bench-" });
await drawModels(folder);
for (const parts of [1, 2]) {
  await writeTable(tableOf(parts), images / parts);
  await writeTable(`warm-${tableOf(parts)}`, images / parts / WARM);
}

await using nats = await startNats();
const setUps: Record<string, () => Promise<SetUp>> = {
  "alone": () => together(serveWith()),
  "two apart": () => together(serveWith(), serveWith()),
  "one host": () => together(serveWith("--jobs", nats.url)),
  "two hosts": () => together(serveWith("--jobs", nats.url), work(nats.url)),
};
const costs = new Map<string, Cost[]>();
for (let round = 0; round < rounds; round++) {
  for (const [name, start] of Object.entries(setUps)) {
    await using setUp = await start();
    await batches(setUp, "warm-");
    costs.set(name, [...costs.get(name) ?? [], await costOf(setUp)]);
  }
}
const alone = costs.get("alone")!;
for (const [name, taken] of costs) {
  const of = (key: keyof Cost) => median(taken.map((cost) => cost[key]));
  const ratio = median(taken.map(({ wall }, i) => alone[i]!.wall / wall));
  console.log(
    `${name}: ${of("cpu").toFixed(1)} ms of CPU an image, ${
      of("wall").toFixed(1)
    } ms of time, ${ratio.toFixed(2)} times as fast as alone`,
  );
}
await Deno.remove(folder, { recursive: true });

/** Name of the table of one of `parts` batches. */
function tableOf(parts: number): string {
  return `one-of-${parts}.csv`;
}

async function writeTable(name: string, length: number): Promise<void> {
  const rows = Array.from(
    { length },
    (_, i) => `images/test_0000${i % 8}.png`,
  );
  const table = ["image", ...rows, ""].join("\n");
  await Deno.writeTextFile(join(folder, "set", name), table);
}

/** Starts processes; their folders are new. */
async function together(
  ...starting: Promise<AsyncDisposable & { pid: number; url?: string }>[]
): Promise<SetUp> {
  const processes = await Promise.all(starting);
  return {
    pids: processes.map(({ pid }) => pid),
    urls: processes.map(({ url }) => url).filter((url) => url !== undefined),
    async [Symbol.asyncDispose]() {
      for (const one of processes) await one[Symbol.asyncDispose]();
    },
  };
}

async function serveWith(...argv: string[]) {
  const { process, url, stop } = await serve(
    folder,
    ...["--models", "models", "--data-root", "set", "--workers", "1"],
    ...["--state", await Deno.makeTempDir({ dir: folder }), ...argv],
  );
  return {
    pid: process.pid,
    url,
    async [Symbol.asyncDispose]() {
      await stop();
    },
  };
}

/** A host that does jobs only, once it works. */
async function work(jobs: string) {
  const state = await Deno.makeTempDir({ dir: folder });
  const models = await Deno.makeTempDir({ dir: folder });
  const process = start(
    folder,
    ...["work", "--models", models, "--data-root", "set", "--workers", "1"],
    ...["--backend", "wasm", "--state", state, "--jobs", jobs],
  );
  const lines = process.stderr.pipeThrough(new TextDecoderStream());
  const reader = lines.getReader();
  for (let log = ""; !log.includes('"working"');) {
    const { value, done } = await reader.read();
    if (done) throw new Error(`The worker ended: ${log}`);
    log += value;
  }
  const rest = (async () => {
    while (!(await reader.read()).done);
  })();
  return {
    pid: process.pid,
    async [Symbol.asyncDispose]() {
      process.kill("SIGTERM");
      await Promise.all([process.status, process.stdout.cancel(), rest]);
    },
  };
}

/** Does a batch at each server. */
async function batches({ urls }: SetUp, prefix = ""): Promise<void> {
  const manifest = prefix + tableOf(urls.length);
  await Promise.all(urls.map((url) => batch(url, manifest)));
}

async function batch(url: string, manifest: string): Promise<void> {
  const response = await post(`${url}/v1/batch`, { manifest, samples });
  const { id } = await response.json() as JobDocument;
  const { state, error } = await new Client(url).ended(id);
  if (state !== "succeeded") throw new Error(`The batch ${state}: ${error}`);
}

async function costOf(setUp: SetUp): Promise<Cost> {
  const cpu = await cpuSeconds(setUp.pids), started = performance.now();
  await batches(setUp);
  return {
    cpu: 1000 * (await cpuSeconds(setUp.pids) - cpu) / images,
    wall: (performance.now() - started) / images,
  };
}

/** CPU time that processes have used, s. */
async function cpuSeconds(pids: readonly number[]): Promise<number> {
  let ticks = 0;
  for (const pid of pids) {
    const text = await Deno.readTextFile(`/proc/${pid}/stat`);
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    ticks += Number(fields[11]) + Number(fields[12]);
  }
  return ticks / TICKS;
}
