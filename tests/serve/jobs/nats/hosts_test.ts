/** Servers with disks of their own that share jobs: hosts, as processes. */
import assert from "node:assert/strict";
import { join } from "node:path";
import type { WorkerStatus } from "../../../../lib/serve/jobs/workers.ts";
import {
  assertFailsInOneLine,
  folderOfFile,
  succeed,
  zoomin,
} from "../../../commands/process.ts";
import {
  drawModels,
  ended,
  imageOf,
  type JobDocument,
  post,
  serve,
  SMALL_SETTINGS,
  until,
} from "../../served.ts";
import { eventually } from "../../../waiting.ts";
import { exists } from "../../../../lib/files.ts";
import { openNats } from "../../../../lib/serve/jobs/nats/connection.ts";
import { NatsFolders } from "../../../../lib/serve/jobs/nats/folders.ts";
import { host, worker } from "./hosts.ts";
import { NATS_SERVER, startNats } from "./nats_server.ts";

const ignore = NATS_SERVER === undefined;
const folder = folderOfFile(async (folder) => {
  await drawModels(folder);
  // The host "one" has a model; to others it comes with a job that names it.
  await Deno.rename(join(folder, "models"), join(folder, "one"));
});

async function accepted(response: Response): Promise<JobDocument> {
  const job = await response.json();
  assert.equal(response.status, 202, JSON.stringify(job));
  return job;
}

/** Sends an image as a job. */
async function upload(url: string, seed: number): Promise<JobDocument> {
  return await accepted(
    await fetch(`${url}/v1/classify?seed=${seed}`, {
      method: "POST",
      headers: { "content-type": "image/png", prefer: "respond-async" },
      body: await imageOf(folder),
    }),
  );
}

/** A result without what differs from host to host. */
async function resultOf(url: string, path: string): Promise<string> {
  const response = await fetch(`${url}${path}`);
  assert.equal(response.status, 200, path);
  return (await response.text()).replaceAll(
    /"timings":\{[^}]*\}/g,
    '"timings":0',
  );
}

Deno.test({
  name: "any host does what another accepted, and both have the results",
  ignore,
  async fn() {
    await using servers = await startNats();
    await using one = await host(folder, "one", servers);
    const first = await upload(one.url, 0);
    await ended(one.url, first.id);
    await using two = await host(folder, "two", servers);
    const jobs = await Promise.all(
      Array.from({ length: 8 }, (_, seed) => upload(one.url, seed)),
    );
    const batch = await accepted(
      await post(`${one.url}/v1/batch`, { manifest: "manifest.csv" }),
    );
    for (const { id } of [...jobs, batch]) {
      const { state, error } = await ended(two.url, id);
      assert.equal(state, "succeeded", error ?? "");
    }
    for (const { id } of jobs) {
      const path = `/v1/jobs/${id}/result`;
      assert.equal(
        await resultOf(two.url, path),
        await resultOf(one.url, path),
      );
      const heatmap = await fetch(`${two.url}/v1/jobs/${id}/heatmap.png`);
      assert.equal(heatmap.status, 200);
      await heatmap.body?.cancel();
    }
    const path = `/v1/jobs/${batch.id}/result`;
    const lines = await resultOf(two.url, path);
    assert.equal(lines, await resultOf(one.url, path));
    assert.equal(lines.trimEnd().split("\n").length, 20);
  },
});

/** Starts a training of `epochs`. */
async function train(
  url: string,
  name: string,
  epochs: number,
): Promise<JobDocument> {
  return await accepted(
    await post(`${url}/v1/train`, {
      data: "manifest.csv",
      name,
      preset: "needle",
      epochs,
      settings: SMALL_SETTINGS,
    }),
  );
}

Deno.test({
  name: "a model that one host trained is on the others",
  ignore,
  async fn() {
    await using servers = await startNats();
    await using one = await host(folder, "one", servers);
    const { id } = await train(one.url, "trained", 2);
    const { state, error } = await ended(one.url, id);
    assert.equal(state, "succeeded", error ?? "");
    await using other = await host(folder, "other", servers);
    await eventually("the model is there", async () => {
      const response = await fetch(`${other.url}/v1/models`);
      return (await response.text()).includes('"trained"');
    });
    const report = await fetch(`${other.url}/v1/jobs/${id}/report`);
    assert.match(await report.text(), /<html/);
  },
});

Deno.test({
  name: "a training continues on another host when its own dies",
  ignore,
  async fn() {
    await using servers = await startNats();
    const { connection, ...nats } = await openNats({
      url: servers.url,
      leaseMs: 5000,
    });
    const shared = new NatsFolders({ connection, ...nats });
    const one = await host(folder, "one", servers);
    const { id } = await train(one.url, "endless", 100_000);
    await until(one.url, id, ({ progress }) => (progress?.epoch ?? 0) >= 1);
    const kept = join(folder, "kept");
    await eventually("a checkpoint is kept", async () => {
      const file = "run/last.safetensors";
      await shared.fetch(`job.${id}`, kept, (path) => path === file);
      return await exists(join(kept, file));
    });
    await using two = await host(folder, "disks/two", servers); // not so deep
    await one.kill();
    const again = await until(two.url, id, ({ attempts }) => attempts === 2);
    const { epoch = 0 } = again.progress!;
    await until(
      two.url,
      id,
      ({ progress }) => progress!.epoch! > epoch || progress!.epoch! < epoch,
    );
    const log = await (await fetch(`${two.url}/v1/jobs/${id}/log`)).text();
    const lines = log.trimEnd().split("\n").map((line) => JSON.parse(line));
    const starts = lines.filter(({ type }) => type === "run");
    assert.equal(starts.length, 2, "it continued from its checkpoint");
    await post(`${two.url}/v1/jobs/${id}/cancel`, {});
    assert.equal((await ended(two.url, id)).state, "cancelled");
    await connection.close();
  },
});

