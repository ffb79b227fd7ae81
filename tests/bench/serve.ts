/**
 * Loads a server with clients, beside `classify` on the same images.
 *
 *     deno run -A tests/bench/serve.ts CHECKPOINT MANIFEST [--clients 32]
 *       [--seconds 60] [--train]
 *
 * Prints a JSON line for the command line and one for each load: requests,
 * failures by status, images a second, latency in ms. `--train` adds a load
 * while a job trains on the manifest, and how fast /livez answers meanwhile.
 *
 * @module
 */
import { dirname, join, relative } from "node:path";
import { parseArgs } from "node:util";
import { readManifest } from "../../lib/data/manifest.ts";
import { succeed } from "../commands/process.ts";
import { post, serve } from "../serve/served.ts";

const { values, positionals } = parseArgs({
  args: Deno.args,
  allowPositionals: true,
  options: {
    clients: { type: "string", default: "32" },
    seconds: { type: "string", default: "60" },
    train: { type: "boolean", default: false },
  },
});
const [checkpoint, manifest] = positionals.map((path) =>
  Deno.realPathSync(path)
);
const clients = Number(values.clients), seconds = Number(values.seconds);
const root = dirname(manifest!);
const images = (await readManifest(manifest!)).entries.map(({ path }) => path);

const folder = await Deno.makeTempDir({ prefix: "zoomin-" });
try {
  await Deno.mkdir(join(folder, "models"));
  await copyRun(checkpoint!, join(folder, "models", "model"));
  await commandLine();
  await using served = await serve(
    folder,
    ...["--models", "models", "--data-root", root],
  );
  await load(served.url, { seconds: 5 }); // compiled, and in the disk's cache
  report("idle", await load(served.url, { seconds }));
  await commandLine(); // once more: the machine may have had other work
  if (values.train) {
    await train(served.url);
    const stop = new AbortController();
    const alive = livez(served.url, stop.signal);
    report("while a job trains", await load(served.url, { seconds }));
    stop.abort();
    report("/livez meanwhile", await alive);
  }
} finally {
  await Deno.remove(folder, { recursive: true });
}

function report(what: string, figures: unknown): void {
  console.log(JSON.stringify({ what, ...figures as object }));
}

async function commandLine(): Promise<void> {
  const started = performance.now();
  await succeed(
    folder,
    ...["classify", "--checkpoint", "models/model", "--backend", "wasm"],
    ...["--json", ...images],
  );
  const taken = (performance.now() - started) / 1000;
  report("classify", {
    images: images.length,
    perSecond: images.length / taken,
  });
}

/** As many requests as the clients get answered. */
async function load(url: string, { seconds }: { seconds: number }) {
  const latencies: number[] = [];
  const failures: Record<number, number> = {};
  let next = 0;
  const started = performance.now();
  const end = started + seconds * 1000;
  await Promise.all(Array.from({ length: clients }, async () => {
    while (performance.now() < end) {
      const path = relative(root, images[next++ % images.length]!);
      const sent = performance.now();
      const response = await post(`${url}/v1/classify`, { path });
      await response.body?.cancel();
      if (response.ok) latencies.push(performance.now() - sent);
      else failures[response.status] = (failures[response.status] ?? 0) + 1;
    }
  }));
  const taken = (performance.now() - started) / 1000;
  const perSecond = latencies.length / taken;
  return { clients, failures, perSecond, ...spread(latencies) };
}

async function train(url: string): Promise<void> {
  const response = await post(`${url}/v1/train`, {
    data: relative(root, manifest!),
    name: "trained",
    preset: "colon",
    epochs: 1000,
  });
  const { links } = await response.json();
  for (;;) { // until its first step is done
    const job = await (await fetch(url + links.self)).json();
    if (job.progress) return;
    if (job.error) throw new Error(job.error);
    await new Promise((done) => setTimeout(done, 200));
  }
}

async function livez(url: string, signal: AbortSignal) {
  const latencies: number[] = [];
  while (!signal.aborted) {
    const sent = performance.now();
    await (await fetch(`${url}/livez`)).body?.cancel();
    latencies.push(performance.now() - sent);
    await new Promise((done) => setTimeout(done, 50));
  }
  return spread(latencies);
}

function spread(latencies: number[]) {
  const sorted = latencies.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.floor(share * (sorted.length - 1))];
  return {
    count: sorted.length,
    p50: at(0.5),
    p95: at(0.95),
    p99: at(0.99),
    most: at(1),
  };
}

/** Copies the checkpoints of a run, not its state. */
async function copyRun(from: string, to: string): Promise<void> {
  await Deno.mkdir(to);
  for await (const { name } of Deno.readDir(from)) {
    if (name.endsWith(".safetensors")) {
      await Deno.copyFile(join(from, name), join(to, name));
    }
  }
}
