/** A cross-validation as a job: its folds, its result, and what interrupts it. */
import assert from "node:assert/strict";
import { join } from "node:path";
import type { CrossValidatedDocument } from "../../../lib/serve/documents.ts";
import { exists } from "../../../lib/files.ts";
import type { FoldResult } from "../../../lib/train/runs/crossval.ts";
import { folderOfFile, SMALL, succeed } from "../../commands/process.ts";
import {
  assertRefused,
  drawModels,
  ended,
  post,
  serve,
  type Served,
  SMALL_SETTINGS,
  until,
} from "../served.ts";

const folder = folderOfFile(drawModels);
const FLAGS = ["--models", "models", "--data-root", "set", "--workers", "1"];
const EPOCHS = 2;

let served: Served;
Deno.test.beforeAll(async () => {
  served = await serve(folder, ...FLAGS);
});
Deno.test.afterAll(async () => {
  await served.stop();
});

/** Asks for a cross-validation. */
function ask(request: Record<string, unknown>): Promise<Response> {
  return post(`${served.url}/v1/train`, {
    data: "manifest.csv",
    name: "folds",
    preset: "needle",
    epochs: EPOCHS,
    settings: SMALL_SETTINGS,
    ...request,
  });
}

async function accepted(request: Record<string, unknown>): Promise<string> {
  const response = await ask(request);
  const job = await response.json();
  assert.equal(response.status, 202, JSON.stringify(job));
  return job.id;
}

async function resultOf(id: string): Promise<CrossValidatedDocument> {
  const response = await fetch(`${served.url}/v1/jobs/${id}/result`);
  assert.equal(response.status, 200);
  return await response.json();
}

async function logOf(id: string): Promise<Record<string, unknown>[]> {
  const response = await fetch(`${served.url}/v1/jobs/${id}/log`);
  assert.equal(response.status, 200);
  const text = await response.text();
  return text.trim().split("\n").map((line) => JSON.parse(line));
}

/** Folder of a job's cross-validation. */
function runOf(id: string): string {
  return join(folder, "models", ".server", "jobs", id, "run");
}

async function act(id: string, action: "cancel" | "resume"): Promise<void> {
  const response = await fetch(`${served.url}/v1/jobs/${id}/${action}`, {
    method: "POST",
  });
  assert.ok(response.ok);
  await response.body?.cancel();
}

