/**
 * What it costs to share jobs, and what it gains: CPU and wall time of a batch
 * by one server with jobs of its own, by one that does them in pieces, by NATS,
 * and by that one and a worker.
 *
 *     deno run -A tests/bench/shared_batch.ts [IMAGES] [SAMPLES]
 *
 * @module
 */
import { join } from "node:path";
import { start } from "../commands/process.ts";
import { startNats } from "../serve/jobs/nats/nats_server.ts";
import {
  drawModels,
  ended,
  type JobDocument,
  post,
  serve,
} from "../serve/served.ts";

const TICKS = 100; // a second, of /proc
const ROUNDS = 3;

const images = Number(Deno.args[0] ?? 320);
const samples = Number(Deno.args[1] ?? 30); // sub-tiles that are read of each
const folder = await Deno.makeTempDir({ prefix: "zoomin-bench-" });
await drawModels(folder);
const rows = Array.from(
  { length: images },
  (_, i) => `images/test_0000${i % 8}.png`,
);
await Deno.writeTextFile(
  join(folder, "set", "many.csv"),
  ["image", ...rows, ""].join("\n"),
);
await using servers = await startNats();
for (const hosts of [0, 1, 2]) {
  await using server = await serve(
    folder,
    ...["--models", "models", "--data-root", "set", "--workers", "1"],
    ...(hosts > 0 ? ["--jobs", servers.url] : []),
  );
  await using worker = hosts > 1 ? await startWorker() : undefined;
  const processes = [server.process.pid, ...worker ? [worker.pid] : []];
  await batch(server.url); // warm
  const taken: { cpu: number; wall: number }[] = [];
  for (let i = 0; i < ROUNDS; i++) {
    const cpu = await cpuSeconds(processes), started = performance.now();
    await batch(server.url);
    const wall = (performance.now() - started) / 1000;
    taken.push({ cpu: await cpuSeconds(processes) - cpu, wall });
  }
  const name = ["alone", "one host", "two hosts"][hosts]!;
  const least = (key: "cpu" | "wall") =>
    1000 * Math.min(...taken.map((round) => round[key])) / images;
  console.log(
    `${name}: ${least("cpu").toFixed(1)} ms of CPU an image, ${
      least("wall").toFixed(1)
    } ms of time`,
  );
}
await Deno.remove(folder, { recursive: true });

async function batch(url: string): Promise<void> {
  const response = await post(`${url}/v1/batch`, {
    manifest: "many.csv",
    samples,
  });
  const { id } = await response.json() as JobDocument;
  const { state, error } = await ended(url, id, 600_000);
  if (state !== "succeeded") throw new Error(`The batch ${state}: ${error}`);
}

/** A host that does jobs only, once it works. */
async function startWorker() {
  const models = join(folder, "worker");
  await Deno.mkdir(models, { recursive: true });
  const process = start(
    folder,
    ...["work", "--models", models, "--data-root", "set", "--workers", "1"],
    ...["--backend", "wasm", "--jobs", servers.url],
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
