/** A study whose runs are done by other hosts: processes with own folders. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { readManifest } from "../../lib/data/manifest.ts";
import { leaveNote } from "../../lib/commands/shared/parent.ts";
import { exists } from "../../lib/files.ts";
import { NatsJobStore } from "../../lib/serve/jobs/nats/store.ts";
import type { StudyResults } from "../../lib/study/report.ts";
import { keptFeatures, keysIn } from "../serve/jobs/nats/kept_features.ts";
import { NATS_SERVER, startNats } from "../serve/jobs/nats/nats_server.ts";
import { eventually, within } from "../waiting.ts";
import {
  assertFailsInOneLine,
  drawSet,
  folderOfFile,
  outcome,
  ROOT,
  SMALL,
  start,
  succeed,
  taskFlags,
  zoomin,
} from "./process.ts";

const ignore = NATS_SERVER === undefined;
const folder = folderOfFile(drawSet);

/** A host of `study work`. */
async function startHost(name: string, url: string) {
  await Deno.mkdir(join(folder, name), { recursive: true });
  const process = start(
    folder,
    ...["study", "work", "--jobs", url, "--state", name, "--workers", "1"],
    ...["--data-root", ".", "--backend", "wasm"],
  );
  let log = "";
  const logged = process.stderr.pipeThrough(new TextDecoderStream())
    .pipeTo(new WritableStream({ write: (text) => void (log += text) }));
  await eventually("the host works", () => log.includes('"working"'));
  return {
    get log() {
      return log;
    },
    async end(signal: Deno.Signal) {
      process.kill(signal);
      await within("the host ends", process.status);
      await Promise.all([process.stdout.cancel(), logged]);
    },
  };
}

/** The jobs of the study. */
function jobsAt(url: string): Promise<NatsJobStore> {
  const options = { leaseMs: 15_000, waitMs: 100, queuedJobs: 10 };
  return NatsJobStore.open({ ...options, url, part: "-pieces" });
}

/** Rows of a study and its report, without what differs from run to run. */
async function writtenIn(out: string) {
  const at = (name: string) => Deno.readTextFile(join(folder, out, name));
  const { rows }: StudyResults = JSON.parse(await at("results.json"));
  const report = await at("report.md");
  return {
    rows: rows.map((row) => ({
      ...row,
      secondsPerFold: 0,
      cpuSecondsPerFold: 0,
      peakBytes: 0,
    })),
    command: /deno task study.*/.exec(report)?.[0].replaceAll(out, "OUT"),
    figures: report.match(/!\[.*?\]\(.*?\)/g),
  };
}

function predictionsOf(out: string, cell: string): Promise<string> {
  return Deno.readTextFile(
    join(folder, out, "runs", cell, "held-out/fold-01/predictions.csv"),
  );
}

Deno.test({
  name: "hosts do the runs of a study once, whoever is killed or stopped",
  ignore,
  async fn() {
    await using servers = await startNats();
    const { url } = servers;
    const study = ["study", "needle", "--quick", "--backend", "wasm"];
    const shared = [...study, "--out", "shared", "--jobs", url];
    const jobs = await jobsAt(url);

    const stopped = start(folder, ...shared);
    await eventually(
      "all wait",
      async () => (await jobs.counts()).queued === 3,
    );
    stopped.kill("SIGINT");
    const { code, stderr } = await outcome(stopped);
    assert.equal(code, 130, stderr);
    assert.match(stderr, /^Stopped: run the same command to continue$/m);
    const { queued, cancelled } = await jobs.counts();
    assert.deepEqual([queued, cancelled], [0, 3]);

    const one = await startHost("one", url);
    const running = succeed(folder, ...shared);
    await eventually("a run is begun", () => one.log.includes("job started"));
    await one.end("SIGKILL");
    const two = await startHost("disks/two", url);
    const { stdout } = await running;
    assert.match(stdout, /^shared: 3 of 3 runs done/);
    assert.deepEqual(await jobs.counts(), {
      queued: 0,
      running: 0,
      succeeded: 0, // they were collected and removed
      failed: 0,
      cancelled: 0,
    });
    await two.end("SIGTERM");
    const again = await succeed(folder, ...shared); // by nobody
    assert.match(again.stdout, /^shared: 3 of 3 runs done/);

    await succeed(folder, ...study, "--out", "alone");
    assert.deepEqual(await writtenIn("shared"), await writtenIn("alone"));
    for (const method of ["ours", "one-stage", "uniform"]) {
      const cell = `${method}-5.0-clusters-8/seed-0`;
      assert.equal(
        await predictionsOf("shared", cell),
        await predictionsOf("alone", cell),
      );
    }
    await jobs.close();
  },
});

/** Writes twelve images, in two folds, with the labels of the colon set. */
async function writeFolds(): Promise<void> {
  const { entries } = await readManifest(join(folder, "set", "manifest.csv"));
  const rows = entries.slice(0, 12).map(({ path, label }, i) =>
    `${path},${label === "positive" ? 1 : 0},${1 + Math.floor(i / 2) % 2}`
  );
  await Deno.writeTextFile(
    join(folder, "folds.csv"),
    ["image,label,fold", ...rows, ""].join("\n"),
  );
}