Deno.test({
  name: "the hosts' workers are listed and measured, and a host is drained",
  ignore,
  async fn() {
    await using servers = await startNats();
    await using one = await host(folder, "one", servers);
    const other = worker(folder, "w0", servers);
    const jobs = (...argv: string[]) =>
      succeed(folder, "jobs", ...argv, "--jobs", servers.url);
    const listed = async (): Promise<WorkerStatus[]> =>
      (await jobs("workers", "--json")).stdout.trimEnd().split("\n")
        .map((line) => JSON.parse(line));
    await eventually(
      "both are listed",
      async () => (await listed()).length === 2,
    );
    const name = Deno.hostname();
    for (const { host, engine, kinds, isDrained } of await listed()) {
      assert.equal(host, name);
      assert.match(engine!, /^wasm/);
      assert.deepEqual(kinds, ["train", "classify", "batch", "fold"]);
      assert.equal(isDrained, false);
    }
    const { stdout } = await jobs("workers");
    assert.match(stdout, /^2 workers\n\S+:\d+ +working +0 of \d lanes busy /);
    await jobs("drain", name);
    for (const { log } of [one, other]) {
      await eventually(
        "it is told",
        () => JSON.stringify(log).includes("drained"),
      );
    }
    const { id } = await upload(one.url, 0);
    let metrics = "";
    await eventually("a claim that was on its way is given back", async () => {
      metrics = await (await fetch(`${one.url}/metrics`)).text();
      return /^jobs_waiting\{kind="classify"\} 1$/m.test(metrics);
    });
    assert.match(metrics, /^jobs_waiting\{kind="piece"\} 0$/m);
    const label = `worker="${name}:${one.process.pid}"`;
    for (
      const figure of [
        `worker_drained{${label}} 1`,
        `worker_lanes{${label}} 9`,
        `worker_lanes_busy{${label}} 0`,
        `worker_images_total{${label}} 0`,
        `worker_jobs_ended_total{${label},state="failed"} 0`,
      ]
    ) assert.ok(metrics.includes(`${figure}\n`), metrics);
    const { workers } = await (await fetch(`${one.url}/v1/workers`)).json();
    assert.deepEqual(
      workers.map(({ isDrained }: WorkerStatus) => isDrained),
      [true, true],
    );
    await other.kill("SIGTERM");
    await jobs("undrain", name);
    assert.equal((await ended(one.url, id)).state, "succeeded");
    const wrong = ["jobs", "drain", "nobody", "--jobs", servers.url];
    assertFailsInOneLine(await zoomin(folder, ...wrong), {
      code: 1,
      message: /^There is no host nobody: see jobs workers$/,
    });
  },
});

/** Lines of a batch's result, without times. */
async function linesOf(url: string, id: string): Promise<string[]> {
  return (await resultOf(url, `/v1/jobs/${id}/result`)).trimEnd().split("\n");
}

Deno.test({
  name: "a batch is done once and in order, whoever is killed meanwhile",
  ignore,
  async fn() {
    const names = await Array.fromAsync(
      Deno.readDir(join(folder, "set", "images")),
      ({ name }) => `images/${name}`,
    );
    const rows = Array.from(
      { length: 150 },
      (_, i) => i === 77 ? "images/none.png" : names[i % names.length]!,
    );
    await Deno.writeTextFile(
      join(folder, "set", "many.csv"),
      ["image", ...rows, ""].join("\n"),
    );
    const asked = { manifest: "many.csv", model: "first", heatmaps: true };
    await using servers = await startNats(3);
    const workers = ["w0", "w1"].map((name) => worker(folder, name, servers));
    await using one = await host(folder, "one", servers);
    const { id } = await accepted(await post(`${one.url}/v1/batch`, asked));
    const isUnderWay = ({ progress }: JobDocument) => (progress?.done ?? 0) > 0;
    await until(one.url, id, isUnderWay);
    await workers[0]!.kill("SIGKILL");
    await servers.nodes[0]!.kill();
    const again = worker(folder, "w0", servers);
    const { state } = await ended(one.url, id, 300_000);
    const logs = [one.stderr, ...[...workers, again].map(({ log }) => log)];
    assert.equal(state, "succeeded", logs.join("\n"));
    await servers.nodes[0]!.start();
    const lines = await linesOf(one.url, id);
    assert.deepEqual(lines.map((line) => JSON.parse(line).source), rows);
    for (const image of [0, 149]) {
      const map = `${one.url}/v1/jobs/${id}/heatmap.png?image=${image}`;
      const { status, body } = await fetch(map);
      await body?.cancel();
      assert.equal(status, 200);
    }
    await again.kill("SIGTERM");
    await workers[1]!.kill("SIGTERM");
    // As one process with its own jobs has it.
    await using alone = await serve(
      folder,
      ...["--models", "one", "--data-root", "set", "--state", "set"],
    );
    const single = await accepted(await post(`${alone.url}/v1/batch`, asked));
    await ended(alone.url, single.id);
    assert.deepEqual(await linesOf(alone.url, single.id), lines);
  },
});
