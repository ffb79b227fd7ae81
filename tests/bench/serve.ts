/**
 * Loads a server with clients, beside `classify` on the same images.
 *
 *     deno run -A tests/bench/serve.ts CHECKPOINT MANIFEST [--clients 32]
 *       [--seconds 60] [--train] [--beside FOLDER]
 *
 * Prints a JSON line for the command line and one for each load: requests,
 * failures by status, images a second, latency in ms. `--train` adds a load
 * while a job trains on the manifest, and how fast /livez answers meanwhile.
 * `--beside` serves another checkout as well, which takes turns with this one,
 * so that other work on the machine slows both: images a second, and processor
 * time an image (Linux).
 *
 * @module
 */
import { dirname, join, relative } from "node:path";
import { parseArgs } from "node:util";
import { readManifest } from "../../lib/data/manifest.ts";
import { succeed, taskOf } from "../commands/process.ts";
import { listening, post, serve, type Served } from "../serve/served.ts";
import { median } from "./measure.ts";

const TURN_SECONDS = 5;

const { values, positionals } = parseArgs({
  args: Deno.args,
  allowPositionals: true,
  options: {
    clients: { type: "string", default: "32" },
    seconds: { type: "string", default: "60" },
    train: { type: "boolean", default: false },
    beside: { type: "string" },
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
  const flags = ["--models", "models", "--data-root", root];
  await using served = await serve(folder, ...flags);
  await load(served.url, { seconds: 5 }); // compiled, and in the disk's cache
  report("idle", await load(served.url, { seconds }));
  await commandLine(); // once more: the machine may have had other work
  if (values.beside !== undefined) {
    await Deno.mkdir(join(folder, "beside"));
    await copyRun(checkpoint!, join(folder, "beside", "model"));
    await using other = await serveOf(
      values.beside,
      ...["--models", join(folder, "beside"), "--data-root", root],
    );
    report("beside", await inTurns(served, other));
  }
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

/** Serves by the code of another checkout. */
async function serveOf(checkout: string, ...argv: string[]): Promise<Served> {
  const { tasks } = JSON.parse(
    await Deno.readTextFile(join(checkout, "deno.json")),
  );
  const { args, env } = taskOf(tasks.serve.command);
  return await listening(
    new Deno.Command(Deno.execPath(), {
      args: [...args, "--port", "0", "--backend", "wasm", ...argv],
      cwd: checkout,
      env,
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn(),
  );
}

/** Loads two servers in turns; the ratios are the medians of the turns'. */
async function inTurns(ours: Served, theirs: Served) {
  await load(theirs.url, { seconds: TURN_SECONDS });
  const turns = [];
  for (let round = 0; round * TURN_SECONDS < seconds; round++) {
    // Neither is always the first.
    const before = round % 2 === 1 ? await turn(theirs) : undefined;
    const a = await turn(ours);
    const b = before ?? await turn(theirs);
    turns.push({
      ours: a,
      theirs: b,
      ratio: a.perSecond / b.perSecond,
      ofProcessor: a.processorMs / b.processorMs,
    });
  }
  return {
    ours: mean(turns.map(({ ours }) => ours.perSecond)),
    theirs: mean(turns.map(({ theirs }) => theirs.perSecond)),
    ratio: median(turns.map(({ ratio }) => ratio)),
    processorMs: mean(turns.map(({ ours }) => ours.processorMs)),
    theirProcessorMs: mean(turns.map(({ theirs }) => theirs.processorMs)),
    ratioOfProcessor: median(turns.map(({ ofProcessor }) => ofProcessor)),
    failures: turns.flatMap(({ ours, theirs }) => [
      ...Object.entries(ours.failures),
      ...Object.entries(theirs.failures),
    ]),
  };
}

async function turn({ url, process: { pid } }: Served) {
  const before = await processorMs(pid);
  const { perSecond, count, failures } = await load(url, {
    seconds: TURN_SECONDS,
  });
  const spent = await processorMs(pid) - before;
  return { perSecond, failures, processorMs: spent / count };
}

/** Processor time of a process so far, ms. */
async function processorMs(pid: number): Promise<number> {
  const stat = await Deno.readTextFile(`/proc/${pid}/stat`);
  // Behind the name, which may hold spaces: utime and stime, 10 ms each.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

function mean(values: number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
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
