/**
 * A batch whose hosts die and lose each other: four workers and a cluster of
 * three nodes of NATS, each in a network namespace of its own, and a server.
 * Every five seconds for two minutes a worker or a node is killed, or the link
 * of one is cut for a while. At the end every image must be in the result once,
 * in order, as one process without NATS has it.
 *
 *     deno run --allow-all tests/bench/kill_run.ts [IMAGES] [SEED] > kill_run.json
 *
 * Needs root, for the namespaces (`ip`), and nats-server.
 *
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { randomKey, RandomStream } from "../../kernels/random.ts";
import { ROOT, taskFlags, taskOf } from "../commands/process.ts";
import { taskCommands } from "../commands/process.ts";
import { NATS_SERVER } from "../serve/jobs/nats/nats_server.ts";
import { drawModels, type JobDocument, post, serve } from "../serve/served.ts";
import { eventually } from "../waiting.ts";

const WORKERS = 4, NODES = 3;
const EVENT_EVERY_MS = 5000, FOR_MS = 120_000;
const NODE_AWAY_MS = 2000;
const MAX_CUT_MS = 25_000; // longer than a lease: others take over
const BRIDGE = "zoomin0", SUBNET = "10.99.0";

/** A process in a network namespace, whose link may be cut. */
class Host {
  readonly address: string;
  readonly #namespace: string;
  readonly #outer: string;
  #process: Deno.ChildProcess | undefined;

  constructor(
    readonly name: string,
    number: number,
    private readonly command: () => string[],
  ) {
    this.address = `${SUBNET}.${number}`;
    this.#namespace = `zoomin-${name}`;
    this.#outer = `zo-${name}`;
  }