Deno.test("a job of folds has the result of the command", async () => {
  const id = await accepted({ folds: 2 });
  const { stdout } = await succeed(
    folder,
    ...["train", "--data", "set/manifest.csv", "--out", "cv", ...SMALL],
    ...["--epochs", String(EPOCHS), "--folds", "2", "--json"],
  );
  const { results, summaries } = JSON.parse(stdout);
  const { state, error, progress } = await ended(served.url, id);
  assert.equal(state, "succeeded", `${error}`);
  assert.equal(progress!.folds, 2);
  assert.equal(progress!.total, 4);
  assert.equal(progress!.done, 3); // when the last of them was trained
  const { name, classes, protocols } = await resultOf(id);
  assert.equal(name, "folds");
  assert.deepEqual(classes, ["negative", "positive"]);
  assert.deepEqual(
    protocols.map(({ protocol }) => protocol),
    ["best-epoch", "held-out"],
  );
  for (
    const [i, { protocol, folds, means, ...pooled }] of protocols.entries()
  ) {
    const own = (results as FoldResult[])
      .filter((result) => result.protocol === protocol);
    assert.deepEqual(
      folds.map(({ fold, images, bestEpoch, metrics }) => ({
        fold,
        images,
        bestEpoch,
        metrics,
      })),
      own.map(({ fold, bestEpoch, report: { images, metrics } }) => ({
        fold,
        images,
        bestEpoch,
        metrics,
      })),
    );
    for (const metric of ["accuracy", "balancedAccuracy", "auc"]) {
      const { undefinedCount: _, ...mean } = summaries[i][metric];
      assert.deepEqual(means[metric], mean);
    }
    // Every image but the test ones is tested once.
    assert.equal(pooled.images, 12);
    const sums = [0, 1].map((row) =>
      [0, 1].map((column) =>
        own.reduce(
          (sum, { report }) => sum + report.confusion[row]![column]!,
          0,
        )
      )
    );
    assert.deepEqual(pooled.confusion, sums);
    assert.equal(pooled.calibration.length, 2);
    assert.ok(pooled.calibration[1]!.length > 0);
  }

  const log = await logOf(id);
  const done = log.filter(({ type }) => type === "fold");
  assert.deepEqual(
    done.map(({ protocol, fold, accuracy }) => [protocol, fold, accuracy]),
    results.map(({ protocol, fold, report }: FoldResult) => [
      protocol,
      fold,
      report.metrics.accuracy.value,
    ]),
  );
  const epochs = log.filter(({ type }) => type === "epoch");
  assert.equal(epochs.length, 4 * EPOCHS);
  assert.deepEqual(
    epochs.slice(0, 3).map(({ protocol, fold, epoch }) => [
      protocol,
      fold,
      epoch,
    ]),
    [["best-epoch", 1, 1], ["best-epoch", 1, 2], ["best-epoch", 2, 1]],
  );

  const report = await fetch(`${served.url}/v1/jobs/${id}/report`);
  const html = await report.text();
  assert.match(html, /<title>folds: Cross-validation/);
  assert.ok(!html.includes(folder), "it tells no folder of this machine");

  // It made no model, and took no name.
  const models = await (await fetch(`${served.url}/v1/models`)).json();
  assert.deepEqual(
    models.models.map(({ name }: { name: string }) => name),
    ["first"],
  );
});

Deno.test("folds name every image that cannot be read before the first of them", async () => {
  const [header, ...rows] =
    (await Deno.readTextFile(join(folder, "set/manifest.csv"))).trim()
      .split("\n");
  const names = ["images/cut_1.png", "images/cut_2.png"];
  for (const name of names) {
    await Deno.writeTextFile(join(folder, "set", name), `no image: ${name}`);
  }
  const bad = rows.map((row, i) =>
    [names[i] ?? row.split(",")[0], ...row.split(",").slice(1)].join()
  );
  await Deno.writeTextFile(
    join(folder, "set/bad.csv"),
    [header, ...bad].join("\n"),
  );
  const id = await accepted({ data: "bad.csv", folds: 2 });
  const { state, error } = await ended(served.url, id);
  assert.equal(state, "failed");
  assert.match(`${error}`, /2 images cannot be read/);
  for (const name of names) assert.ok(`${error}`.includes(name), `${error}`);
  assert.equal(await exists(join(runOf(id), "best-epoch")), false);
});

Deno.test("doubtful labels are refused when a job is asked for, unless they are meant", async () => {
  const [header, ...rows] =
    (await Deno.readTextFile(join(folder, "set/manifest.csv"))).trim()
      .split("\n");
  const slips = rows.map((row, i) =>
    i < 4 ? row.replace(",positive,", ",Positive,") : row
  );
  await Deno.writeTextFile(
    join(folder, "set/slips.csv"),
    [header, ...slips].join("\n"),
  );
  for (const folds of [{ folds: 2 }, {}]) {
    const request = { data: "slips.csv", name: "slips", ...folds };
    await assertRefused(await ask(request), {
      status: 400,
      field: "data",
      error:
        /"Positive" \(.*\) and "positive" \(.*\): one class\?\ncorrect them, or send "labelsAsTheyAre": true/,
    });
  }
  const id = await accepted({
    data: "slips.csv",
    folds: 2,
    labelsAsTheyAre: true,
    protocol: "held-out",
    settings: { ...SMALL_SETTINGS, "training.validation": 0 },
    epochs: 1,
  });
  await act(id, "cancel");
});