Deno.test({
  name: "a run continues on another host when its own is stopped",
  ignore,
  async fn() {
    await writeFolds();
    await using servers = await startNats();
    const { url } = servers;
    const jobs = await jobsAt(url);
    const study = ["study", "colon", "--data", "folds.csv", "--quick"];
    study.push("--only", "uniform", "--backend", "wasm");
    const running = zoomin(folder, ...study, "--out", "moved", "--jobs", url);
    const one = await startHost("first", url);
    await eventually("an epoch is done", async () => {
      const [job] = await jobs.list({ limit: 1 });
      return (job?.progress?.epochs ?? 0) >= 1;
    });
    await one.end("SIGTERM");
    const [job] = await jobs.list({ limit: 1 });
    assert.deepEqual([job?.state, job?.attempts], ["queued", 1]);
    const two = await startHost("disks/second", url);
    const { code, stderr } = await running;
    assert.equal(code, 0, stderr + two.log);
    await two.end("SIGTERM");
    const cell = join(folder, "moved/runs/uniform/seed-0");
    const log = await Deno.readTextFile(
      join(cell, "held-out/fold-01/log.jsonl"),
    );
    const begun = join(folder, "first/jobs", job!.id, "held-out/fold-01");
    const before = await Deno.readTextFile(join(begun, "log.jsonl"));
    assert.ok(log.startsWith(before), "what the first host did is there");
    await succeed(folder, ...study, "--out", "stayed");
    assert.deepEqual(await writtenIn("moved"), await writtenIn("stayed"));
    await jobs.close();
  },
});

Deno.test({
  name: "a run fetches the features that runs on another host have computed",
  ignore,
  async fn() {
    await writeFolds();
    await using servers = await startNats();
    const { url } = servers;
    const study = ["study", "colon", "--data", "folds.csv", "--quick"];
    study.push("--features", "scattering", "--backend", "wasm");
    const run = async (name: string, variant: string) => {
      const host = await startHost(name, url);
      const more = ["--out", "frozen", "--jobs", url, "--only", variant];
      await succeed(folder, ...study, ...more);
      await host.end("SIGTERM");
      return await keysIn(join(folder, name, "features"));
    };
    const pooled = await run("pools", "scattering-mean");
    const made = await keptFeatures(servers);
    assert.deepEqual(Object.keys(made), pooled);
    assert.ok(pooled.length >= 12);
    const dense = await run("trains", "scattering");
    const all = await keptFeatures(servers);
    assert.deepEqual(
      Object.keys(all),
      [...new Set([...pooled, ...dense])].sort(),
    );
    assert.ok(dense.length > 12); // of copies, too
    assert.ok(pooled.some((key) => dense.includes(key)));
    for (const key of pooled) assert.equal(all[key], made[key]);
  },
});

Deno.test({
  name: "a host refuses the runs of images that it does not have",
  ignore,
  async fn() {
    await writeFolds();
    await using servers = await startNats();
    const { url } = servers;
    await Deno.mkdir(join(folder, "elsewhere"));
    await Deno.rename(join(folder, "folds.csv"), join(folder, "folds2.csv"));
    await Deno.copyFile(
      join(folder, "folds2.csv"),
      join(folder, "elsewhere/folds.csv"),
    );
    const study = ["study", "colon", "--data", "elsewhere/folds.csv"];
    study.push("--only", "uniform", "--backend", "wasm", "--quick");
    const running = zoomin(folder, ...study, "--out", "none", "--jobs", url);
    await Deno.mkdir(join(folder, "third"));
    const host = start(
      folder,
      ...["study", "work", "--jobs", url, "--state", "third"],
      ...["--data-root", "set", "--backend", "wasm"],
    );
    const { code, stderr } = await running;
    host.kill("SIGTERM");
    await host.output();
    assert.equal(code, 1, stderr);
    assert.match(
      stderr,
      /uniform\/seed-0 failed: Cannot read .*elsewhere\/folds\.csv.*--data-root/,
    );
  },
});

Deno.test("a run ends with the process that started it", async () => {
  const process = new Deno.Command(Deno.execPath(), {
    args: [
      ...taskFlags("train"),
      join(ROOT, "lib/commands/hosted_run.ts"),
      ...["--data", "set/manifest.csv", "--out", "endless", "--folds", "2"],
      ...[...SMALL, "--epochs", "100000"],
    ],
    cwd: folder,
    stdin: "piped",
    stdout: "null",
    stderr: "null",
  }).spawn();
  await leaveNote(process.stdin, { features: null });
  const begun = join(folder, "endless/best-epoch/fold-01/log.jsonl");
  await eventually("it trains", () => exists(begun));
  await process.stdin.close(); // as the system does for one that was killed
  const { code } = await within("it ends", process.status);
  assert.equal(code, 130);
});

Deno.test("study says what --jobs does not go with", async () => {
  const jobs = ["--jobs", "nats://127.0.0.1:1"];
  for (
    const [argv, message] of [
      [
        ["study", "needle", "--out", "o", "--shard", "1/2", ...jobs],
        /^--shard is of runs on this machine, .* leave out one of them$/,
      ],
      [["study", "work", ...jobs], /--state DIR/],
      [["study", "work", "--state", "."], /--jobs URL/],
    ] as const
  ) {
    const result = await zoomin(folder, ...argv);
    assertFailsInOneLine(result, { code: 2, message });
  }
});