  async connect(): Promise<void> {
    const inner = `zi-${this.name}`;
    await ip("netns", "add", this.#namespace);
    await ip(
      ...["link", "add", this.#outer, "type", "veth"],
      ...["peer", "name", inner, "netns", this.#namespace],
    );
    await ip("link", "set", this.#outer, "master", BRIDGE, "up");
    const inside = ["-n", this.#namespace];
    await ip(...inside, "addr", "add", `${this.address}/24`, "dev", inner);
    await ip(...inside, "link", "set", inner, "up");
    await ip(...inside, "link", "set", "lo", "up");
  }

  start(): void {
    const [program, ...args] = this.command();
    this.#process = new Deno.Command("ip", {
      args: ["netns", "exec", this.#namespace, program!, ...args],
      env: taskOf(taskCommands.work!).env,
      ...{ stdin: "null", stdout: "null", stderr: "null" },
    }).spawn(); // `ip netns exec` becomes the program
  }

  /** Ends it as a power cut does. */
  async kill(): Promise<void> {
    const process = this.#process;
    this.#process = undefined;
    try {
      process?.kill("SIGKILL");
    } catch { // it has ended
    }
    await process?.status;
  }

  async cut(): Promise<void> {
    await ip("link", "set", this.#outer, "down");
  }

  async mend(): Promise<void> {
    await ip("link", "set", this.#outer, "up");
  }

  async remove(): Promise<void> {
    await this.kill();
    await ip("netns", "delete", this.#namespace);
  }
}

async function ip(...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command("ip", { args }).output();
  assert.ok(
    success,
    `ip ${args.join(" ")}: ${new TextDecoder().decode(stderr)}`,
  );
}

const images = Number(Deno.args[0] ?? 5000);
const seed = Number(Deno.args[1] ?? 1);
const random = new RandomStream(randomKey(seed));
const folder = await Deno.makeTempDir({ prefix: "zoomin-kill-" });
const nodes: Host[] = Array.from(
  { length: NODES },
  (_, i) => new Host(`node${i}`, 11 + i, () => natsCommand(i)),
);
const workers: Host[] = Array.from(
  { length: WORKERS },
  (_, i) => new Host(`work${i}`, 21 + i, () => workCommand(i)),
);
const jobs = `nats://${nodes.map(({ address }) => `${address}:4222`).join()}`;

function natsCommand(i: number): string[] {
  const routes = nodes.map(({ address }) => `nats://${address}:6222`);
  return [
    ...[NATS_SERVER!, "--addr", nodes[i]!.address, "--port", "4222"],
    ...["--jetstream", "--store_dir", join(folder, `nats${i}`)],
    ...["--name", `node${i}`, "--cluster_name", "zoomin"],
    ...["--cluster", routes[i]!, "--routes", routes.join()],
  ];
}

function workCommand(i: number): string[] {
  return [
    ...[Deno.execPath(), ...taskFlags("work"), join(ROOT, "main.ts"), "work"],
    ...["--models", join(folder, `models${i}`)],
    ...["--data-root", join(folder, "set"), "--workers", "1"],
    ...["--backend", "wasm", "--jobs", jobs],
  ];
}

/** Lines of a batch's result, without times. */
async function linesOf(url: string): Promise<string[]> {
  const { id } = await (await post(`${url}/v1/batch`, {
    ...{ manifest: "many.csv", model: "first" },
  })).json() as JobDocument;
  return await resultOf(url, id);
}

async function resultOf(url: string, id: string): Promise<string[]> {
  const { state, error } = await endOf(url, id);
  assert.equal(state, "succeeded", error ?? "");
  const text = await (await fetch(`${url}/v1/jobs/${id}/result`)).text();
  return text.trimEnd().split("\n")
    .map((line) => line.replace(/"timings":\{[^}]*\}/, '"timings":0'));
}

/** Waits for the end of a batch, as a caller does whom a 503 asks to try again. */
async function endOf(url: string, id: string): Promise<JobDocument> {
  for (;;) {
    await pause(500);
    const response = await fetch(`${url}/v1/jobs/${id}`);
    const job = await response.json() as JobDocument;
    if (response.status === 503) continue;
    assert.equal(response.status, 200, JSON.stringify(job));
    if (["succeeded", "failed", "cancelled"].includes(job.state)) return job;
  }
}

/** Something that happened to a host. */
type Event = {
  atMs: number;
  what: "kill" | "cut";
  host: string;
  forMs?: number;
};

/** Disturbs hosts for two minutes, or until the batch ends. */
async function disturb(until: Promise<unknown>): Promise<Event[]> {
  const events: Event[] = [];
  const started = performance.now();
  const away = new Set<Host>();
  const returning: Promise<void>[] = [];
  let over = false;
  until.catch(() => {}).then(() => over = true); // its awaiter tells
  const leave = (host: Host, ms: number, back: () => void | Promise<void>) => {
    away.add(host);
    returning.push(pause(ms).then(back).then(() => void away.delete(host)));
  };
  while (performance.now() - started < FOR_MS) {
    await pause(EVENT_EVERY_MS);
    if (over) break;
    const atMs = Math.round(performance.now() - started);
    const isWhole = nodes.every((node) => !away.has(node)); // a majority stays
    const there = [...workers, ...(isWhole ? nodes : [])]
      .filter((host) => !away.has(host));
    const host = there[random.below(there.length)];
    if (host === undefined) continue;
    if (random.below(2) === 0) {
      events.push({ atMs, what: "kill", host: host.name });
      await host.kill();
      const isNode = nodes.includes(host);
      leave(host, isNode ? NODE_AWAY_MS : 0, () => host.start());
    } else {
      const forMs = 1000 + random.below(MAX_CUT_MS - 1000);
      events.push({ atMs, what: "cut", host: host.name, forMs });
      await host.cut();
      leave(host, forMs, () => host.mend());
    }
    console.error(JSON.stringify(events.at(-1)));
  }
  await Promise.all(returning);
  return events;
}

async function reachable(host: Host): Promise<void> {
  await eventually(`${host.name} listens`, async () => {
    const connection = await Deno.connect({
      ...{ hostname: host.address, port: 4222 },
    }).catch(() => undefined);
    connection?.close();
    return connection !== undefined;
  });
}

await drawModels(folder);
const names = await Array.fromAsync(
  Deno.readDir(join(folder, "set", "images")),
  ({ name }) => `images/${name}`,
);
const rows = Array.from({ length: images }, (_, i) => names[i % names.length]!);
await Deno.writeTextFile(
  join(folder, "set", "many.csv"),
  ["image", ...rows, ""].join("\n"),
);
try {
  await ip("link", "add", BRIDGE, "type", "bridge");
  await ip("addr", "add", `${SUBNET}.1/24`, "dev", BRIDGE);
  await ip("link", "set", BRIDGE, "up");
  for (const host of [...nodes, ...workers]) await host.connect();
  for (const node of nodes) node.start();
  for (const node of nodes) await reachable(node);
  for (const [i, worker] of workers.entries()) {
    await Deno.mkdir(join(folder, `models${i}`));
    worker.start();
  }
  await using server = await serve(
    folder,
    ...["--models", "models", "--data-root", "set", "--workers", "1"],
    ...["--jobs", jobs],
  );
  const started = performance.now();
  const result = linesOf(server.url);
  const events = await disturb(result);
  const lines = await result;
  const seconds = (performance.now() - started) / 1000;
  const sources = lines.map((line) => JSON.parse(line).source);
  assert.deepEqual(sources, rows, "every image once, in order");
  await using alone = await serve(
    folder,
    ...["--models", "models", "--data-root", "set", "--state", "set"],
  );
  assert.deepEqual(await linesOf(alone.url), lines, "as one process has it");
  console.log(JSON.stringify(
    { images, workers: WORKERS, nodes: NODES, seed, seconds, events },
    null,
    2,
  ));
} finally {
  for (const host of [...workers, ...nodes]) {
    await host.remove().catch(() => {});
  }
  await ip("link", "delete", BRIDGE).catch(() => {});
  await Deno.remove(folder, { recursive: true });
}