Deno.test("folds of the table are taken, under one protocol", async () => {
  const rows = (await Deno.readTextFile(join(folder, "set/manifest.csv")))
    .trim().split("\n").slice(1).map((row) => row.split(","));
  await Deno.writeTextFile(
    join(folder, "set/folds.csv"),
    [
      "image,label,fold",
      ...rows.map(([image, label], i) =>
        `${image},${label},${4 + 3 * (Math.floor(i / 2) % 2)}`
      ),
      "",
    ].join("\n"),
  );
  const id = await accepted({
    data: "folds.csv",
    folds: "manifest",
    protocol: "held-out",
    epochs: 1,
  });
  const { state, error } = await ended(served.url, id);
  assert.equal(state, "succeeded", `${error}`);
  const { protocols } = await resultOf(id);
  assert.equal(protocols.length, 1);
  assert.deepEqual(protocols[0]!.folds.map(({ fold }) => fold), [4, 7]);
  assert.equal(protocols[0]!.images, 20);
});

Deno.test("folds are trained on objects, and their hits measured", async () => {
  const id = await accepted({
    name: "objects",
    features: "scattering",
    boxes: true,
    epochs: 3,
    settings: {
      "view.samples": 4,
      "evaluation.samples": 4,
      "training.validation": 0,
      "training.dense.copies": 0,
    },
    folds: 2,
    protocol: "held-out",
  });
  const { state, error } = await ended(served.url, id);
  assert.equal(state, "succeeded", `${error}`);
  const { means } = (await resultOf(id)).protocols[0]!;
  assert.equal(means.hitRate!.count, 2);
  assert.equal(means.chanceHitRate!.count, 2);
  const runs = await Array.fromAsync(Deno.readDir(runOf(id)));
  assert.ok(
    !runs.some(({ name }) => name === "features"),
    "they are of no use",
  );
});

Deno.test("folds that cannot be made are refused", async () => {
  for (
    const [request, field, error] of [
      [{ folds: 1 }, "folds", /Cannot take "folds"/],
      [{ folds: "all" }, "folds", /Cannot take "folds"/],
      [{ protocol: "both" }, "protocol", /give "folds"/],
      [{ folds: "manifest" }, "data", /no column "fold"/],
      [{ folds: 8 }, "data", /Cannot make 8 parts .* has only 6 groups/],
    ] as const
  ) {
    await assertRefused(await ask(request), { status: 400, field, error });
  }
});

Deno.test("a cross-validation that was cancelled or killed keeps its folds", async () => {
  const id = await accepted({
    name: "kept",
    folds: 2,
    protocol: "best-epoch",
    epochs: 12,
  });
  const second = ({ progress }: { progress: Record<string, number> | null }) =>
    progress?.fold === 2 && progress.epoch! > 1;
  await until(served.url, id, second);
  await act(id, "cancel");
  assert.equal((await ended(served.url, id)).state, "cancelled");
  const first = join(runOf(id), "best-epoch/fold-01");
  const writtenAt = async () =>
    (await Deno.stat(join(first, "last.safetensors"))).mtime!.getTime();
  const before = await writtenAt();
  await act(id, "resume");
  await until(served.url, id, (job) => job.state === "running" && second(job));
  await served.kill();
  served = await serve(folder, ...FLAGS);
  const { state, error } = await ended(served.url, id);
  assert.equal(state, "succeeded", `${error}`);
  assert.equal(await writtenAt(), before, "the first fold was trained again");
  const log = await logOf(id);
  for (const number of [1, 2]) {
    const epochs = log.filter(({ type, fold }) =>
      type === "epoch" && fold === number
    );
    assert.deepEqual(
      epochs.map(({ epoch }) => epoch),
      Array.from({ length: 12 }, (_, i) => i + 1),
    );
  }
  assert.equal((await resultOf(id)).protocols[0]!.folds.length, 2);
});
