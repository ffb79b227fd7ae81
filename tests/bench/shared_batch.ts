/**
 * What it costs to share jobs: the CPU time of a batch by one server with jobs
 * of its own, and by one that does them in pieces, by NATS.
 *
 *     deno run -A tests/bench/shared_batch.ts [IMAGES]
 *
 * @module
 */
import { join } from "node:path";
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
for (const shared of [false, true]) {
  await using server = await serve(
    folder,
    ...["--models", "models", "--data-root", "set", "--workers", "1"],
    ...(shared ? ["--jobs", servers.url] : []),
  );
  const seconds: number[] = [];
  await batch(server.url); // warm
  for (let i = 0; i < ROUNDS; i++) {
    const before = await cpuSeconds(server.process.pid);
    await batch(server.url);
    seconds.push(await cpuSeconds(server.process.pid) - before);
  }
  const least = Math.min(...seconds);
  console.log(
    `${shared ? "shared" : "alone "}: ${least.toFixed(2)} s of CPU, ${
      (1000 * least / images).toFixed(1)
    } ms an image`,
  );
}
await Deno.remove(folder, { recursive: true });

async function batch(url: string): Promise<void> {
  const response = await post(`${url}/v1/batch`, { manifest: "many.csv" });
  const { id } = await response.json() as JobDocument;
  const { state, error } = await ended(url, id, 600_000);
  if (state !== "succeeded") throw new Error(`The batch ${state}: ${error}`);
}

/** CPU time that a process has used, s. */
async function cpuSeconds(pid: number): Promise<number> {
  const text = await Deno.readTextFile(`/proc/${pid}/stat`);
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS;
}
