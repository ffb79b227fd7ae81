/**
 * What it costs to share a training between hosts, and from what step time on a
 * second one pays: the bytes and the latency of weights and gradients over NATS,
 * the CPU of those who send and receive them, and the CPU of whole steps alone and
 * with a host, on this machine.
 *
 *     deno run --allow-all tests/bench/hosts.ts > docs/studies/scale/hosts.json
 *
 * With `--messages` it measures those alone, as on a slower link: a network
 * namespace whose loopback has 100 Mbit/s,
 *
 *     ip netns add slow
 *     ip netns exec slow ip link set lo up
 *     ip netns exec slow tc qdisc add dev lo root tbf rate 100mbit burst 256kb latency 1s
 *     ip netns exec slow deno run --allow-all tests/bench/hosts.ts --messages
 *
 * @module
 */
import { join } from "node:path";
import process from "node:process";
import { readManifest } from "../../lib/data/manifest.ts";
import { startEngine } from "../../lib/engine/select.ts";
import { ImageCache } from "../../lib/image/image_cache.ts";
import { Memory } from "../../lib/memory.ts";
import { modelSpecs } from "../../lib/model/networks.ts";
import { preset } from "../../lib/model/presets.ts";
import { connectNats } from "../../lib/serve/jobs/nats/connection.ts";
import { Mail } from "../../lib/train/hosts/mail.ts";
import type { TensorValues } from "../../lib/train/parallel/protocol.ts";
import type { Parallel } from "../../lib/train/parallel/team.ts";
import { train } from "../../lib/train/trainer.ts";
import { start, succeed } from "../commands/process.ts";
import { startNats } from "../serve/jobs/nats/nats_server.ts";
import { eventually } from "../waiting.ts";
import { median } from "./measure.ts";

/** Costs of a message that is answered, a call each, the median. */
export interface MessageCost {
  /** From the call to the answer, ms. */
  latencyMs: number;
  /** CPU time of the host that trains, and of the other, ms. */
  leaderMs: number;
  hostMs: number;
}

/** CPU time of a step of five images, ms. */
export interface StepCost {
  /** Side of the images, px. */
  side: number;
  /** By one host with a worker, and with two. */
  alone: number;
  workers: number;
  /** By two: of the one that trains, and of the other. */
  leader: number;
  host: number;
}

/** A link between two hosts and NATS. */
export interface Link {
  name: string;
  /** There and back, ms. */
  roundTripMs: number;
  bitsPerSecond: number;
}

/** The document. */
export interface HostCosts {
  preset: string;
  /** Of all weights, and of the gradients of an image. */
  bytes: number;
  /** A short message, answered by a short one. */
  empty: MessageCost;
  /** The weights, answered by a short message. */
  weights: MessageCost;
  /** A short message, answered by gradients. */
  gradients: MessageCost;
  steps?: StepCost[];
  /** Speed of two hosts of a worker each, of one's, by step time alone. */
  reckoned?: { link: Link; stepMs: number; faster: number }[];
}

const PRESET = "needle";
const CALLS = 300;
const TICKS_A_SECOND = 100; // of /proc
const SIDES = [256, 1024, 2048];
const IMAGES = 20, EPOCHS = 4; // 4 steps each
const STEP_MS = [30, 100, 300, 1000, 3000, 10_000];
const LINKS: readonly Link[] = [
  { name: "one switch", roundTripMs: 0.2, bitsPerSecond: 1e9 },
  { name: "100 Mbit/s", roundTripMs: 1, bitsPerSecond: 1e8 },
  { name: "two cities", roundTripMs: 20, bitsPerSecond: 1e9 },
];

type Echo = {
  type: "empty" | "weights" | "gradients" | "cpu";
  values?: unknown;
};

function modelValues(): TensorValues {
  return new Map(
    modelSpecs(preset(PRESET), ["negative", "positive"]).map((
      { name, shape },
    ) => [name, {
      shape,
      data: new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(1 / 3),
    }]),
  );
}

/** CPU time of this process, ms. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** CPU time of another process, ms. */
function cpuMsOf(pid: number): number {
  const text = Deno.readTextFileSync(`/proc/${pid}/stat`);
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 1000 / TICKS_A_SECOND;
}

/** Answers messages until it is killed. */
async function echo(url: string): Promise<void> {
  const { connection } = await connectNats({ url });
  const mail = new Mail(connection);
  const values = modelValues();
  mail.hear("bench.host", (message) => {
    const { type } = message as Echo;
    mail.send(
      "bench.leader",
      type === "cpu" ? cpuMs() : type === "gradients" ? values : null,
    );
  });
  console.log("ready");
  await connection.closed();
}

async function measureMessages(url: string) {
  const other = new Deno.Command(Deno.execPath(), {
    args: ["run", "--allow-all", import.meta.filename!, "--echo", url],
    stdout: "piped",
  }).spawn();
  const { connection } = await connectNats({ url });
  try {
    await other.stdout.getReader().read();
    const mail = new Mail(connection);
    let answer = Promise.withResolvers<unknown>();
    mail.hear("bench.leader", (value) => answer.resolve(value));
    const call = (message: Echo) => {
      answer = Promise.withResolvers();
      mail.send("bench.host", message);
      return answer.promise;
    };
    const cost = async (message: Echo): Promise<MessageCost> => {
      for (let i = 0; i < CALLS / 10; i++) await call(message); // warm
      const before = await call({ type: "cpu" }) as number;
      const own = cpuMs(), latencies: number[] = [];
      for (let i = 0; i < CALLS; i++) {
        const started = performance.now();
        await call(message);
        latencies.push(performance.now() - started);
      }
      const leaderMs = (cpuMs() - own) / CALLS;
      const after = await call({ type: "cpu" }) as number;
      return {
        latencyMs: median(latencies),
        leaderMs,
        hostMs: (after - before) / CALLS,
      };
    };
    const values = modelValues();
    return {
      empty: await cost({ type: "empty" }),
      weights: await cost({ type: "weights", values }),
      gradients: await cost({ type: "gradients" }),
    };
  } finally {
    other.kill("SIGKILL");
    await other.status;
    await connection.close();
  }
}

/** CPU time of a step of a run, ms, but for those of the first epoch. */
async function measureRun(
  folder: string,
  { side, parallel, ready, hostMs = () => 0 }: {
    side: number;
    parallel: Parallel;
    ready?: () => Promise<void>;
    hostMs?: () => number;
  },
): Promise<{ own: number; host: number }> {
  const manifest = await readManifest(
    join(folder, `set-${side}`, "manifest.csv"),
  );
  const config = preset(PRESET);
  Object.assign(config.training, { epochs: EPOCHS, saliencyWarmStart: null });
  const counted = (EPOCHS - 1) * IMAGES / config.training.batchSize;
  const perEpoch = IMAGES / config.training.batchSize;
  let step = 0, own = 0, host = 0;
  await train({
    classes: manifest.classes,
    train: manifest.entries.slice(0, IMAGES),
    validation: [],
  }, {
    folder: join(folder, "run"),
    config,
    seed: 0,
    cache: new ImageCache(2 ** 30),
    memory: new Memory(),
    resume: false,
    environment: {},
    parallel,
    async turn() {
      if (step++ === 0) await ready?.();
      if (step === perEpoch + 1) [own, host] = [cpuMs(), hostMs()];
    },
  });
  const [ownAfter, hostAfter] = [cpuMs(), hostMs()];
  await Deno.remove(join(folder, "run"), { recursive: true });
  return {
    own: (ownAfter - own) / counted,
    host: (hostAfter - host) / counted,
  };
}

async function measureSteps(url: string): Promise<StepCost[]> {
  const folder = await Deno.makeTempDir({ prefix: "zoomin-bench-" });
  await startEngine("wasm");
  const steps: StepCost[] = [];
  for (const side of SIDES) {
    await succeed(
      folder,
      ...["dataset", "needle", "--out", `set-${side}`, "--test", "2"],
      ...["--images", String(IMAGES), "--size", String(side)],
      ...["--clusters", "2", "--objects", "2", "--diameter", "8"],
    );
    const [{ own: alone }, { own: workers }] = [
      await measureRun(folder, { side, parallel: workersOf(1) }),
      await measureRun(folder, { side, parallel: workersOf(2) }),
    ];
    const { own, host } = await measureShared(folder, url, side);
    steps.push({ side, alone, workers, leader: own, host });
  }
  await Deno.remove(folder, { recursive: true });
  return steps;
}

/** Workers that keep all images. */
function workersOf(workers: number): Parallel {
  return { workers, imageBytes: 2 ** 30 };
}

async function measureShared(folder: string, url: string, side: number) {
  const other = start(
    folder,
    ...["work", "--kinds", "share", "--jobs", url, "--workers", "1"],
    ...["--data-root", `set-${side}`],
  );
  other.stdout.cancel();
  other.stderr.cancel();
  const { connection, prefix } = await connectNats({ url });
  let remarks = "";
  const onRemark = (text: string) => void (remarks += text);
  const costs = await measureRun(folder, {
    side,
    parallel: {
      ...workersOf(1),
      hosts: { connection, prefix, onRemark },
    },
    ready: () => eventually("the host is there", () => remarks !== ""),
    hostMs: () => cpuMsOf(other.pid),
  });
  await connection.close();
  other.kill("SIGTERM");
  await other.status;
  return costs;
}

/**
 * How much faster two hosts are than one, a worker each. The host waits for the
 * weights, and between images for its gradients to arrive; both cross the link to
 * NATS and from there.
 */
export function faster(
  stepMs: number,
  { roundTripMs, bitsPerSecond }: Link,
  { bytes, weights, gradients }: Pick<
    HostCosts,
    "bytes" | "weights" | "gradients"
  >,
): number {
  const images = preset(PRESET).training.batchSize;
  const imageMs = stepMs / images;
  const wireMs = 2 * bytes * 8 / bitsPerSecond * 1000 + roundTripMs;
  const split = Array.from({ length: images }, (_, theirs) =>
    Math.max(
      (images - theirs) * imageMs,
      theirs && weights.latencyMs + wireMs +
          theirs * (imageMs + gradients.latencyMs + wireMs),
    ));
  return stepMs / Math.min(...split);
}

if (import.meta.main) {
  const [mode, url] = Deno.args;
  if (mode === "--echo") await echo(url!);
  else {
    await using servers = await startNats();
    const bytes = [...modelValues().values()]
      .reduce((sum, { data }) => sum + data.byteLength, 0);
    const costs: HostCosts = {
      preset: PRESET,
      bytes,
      ...await measureMessages(servers.url),
    };
    if (mode !== "--messages") {
      costs.steps = await measureSteps(servers.url);
      costs.reckoned = LINKS.flatMap((link) =>
        STEP_MS.map((stepMs) => ({
          link,
          stepMs,
          faster: faster(stepMs, link, costs),
        }))
      );
    }
    console.log(JSON.stringify(costs, null, 2));
  }
}
